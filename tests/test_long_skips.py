"""What long skips carry and what their removal costs, against networks cut by hand."""

import copy
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from dense_data import denoising, segmentation
from test_dense_runs import make_run
from torch import nn

from skipsearch.cli import main
from skipsearch.data import Data, load_data
from skipsearch.design import Design
from skipsearch.errors import DivergedError
from skipsearch.merges import LINK_MERGES
from skipsearch.metric import ACCURACY, MEAN_IOU, PSNR
from skipsearch.models import Network, build
from skipsearch.models.links.add import AddLinks
from skipsearch.recipe import Recipe
from skipsearch.training import Trainer
from skipsearch.training.diagnosis import Explanation, explain
from skipsearch.training.long_skips import LINK_COLUMNS, carried, link_lesions, link_words, links

PLAIN = "conv3-bn-relu-conv3-bn-relu"
RECIPE = Recipe(epochs=1, batch_size=16)
DATA = {"segmentation": segmentation, "denoising": denoising}


def decoder(outputs: int = 3, **fields: Any) -> Network:
    design = Design(
        **{
            "layout": PLAIN,
            "depths": (1, 1, 1),
            "widths": (4, 6, 8),
            "ups": 2,
            "down": "maxpool",
            "stem": "none",
            "links": ["mirror"],
            "link_merge": "cat",
            "head": "map",
            **fields,
        }
    )
    return build(design, 3, outputs)


def classifier(**fields: Any) -> Network:
    design = Design(layout=PLAIN, depths=(1, 1), widths=(4, 8), links=("0>1", "0>2"), **fields)
    return build(design, 1, 10)


def scattered(model: Network) -> Network:
    """The model with other numbers wherever it starts with zeros and ones."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("merge", LINK_MERGES)
def test_the_parts_are_those_that_are_joined(merge: str) -> None:
    model = scattered(decoder(links=["mirror", "x>4", "x>y"], link_merge=merge)).eval()
    x = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    seen = []

    def check(join: nn.Module, entered: tuple[Any, ...], joined: torch.Tensor) -> None:
        assert isinstance(join, AddLinks)
        terms = join.terms(*entered)
        assert len(terms) == len(join.links) + 1
        is_added = LINK_MERGES[merge].carries
        together = torch.stack(terms).sum(0) if is_added else torch.cat(terms, 1)
        assert torch.allclose(join.after(together), joined, atol=1e-6)
        seen.append(join)

    for join in model.joins.values():
        join.register_forward_hook(check)
    last, ends = model.features(x)
    assert torch.allclose(sum(model.terms(last, ends)), model(x), atol=1e-6)
    assert len(seen) == 4


@torch.no_grad()
@pytest.mark.parametrize("merge", LINK_MERGES)
def test_norms_and_weights_are_those_of_the_formulas(merge: str) -> None:
    model = scattered(decoder(link_merge=merge)).eval()
    x = torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    rows = pd.DataFrame(carried(model, x)).set_index("link")
    assert rows.index.tolist() == ["2>4", "1>5"]
    assert rows["size"].tolist() == ["6x5", "12x10"]
    assert set(rows["merge"]) == {merge}
    _, ends = model.features(x)
    enlarge = model.stages.stage5[0]
    signal, link = enlarge(ends[4]), ends[1]  # equal widths: nothing is projected
    weight = math.nan
    join = model.joins["stage5"]
    if merge == "attention":
        gate = join.gates[0]
        gates = torch.sigmoid(gate.weigh(torch.relu(gate.of_link(link) + gate.of_signal(signal))))
        link, weight = gates * link, float(gates.mean())
    elif merge == "weighted":
        a, b = join.sum.weights
        signal, link, weight = a * signal, b * link, float(b)
    row = rows.loc["1>5"]
    assert row.link_norm == pytest.approx(float(link.norm()), rel=1e-5)
    assert row.signal_norm == pytest.approx(float(signal.norm()), rel=1e-5)
    assert row.ratio == pytest.approx(float(link.norm() / signal.norm()), rel=1e-5)
    assert row.weight == pytest.approx(weight, nan_ok=True)


def test_lesions_are_those_of_networks_cut_by_hand() -> None:
    data = segmentation()
    trainer = Trainer(decoder(links=["mirror", "x>y"]), data, RECIPE.replace(epochs=6))
    for _ in range(6):
        trainer.run_epoch()
    whole = trainer.evaluate(data.validation)
    found = link_lesions(trainer, data.validation)
    assert list(found) == ["2>4", "1>5", "x>y", "all"]

    def without(*names: str) -> float:
        cut = copy.deepcopy(trainer.model)
        with torch.no_grad():
            for name in names:
                if name == "x>y":
                    cut.output_links, cut.output_sources = nn.ModuleList(), ()
                else:  # the channels of a concatenated link are the last that the block reads
                    block = cut.stages.get_submodule(f"stage{name[-1]}.block1")
                    first = next(m for m in block.modules() if isinstance(m, nn.Conv2d))
                    first.weight[:, first.out_channels :] = 0
        return Trainer(cut, data, RECIPE).evaluate(data.validation)[1]

    expected = {name: without(name) for name in ("2>4", "1>5", "x>y")}
    expected["all"] = without("2>4", "1>5", "x>y")
    assert found == pytest.approx(expected)
    assert len({*found.values(), whole[1]}) > 2, "the lesions were alike"
    assert trainer.evaluate(data.validation) == whole


@pytest.mark.parametrize("task", DATA)
@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"link_merge": "attention"}, ["2>4", "1>5"]),
        ({"links": ["full"], "link_merge": "add"}, None),
        ({"links": ["x>y"]}, ["x>y"]),
        ({"links": []}, []),
    ],
    ids=["attention", "full", "image to output", "none"],
)
def test_networks_of_dense_tasks_are_explained(
    task: str, fields: dict[str, Any], names: list[str] | None
) -> None:
    data: Data = DATA[task]()
    model = decoder(data.outputs, **fields)
    names = list(links(model)) if names is None else names
    found = explain(model, data, RECIPE)
    assert isinstance(found, Explanation)
    assert tuple(found.links.columns) == LINK_COLUMNS
    together = ["all"] if len(names) > 1 else []
    assert found.links.link.tolist() == [*names, *names, *together]
    each = found.links[found.links.link != "all"]
    assert each[["link_norm", "signal_norm", "ratio"]].gt(0).all(axis=None)
    after = found.links[found.links.moment == "trained"]
    assert after.lesion_score.map(math.isfinite).all()
    assert after.lesion_drop.map(math.isfinite).all()
    assert found.links[found.links.moment == "init"].lesion_score.isna().all()
    said = " ".join(found.words)
    unit, title = data.task.metric.difference_unit, data.task.metric.title
    costs = f"Removing one long skip costs, in {unit} of validation {title}: "
    assert (costs in said) == bool(names)
    assert ("After training long skips carry" in said) == bool(names)


@pytest.mark.parametrize("merge", LINK_MERGES)
def test_networks_that_classify_are_explained(merge: str) -> None:
    data = load_data("digits").without_test()
    model = classifier(link_merge=merge)
    found = explain(model, data, RECIPE.replace(batch_size=256))
    assert found.links.link.tolist() == ["0>1", "0>2"] * 2 + ["all"]
    assert found.links.lesion_drop.notna().tolist() == [False] * 2 + [True] * 3


def test_the_diagnosis_does_not_change_the_training() -> None:
    data = segmentation()
    explained, plain = decoder(), decoder()
    explain(explained, data, RECIPE)
    trainer = Trainer(plain, data, RECIPE)
    trainer.run_epoch()
    pairs = zip(explained.state_dict().values(), plain.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not any(module._forward_hooks for module in explained.modules())


def test_of_a_training_that_diverges_the_beginning_is_told() -> None:
    model = decoder(layout="conv3-relu-conv3-relu")
    data, recipe = segmentation(), RECIPE.replace(epochs=3, peak_lr=1e6)
    with pytest.raises(DivergedError):
        list(_epochs(Trainer(copy.deepcopy(model), data, recipe), 3))
    found = explain(model, data, recipe)
    assert found.links.moment.tolist() == ["init"] * 2
    assert found.words[-1].startswith("At initialisation long skips carry, times the signal that")


def _epochs(trainer: Trainer, epochs: int) -> Any:
    return (trainer.run_epoch() for _ in range(epochs))


# --- in words ------------------------------------------------------------------------------------


def table_of(drops: list[float], weight: float = math.nan) -> pd.DataFrame:
    names = [f"{len(drops) - i}>{len(drops) + 2 + i}" for i in range(len(drops))]
    return pd.DataFrame(
        {"link": names, "ratio": 0.5, "size": "6x5", "weight": weight, "lesion_drop": drops}
    )


def test_every_level_is_told() -> None:
    table = table_of([0.01, 0.2], weight=0.25)
    table.loc[2] = ["all", math.nan, None, math.nan, 0.3]
    carry, costs = link_words(table, "After training", MEAN_IOU)
    assert carry == (
        "After training long skips carry, times the signal that they join:"
        " 2>4 0.5 (at 6x5, mean weight 0.25), 1>5 0.5 (at 6x5, mean weight 0.25)."
    )
    assert costs.startswith(
        "Removing one long skip costs, in points of validation mean IoU:"
        " 2>4 1.00, 1>5 20.00; all at once 30.00. The rest was trained with them:"
    )


def test_costs_are_in_the_unit_of_the_metric() -> None:
    _, costs = link_words(table_of([0.4]), "After training", PSNR)
    assert "costs, in dB of validation PSNR: 1>3 0.40. The rest" in costs


def test_of_many_long_skips_the_first_are_told() -> None:
    carry, costs = link_words(table_of([0.01] * 10), "After training", ACCURACY)
    assert carry.endswith("3>19 0.5 (at 6x5), and 2 more.")
    assert ", and 2 more. The rest" in costs


# --- on the command line -------------------------------------------------------------------------


def test_the_command_line_shows_the_links_and_writes_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from skipsearch.run import Run
    from skipsearch.task import SEGMENTATION

    run = make_run(tmp_path / "run", SEGMENTATION)
    data = segmentation()
    found = explain(decoder(), data, RECIPE)
    monkeypatch.setattr(Run, "explain", lambda *_, **__: found)
    table = tmp_path / "blocks.csv"
    assert main(["explain", str(run.path), "best", "--csv", str(table), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "Long skips:\n moment link merge  size" in out
    assert (
        "To beat: the most frequent class at every pixel, with validation mean IoU 11.30 %" in out
    )
    written = pd.read_csv(tmp_path / "blocks-links.csv")
    assert tuple(written.columns) == LINK_COLUMNS
    assert written.link.tolist() == ["2>4", "1>5"] * 2 + ["all"]
    assert str(tmp_path / "blocks-links.csv") in out
    assert pd.read_csv(table).block.nunique() == 5
