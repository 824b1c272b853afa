"""The verbs about one design or one space: show, check, train."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from skipsearch.anatomy import draw_design
from skipsearch.classics import CLASSICS
from skipsearch.cli.options import Verbs, add_device, add_images, add_space, add_training
from skipsearch.cli.words import (
    check_writable,
    data_options,
    for_images,
    print_data,
    print_epoch,
    print_path,
    read_design,
    read_recipe,
    read_values,
)
from skipsearch.design import Design
from skipsearch.errors import (
    DivergedError,
    RunError,
    SpaceError,
    TrainingError,
    counted,
    shown_value,
)
from skipsearch.metric import Metric
from skipsearch.ready import ready_names
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.space import Space, describe_size, draw_space, is_space
from skipsearch.task import Baseline


def add_show(verbs: Verbs) -> None:
    """Define ``skipsearch show``."""
    verb = verbs.add_parser(
        "show", help="draw a layout, a design, a space, a published network or a design of a run"
    )
    verb.add_argument("what", metavar="LAYOUT|DESIGN.yaml|SPACE|CLASSIC|RUN")
    verb.add_argument(
        "--design", metavar="ID", help="of a run: best (default), or the first digits of its id"
    )
    add_images(verb)
    verb.add_argument("--png", metavar="FILE", help="also draw it as a figure")
    verb.add_argument("--svg", metavar="FILE", help="also draw it as a vector graphic")
    verb.set_defaults(verb=show)


def show(options: argparse.Namespace) -> None:
    """Draw a layout, a design, a space, a classic or a design of a run."""
    what: str = options.what
    ready = [name for name in ready_names() if name not in CLASSICS]
    is_name = what in ready or what.lower() in CLASSICS
    of_run = not is_name and Path(what, "run.yaml").is_file()
    if options.design is not None and not of_run:
        raise RunError(f"design: is for a run, and {shown_value(what)} is not a run folder")
    if what in ready or (what.endswith((".yaml", ".yml")) and is_space(read_values(what))):
        if (options.png, options.svg) != (None, None):
            raise SpaceError(f"{what}: a figure shows one design, and this is a space of many")
        print(draw_space(for_images(Space.load(what), options)))
        return
    classic = CLASSICS.get(what.lower())
    images: dict[str, Any] = {"in_channels": 3, "image_size": 32, "classes": 10}
    if of_run:
        from skipsearch.run import Run

        run = Run.open(what)
        design, images = run.trial(options.design or "best").design, run.config.image_sizes
    else:
        design = read_design(what, ready)
    if classic is not None:
        images = {name: getattr(classic, name) for name in images}
    given = {name: getattr(options, name) for name in images}
    images |= {name: value for name, value in given.items() if value is not None}
    drawing = draw_design(design, **images)
    files = _write_figures(design, images, {"png": options.png, "svg": options.svg})
    if classic is not None:
        error = "" if classic.error is None else f", published error {classic.error:.2f} %"
        source = f" ({classic.error_source})" if error and classic.error_source else ""
        print(f"{what.lower()}: {classic.paper}{error}{source}\n")
    print(drawing)
    for file in files:
        print_path(f"wrote {file}")


def _write_figures(
    design: Design, images: Mapping[str, Any], files: Mapping[str, str | None]
) -> list[str]:
    """Draw a design to files, and return their names."""
    wanted = {kind: file for kind, file in files.items() if file is not None}
    if wanted:
        from skipsearch.diagram import draw_diagram

        figure = draw_diagram(design, **images)
        for kind, file in wanted.items():
            picture = BytesIO()
            figure.savefig(picture, format=kind)
            Path(file).write_bytes(picture.getvalue())
    return list(wanted.values())


def add_check(verbs: Verbs) -> None:
    """Define ``skipsearch check``."""
    verb = verbs.add_parser("check", help="validate a space and print its size")
    add_space(verb)
    add_images(verb)
    verb.set_defaults(verb=check)


def check(options: argparse.Namespace) -> None:
    """Check that every value of a space parses and builds."""
    space = for_images(Space.load(options.space), options)
    listing = space.listing()
    size = describe_size(space, listing)
    space.sample(0)
    print_path(f"{options.space}: every value parses; {size}")
    for value in listing.unused if listing else ():
        print(f"{value}: no design with it can be built within the constraints")


def add_train(verbs: Verbs) -> None:
    """Define ``skipsearch train``."""
    verb = verbs.add_parser("train", help="train one design and print each epoch")
    verb.add_argument("design", metavar="DESIGN.yaml|LAYOUT|CLASSIC")
    verb.add_argument(
        "--epochs",
        type=int,
        metavar="E",
        help=f"number of epochs (default: the recipe's, {Recipe.epochs})",
    )
    verb.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="checkpoint, written after each epoch; resumed if it exists",
    )
    verb.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="number of networks to train, with the seeds S, S+1, ...; small ones are packed",
    )
    add_device(verb)
    add_training(verb)
    verb.set_defaults(verb=train_design)


def train_design(options: argparse.Namespace) -> None:
    """Train one design, or several of its seeds at once."""
    from skipsearch.data import load_data
    from skipsearch.models import build
    from skipsearch.training import (
        available_cores,
        default_device,
        do_nothing,
        fitting_threads,
        packs,
        train,
        train_several,
        tune_process,
    )

    design = read_design(options.design)
    recipe = read_recipe(options.recipe)
    if options.epochs is not None:
        recipe = recipe.replace(epochs=options.epochs)
    if options.seeds < 1:
        raise TrainingError(f"seeds: {options.seeds} is not a positive whole number")
    if options.seeds > 1 and options.checkpoint:
        raise TrainingError("checkpoint: is of one training; give --seeds 1 or no --checkpoint")
    check_writable(options.checkpoint)
    if options.own_process:
        tune_process(available_cores())
    device = options.device or default_device()
    described = data_options(options)
    data = load_data(
        options.data, root=described.pop("data_root"), device=device, **described
    ).judged_by(options.metric)
    print_data(data)
    data.task.check_head(design.head)
    data = data.without_test()
    seeds = range(options.seed, options.seed + options.seeds)
    models = [build(design, data.in_channels, data.outputs, seed=seed) for seed in seeds]
    print(f"design {design.id} on {data.name} ({device}), {counted(recipe.epochs, 'epoch')}")
    metric = data.task.metric
    print(Baseline(data.task, do_nothing(data, data.validation)).sentence(), flush=True)
    how = {"deterministic": options.deterministic}
    largest = max(map(len, packs(data, design, recipe, seeds)))
    with fitting_threads(design, data, recipe, largest):
        if options.seeds == 1:
            checkpoint = options.checkpoint
            for epoch in train(models[0], data, recipe, options.seed, checkpoint=checkpoint, **how):
                print_epoch(metric, epoch)
            return
        for epochs in train_several(models, data, recipe, seeds, packed=largest > 1, **how):
            _print_mean(metric, epochs)
    for seed, epoch in zip(seeds, epochs, strict=True):
        print(f"seed {seed}: {_value(metric, epoch)}")


def _print_mean(metric: Metric, epochs: Sequence[Epoch]) -> None:
    """Print a line with the mean over seeds, without those that diverged."""
    if epochs[0].epoch == 1:
        score = f"val. {metric.short}"
        print(f"epoch  train loss  val. loss  {score:>9}      s.d.  seeds  seconds")
    finite = [epoch for epoch in epochs if _converges(epoch)]
    if not finite:
        raise DivergedError(f"all {len(epochs)} trainings diverged in epoch {epochs[0].epoch}")
    scores = [epoch.validation_score for epoch in finite]
    deviation = stdev(scores) if len(finite) > 1 else math.nan
    seconds = sum(epoch.seconds for epoch in epochs)
    print(
        f"{epochs[0].epoch:5}  {fmean(epoch.train_loss for epoch in finite):10.4f}"
        f"  {fmean(epoch.validation_loss for epoch in finite):9.4f}"
        f"  {metric.cell(metric.value(fmean(scores))):>9}  {metric.cell(deviation):>8}"
        f"  {len(finite):5}  {seconds:7.2f}",
        flush=True,
    )


def _value(metric: Metric, epoch: Epoch) -> str:
    value = metric.value(epoch.validation_score)
    return metric.cell(value) if _converges(epoch) else "diverged"


def _converges(epoch: Epoch) -> bool:
    return math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)
