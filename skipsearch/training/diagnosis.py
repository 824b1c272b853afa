"""Diagnosis of a network block by block, and of its long skips: signals, gradients, lesions."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from skipsearch.data import Data, Split
from skipsearch.errors import DivergedError, counted
from skipsearch.metric import Metric
from skipsearch.models import Network
from skipsearch.models.merges.joining import Joined
from skipsearch.models.merges.plain import PlainBlock
from skipsearch.models.ops import DropPath
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.training.batches import stream
from skipsearch.training.criteria import CRITERIA, Criterion
from skipsearch.training.engine import Trainer
from skipsearch.training.environment import kernels
from skipsearch.training.examples import Examples
from skipsearch.training.long_skips import (
    LINK_COLUMNS,
    carried,
    lesioned,
    link_lesions,
    link_words,
)

IMAGES = 128  # largest number in the diagnostic pass
INIT, TRAINED = "init", "trained"
WHEN = {INIT: "At initialisation", TRAINED: "After training"}
COLUMNS = (
    *("moment", "number", "block", "branch_ratio", "identity_distance", "identity_cosine"),
    *("gradient", "weight_gradient", "mean", "variance", "lesion_score", "lesion_drop"),
)

# Bounds of the statements. Gradients of layers are compared as in Glorot & Bengio 2010 (section
# 4.2.2, Fig. 7). They give no bound for "vanish"; this factor is our choice.
VANISHING = 0.1
# Distance from the identity, in units of the input, of a block that outputs zeros.
FAR = 1.0

Noted = dict[str, Tensor]  # input and output of a block, and outputs of its modules


@dataclass(frozen=True, slots=True)
class Explanation:
    """Diagnosis of a network before and after training.

    Attributes:
        table: One row for each moment and block, see ``explain``.
        words: Conclusions in sentences.
        links: One row for each moment and long skip; empty without long skips.
    """

    table: pd.DataFrame
    words: tuple[str, ...]
    links: pd.DataFrame


def explain(
    model: Network,
    data: Data,
    recipe: Recipe | None = None,
    seed: int = 0,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> Explanation:
    """Diagnose a network before and after training, and remove each block and long skip in turn.

    The diagnostic pass is one forward and backward pass over up to 128 training images in float32,
    without augmentation. It runs in training mode, since batch norm has no other statistics at
    initialisation and training has these gradients, but without dropout and stochastic depth. It
    runs on a copy of the network: the training is the same as that of ``train``.

    Args:
        model: Freshly built network, which is trained in place.
        data: Data set; lesions are measured on ``data.validation``.
        recipe: Recipe of the training; the defaults of ``Recipe`` if None.
        seed: Seed of data order, augmentation, dropout and the images of the diagnostic pass.
        progress: Function that is called after each epoch.

    Returns:
        ``table``, one row for each moment and block, from the stem to the head, with columns

        moment             "init" or "trained"; only "init" if the training diverged
        number             number of the block, from 1 at the stem
        block              its name in the model, such as "stage1.block1"
        branch_ratio       norm of the branch over that of the shortcut, as both are joined (scaled,
                           gated): ||F(x)|| / ||x||; for ``cat`` new channels over the channels
                           carried on, for ``dual`` within the added channels. NaN for a plain
                           block, which has no shortcut
        identity_distance  ||block(x) - x|| / ||x||: 0 for the identity, 1 for an output of zeros
        identity_cosine    cosine of the angle between block(x) and x; both are NaN if the block
                           changes the shape, which ``cat`` and ``dual`` always do
        gradient           norm of the gradient of the loss with respect to the block's output
        weight_gradient    the same with respect to the block's parameters
        mean, variance     of the block's output, over images, channels and positions
        lesion_score       validation score without the block's branch: its joined part is set to
                           0, so that only the shortcut remains (Veit et al. 2016,
                           arXiv:1605.06431, Fig. 3); a plain block is replaced by the identity.
                           NaN at "init", and for a plain block that changes the shape
        lesion_drop        validation score of the whole network minus ``lesion_score``

        All norms are Euclidean over the whole batch. In a network with long skips, a block's
        gradient includes the part that flows through them.

        ``links``, one row for each moment and long skip, in the order of the joins, with columns

        moment             as above
        link               its start and end, such as "1>7"; "all" in one row for all together
        merge              how it is joined, a word of ``link_merge``
        size               height and width at the join, such as "60x80"
        link_norm          norm of the part of the long skip as joined: projected, after its
                           attention gate, times its learned weight
        signal_norm        norm of the signal that it joins
        ratio              ``link_norm`` over ``signal_norm``; for ``cat`` and ``attention``, of
                           the two groups of channels
        weight             mean weight of its attention gate over images and positions, or the
                           learned weight of ``weighted``; NaN for others
        lesion_score       validation score if its part is set to 0 at the join, with everything
                           else as trained; NaN at "init"
        lesion_drop        validation score of the whole network minus ``lesion_score``

        ``words`` compare the gradients at the first and the last block ("vanish" below a tenth),
        report whether branches are smaller than shortcuts (layer responses: He et al. 2015,
        arXiv:1512.03385, Fig. 7) or how far plain blocks are from the identity, and give the cost
        of a lesion; for long skips they give the ratios and the costs of each. All statements are
        about one network with one seed.
    """
    recipe, metric = recipe or Recipe(), data.task.metric
    trainer = Trainer(model, data, recipe, seed)
    criterion = CRITERIA[data.task.name](data, recipe)
    inputs, target = _batch(data, criterion, min(recipe.batch_size, IMAGES), seed)
    before = inspect(model, inputs, target, criterion, recipe.label_smoothing)
    links_before = carried(_undropped(model), inputs)
    try:
        for _ in range(recipe.epochs):
            epoch = trainer.run_epoch()
            if progress is not None:
                progress(epoch)
    except DivergedError as error:
        table, links = _table({INIT: before}), _table({INIT: links_before}, LINK_COLUMNS)
        said = (f"The training diverged: {error}.", *words(table, metric, links))
        return Explanation(table, said, links)
    after = inspect(model, inputs, target, criterion, recipe.label_smoothing)
    links_after = carried(_undropped(model), inputs)
    _, score = trainer.evaluate(data.validation)
    for row, left in zip(after, lesions(trainer, data.validation), strict=True):
        row |= {"lesion_score": left, "lesion_drop": score - left}
    links_after = lesioned(links_after, link_lesions(trainer, data.validation), score)
    table = _table({INIT: before, TRAINED: after})
    links = _table({INIT: links_before, TRAINED: links_after}, LINK_COLUMNS)
    first = (
        f"Trained with seed {seed}, epochs {recipe.epochs}: validation"
        f" {metric.title} {metric.text(metric.value(score))}"
        " (n = 1 seed)."
    )
    return Explanation(table, (first, *words(table, metric, links)), links)


def _table(
    moments: dict[str, list[dict[str, Any]]], columns: Sequence[str] = COLUMNS
) -> pd.DataFrame:
    rows = [{"moment": moment, **row} for moment, seen in moments.items() for row in seen]
    return pd.DataFrame(rows, columns=list(columns))


def _batch(data: Data, criterion: Criterion, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw training images; return inputs and targets."""
    generator = torch.Generator().manual_seed(stream(seed, "diagnosis", 0))
    index = torch.randperm(len(data.train), generator=generator)[:size]
    index = index.to(data.train.labels.device)
    return Examples(data, Recipe(), criterion).of(data.train, index)


# --- one pass ------------------------------------------------------------------------------------


def inspect(
    model: Network,
    inputs: Tensor,
    target: Tensor,
    criterion: Criterion,
    label_smoothing: float = 0.0,
) -> list[dict[str, Any]]:
    """Return for each block the columns of ``explain`` that one forward and backward pass yields.

    Args:
        model: Network, which stays unchanged, as do its batch statistics.
        inputs: Inputs (N, C, H, W) on the device of the model.
        target: Targets (N, ...) of the inputs.
        criterion: Loss of the task, whose mean is taken.
        label_smoothing: Label smoothing of the loss.
    """
    model = _undropped(model)
    units = blocks(model)
    weights = {name: list(unit.parameters()) for name, unit in units.items()}
    with _watched(model) as watched, kernels(inputs.device, deterministic=False, tune=False):
        outputs = model(inputs).unsqueeze(1)
        loss = criterion.losses(outputs, target.unsqueeze(1), label_smoothing).mean()
        left = [parts["left"] for parts in watched.values()]
        asked = left + [w for ws in weights.values() for w in ws]
        gradients = iter(torch.autograd.grad(loss, asked, materialize_grads=True))
    at_outputs = {name: next(gradients) for name in units}
    at_weights = {name: [next(gradients) for _ in ws] for name, ws in weights.items()}
    with torch.no_grad():
        return [
            {
                "number": number,
                "block": name,
                **_signals(units[name], parts),
                "gradient": float(at_outputs[name].norm()),
                "weight_gradient": float(torch.stack([g.norm() for g in at_weights[name]]).norm()),
            }
            for number, (name, parts) in enumerate(watched.items(), 1)
        ]


def _undropped(model: Network) -> Network:
    """Return a copy of a network in training mode, without dropout and stochastic depth."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | DropPath):
            module.eval()
    return model


def blocks(model: Network) -> dict[str, nn.Module]:
    """Return the blocks of a network by name, from the stem to the head."""
    return {
        f"{stage_name}.{name}": block
        for stage_name, stage in model.stages.named_children()
        for name, block in stage.named_children()
        if name != "transition"
    }


@contextlib.contextmanager
def _watched(model: Network) -> Iterator[dict[str, Noted]]:
    """Record the inputs and outputs of the blocks of a network."""
    watched: dict[str, Noted] = {name: {} for name in blocks(model)}
    with contextlib.ExitStack() as hooks:
        for name, block in blocks(model).items():
            for part in ("", "branch", "shortcut", "gate"):
                if not part or hasattr(block, part):
                    note = _note(watched[name], part)
                    hooks.enter_context(block.get_submodule(part).register_forward_hook(note))
        yield watched


def _note(parts: Noted, part: str) -> Callable[..., None]:
    def hook(_module: nn.Module, entered: tuple[Tensor, ...], left: Tensor) -> None:
        parts.update({part: left} if part else {"entered": entered[0], "left": left})

    return hook


def _signals(block: nn.Module, parts: Noted) -> dict[str, float]:
    entered, left = parts["entered"], parts["left"]
    ratio = distance = cosine = math.nan
    joined = cast("Joined", block).terms(parts)
    if joined is not None:
        branch, shortcut = joined
        ratio = float(branch.norm() / shortcut.norm())
    if entered.shape == left.shape:
        distance = float((left - entered).norm() / entered.norm())
        cosine = float((left * entered).sum() / (left.norm() * entered.norm()))
    return {
        "branch_ratio": ratio,
        "identity_distance": distance,
        "identity_cosine": cosine,
        "mean": float(left.mean()),
        "variance": float(left.var(correction=0)),
    }


# --- lesions -------------------------------------------------------------------------------------


def lesions(trainer: Trainer, split: Split) -> list[float]:
    """Return the score on a split without each block in turn; NaN if it cannot be removed.

    Args:
        trainer: Trainer of a ``Network``, which stays unchanged.
        split: Split that is evaluated on, in evaluation mode.
    """
    scores = []
    assert isinstance(trainer.model, Network)
    for block in blocks(trainer.model).values():
        if isinstance(block, PlainBlock) and _changes_shape(block):
            scores.append(math.nan)
            continue
        with _removed(block):
            scores.append(trainer.evaluate(split)[1])
    return scores


def _changes_shape(block: PlainBlock) -> bool:
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    first, last = convolutions[0], convolutions[-1]
    strided = any(max(module.stride) > 1 for module in convolutions)
    return strided or first.in_channels != last.out_channels


def _removed(block: nn.Module) -> RemovableHandle:
    """Disable the branch of a block until the handle is closed."""
    if isinstance(block, PlainBlock):
        return block.register_forward_hook(lambda _module, entered, _left: entered[0])
    branch = block.get_submodule("branch")
    return branch.register_forward_hook(lambda _module, _entered, left: torch.zeros_like(left))


# --- in words ------------------------------------------------------------------------------------


def words(table: pd.DataFrame, metric: Metric, links: pd.DataFrame | None = None) -> Iterable[str]:
    """Derive the sentences from the tables of ``explain``, by fixed bounds.

    Args:
        table: Table of the blocks.
        metric: Metric of the scores.
        links: Table of the long skips; None for a network without them.
    """
    for moment, rows in table.groupby("moment", sort=False):
        yield _gradients(WHEN[str(moment)], rows)
    latest = table.moment.iloc[-1]
    rows = table[table.moment == latest]
    yield from _identity(WHEN[latest], rows)
    yield from _lesions(rows.dropna(subset=["lesion_drop"]), metric)
    if links is not None and len(links):
        yield from link_words(links[links.moment == latest], WHEN[latest], metric)


def _gradients(when: str, rows: pd.DataFrame) -> str:
    first, last = rows.gradient.iloc[0], rows.gradient.iloc[-1]
    if not 0 < last < math.inf or not math.isfinite(first):
        return f"{when} gradients cannot be compared: that at the last block is {last:.3g}."
    ratio = first / last
    if ratio < VANISHING:
        verdict = "gradients vanish on the way to the stem"
    elif ratio > 1 / VANISHING:
        verdict = "gradients do not vanish, they grow on the way to the stem"
    else:
        verdict = "gradients do not vanish"
    return (
        f"{when} {verdict}: their norm at the first block is {ratio:.3g} times that at the last of"
        f" {len(rows)} (bounds {VANISHING:g} and {1 / VANISHING:g})."
    )


def _identity(when: str, rows: pd.DataFrame) -> Iterable[str]:
    joined = rows.dropna(subset=["branch_ratio"])
    if len(joined):
        smaller = int((joined.branch_ratio < 1).sum())
        yield (
            f"{when} the shortcut outweighs the branch in {smaller} of {len(joined)} blocks: the"
            f" median branch is {joined.branch_ratio.median():.3g} times the shortcut, where 0 is"
            " the identity."
        )
    plain = rows[rows.branch_ratio.isna()].dropna(subset=["identity_distance"])
    if len(plain):
        distance = plain.identity_distance.median()
        verdict = "no nearer" if distance >= FAR else "nearer"
        yield (
            f"{when} plain blocks are {verdict} to the identity than an output of zeros would be:"
            f" the median of {len(plain)} distances is {distance:.3g} times the input, that of"
            " zeros 1. Whether the identity would have served them, depth can tell: see"
            " degradation."
        )


def _lesions(rows: pd.DataFrame, metric: Metric) -> Iterable[str]:
    if len(rows):
        worst = rows.loc[[rows.lesion_drop.idxmax()]]
        yield (
            f"Removing one block costs {metric.with_unit(metric.number(rows.lesion_drop.median()))}"
            f" of validation {metric.title} in the median of"
            f" {counted(len(rows), 'block')}, {metric.number(worst.lesion_drop.iloc[0])} at"
            f" most ({worst.block.iloc[0]})."
        )
