"""The report of a run: one page that needs nothing beside it, and figures and tables as files."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text
from waiting import HANG

from skipsearch.analysis import pareto
from skipsearch.analysis.command import _space_word
from skipsearch.analysis.figures import VERDICTS, plot_curves, plot_effects, plot_front, short
from skipsearch.analysis.knowledge import least_trainings
from skipsearch.analysis.legends import legend
from skipsearch.analysis.page import Picture, Section, Table, write_page
from skipsearch.analysis.report import _budget_of
from skipsearch.analysis.sections import interactions_section, leaders_section, provenance_section
from skipsearch.cli import main
from skipsearch.cli.parser import make_parser
from skipsearch.data import load_data
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError
from skipsearch.metric import ACCURACY, R2, Scale
from skipsearch.recipe import Recipe
from skipsearch.record import COMPLETE, FAIL, PRUNED, Environment, Epoch
from skipsearch.run import Run
from skipsearch.searching.plans import Plan
from skipsearch.searching.study import SearchStudy
from skipsearch.space import Space
from skipsearch.text import dump_yaml, parse_yaml
from skipsearch.training import versions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SPACE = """
name: <b>tiny</b>
base: {widths: [4, 8], depths: [1, 1], merge: add}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +, conv3-bn-relu]
  shortcut: [pad, proj]
  depths: [[1, 1], [2, 2]]
"""
EPOCHS = 3


def epochs(number: int, last: float) -> list[Epoch]:
    values = [last * i / number for i in range(1, number + 1)]
    return [Epoch(i, 0.1, 2.0 - v, v, 2.0 - v, v, 1.0) for i, v in enumerate(values, 1)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder as a search leaves it; what came of its trainings is made up."""
    path = tmp_path_factory.mktemp("runs") / "a run"
    path.mkdir()
    data = load_data("digits")
    space = Space.from_yaml(SPACE).for_images(data.in_channels, data.image_size, data.classes)
    recipe = Recipe(epochs=EPOCHS, batch_size=64)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan = Plan(space=space, recipe=recipe, trials=18, sampler="random", seeds=2)
    with closing(SearchStudy(f"sqlite:///{path}/study.db", space.name, plan)) as study:
        ends = cycle([COMPLETE, COMPLETE, COMPLETE, PRUNED])
        number = 0
        while (proposal := study.ask()) is not None:
            number += 1
            if number == 7:
                study.finish(proposal.number, FAIL, "the loss became nan & more")
                continue
            end = next(ends)
            accuracy = 1.0 if number == 3 else 0.5 + number / 100
            study.report(
                proposal.number,
                epochs(EPOCHS if end == COMPLETE else 1, accuracy),
                Environment(device="cpu", numerics="cpu, float32", versions=versions()),
            )
            study.finish(proposal.number, end)
    optuna.logging.set_verbosity(verbosity)
    stopping = EarlyStopping()
    asked = {
        "format": 1,
        "space": space.to_dict(),
        "data": {
            "name": "digits",
            "root": None,
            "resized_to": None,
            "split_seed": data.split_seed,
            "fingerprint": data.fingerprint,
            "in_channels": data.in_channels,
            "image_size": data.image_size,
            "classes": data.classes,
            "train_images": len(data.train),
            "validation_images": len(data.validation),
            "source": data.source,
        },
        "recipe": recipe.to_dict(),
        "seed": 0,
        "sampler": "random",
        "scheduler": stopping.rule,
        "stopping": stopping.details(),
        "rungs": [1, EPOCHS],
        "objectives": ["validation_accuracy"],
        "trials": 18,
        "seeds": 2,
        "storage": None,
        "versions": versions(),
    }
    (path / "run.yaml").write_text(dump_yaml(asked))
    return Run.open(path)


@pytest.fixture(scope="module")
def page(run: Run) -> Path:
    assert main(["report", str(run.path)]) == 0
    return run.path / "report" / "index.html"


class _Page(HTMLParser):
    """What a page refers to, its ids, its words, and whether its elements are closed in order."""

    VOID = ("meta", "img", "br", "path", "use", "rect", "circle", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.refers: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.refers.append(str(value))
            if name == "id":
                self.ids.append(str(value))
        if tag in self.VOID:
            self._open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "


def test_the_page_needs_nothing_beside_it(page: Path) -> None:
    parsed = _Page(page.read_text(encoding="utf-8"))
    assert parsed.refers
    for target in parsed.refers:
        assert target.startswith("data:image/svg+xml;base64,") or target[1:] in parsed.ids
    assert len(parsed.ids) == len(set(parsed.ids))
    assert "url(http" not in page.read_text()


def test_the_page_says_what_the_run_says(page: Path, run: Run) -> None:
    words = " ".join(_Page(page.read_text(encoding="utf-8")).words.split())
    first = run.rank().iloc[0]
    assert f"Design {first.design[:6]} ({first.layout}) leads with" in words
    assert "It is not confirmed" in words
    assert f"Early stopping (asha) ended {run.audit().stopped} of {len(run.trials())}" in words
    assert "1 failed" in words
    assert "the loss became nan & more" in words
    assert run.config.data.fingerprint in words
    assert "<b>tiny</b>" in words  # shown as it is, not obeyed


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a page, without the name of the program."""
    found = [re.sub("<[^>]*>", "", line) for line in re.findall(r"<pre>(.*?)</pre>", text, re.S)]
    return [shlex.split(html.unescape(line))[1:] for line in found]


def test_the_command_on_the_page_asks_for_the_same_search(page: Path, run: Run) -> None:
    *_, command = commands(page.read_text(encoding="utf-8"))
    asked = make_parser().parse_args(command)
    assert Space.load(asked.space).for_images(**run.config.image_sizes) == run.space
    assert (asked.trials, asked.epochs, asked.seeds, asked.seed) == (18, EPOCHS, 2, 0)
    assert (asked.sampler, asked.scheduler, asked.audit) == ("random", "asha", 0.05)
    settings = dict(setting.split("=") for setting in asked.recipe)
    assert settings["batch_size"] == "64"
    assert "epochs" not in settings


def test_the_command_that_settles_what_is_open_can_be_run(page: Path) -> None:
    _, _, text = page.read_text(encoding="utf-8").partition(
        "It stops when the answers are settled:</p>"
    )
    asked = make_parser().parse_args(commands(text)[0])
    assert set(asked.ask.split(",")) <= set(asked_axes(page))
    assert (asked.trials, asked.epochs, asked.seeds) == (300, EPOCHS, 3)
    assert (asked.sampler, asked.scheduler) == (None, None)  # which --ask refuses
    assert asked.objectives == "validation_accuracy"


def test_what_no_command_can_give_again_is_named_instead_of_one(run: Run) -> None:
    found = run._findings()
    assert provenance_section(found).code
    of_arrays = replace(found.config.data, is_given=True)
    for given, what in (
        ({"data": of_arrays}, "the data"),
        ({"sampler": "RandomSampler"}, "the sampler RandomSampler"),
        ({"data": of_arrays, "sampler": "Mine"}, "the data and the sampler Mine"),
    ):
        section = provenance_section(replace(found, config=replace(found.config, **given)))
        assert not section.code
        assert section.text[-1] == f"Given in Python, where the search can be repeated: {what}."


def test_a_report_without_effects_says_what_they_need(run: Run) -> None:
    found = run._findings()
    nothing = replace(found, effects=found.effects[:0])
    (sentence,) = _budget_of(nothing)
    assert sentence.endswith("unknown: they need finished trainings of two designs.")
    assert least_trainings(R2).startswith(
        "8 finished trainings, of two or more designs, to estimate"
    )


def asked_axes(page: Path) -> list[str]:
    run = parse_yaml((page.parents[1] / "run.yaml").read_text(), "run.yaml", ValueError)
    return list(run["space"]["axes"])


def test_a_ready_space_is_named_and_another_of_its_name_is_that_of_the_run() -> None:
    run, ready = Path("/runs/a"), Space.load("quickstart")
    assert _space_word(ready, run) == "quickstart"
    values = ready.to_dict()
    for change in (
        {"axes": values["axes"] | {"drop_path": [0.0, 0.1]}},
        {"recipe": {"batch_size": 32}},
        {"name": "mine"},
    ):
        assert _space_word(Space.from_dict(values | change), run) == "/runs/a/run.yaml"


def interaction(first: str, second: str, share: float, verdict: str) -> pd.DataFrame:
    table = pd.DataFrame({first: ["a", "a", "b", "b"], second: ["x", "y", "x", "y"]})
    beyond = [0.01, -0.01, -0.01, 0.01]
    return table.assign(mean=[0.1, 0.2, 0.3, 0.4], beyond=beyond, share=share, verdict=verdict)


def test_those_interactions_are_shown_that_are_there(run: Run) -> None:
    tables = [
        interaction("layout", "shortcut", 0.1, "not enough data"),
        interaction("layout", "depths", 0.2, "depends"),
        interaction("layout", "merge", 0.0, "no dependence that matters"),
    ]
    found = run._findings()
    section = interactions_section(replace(found, interactions=tables))
    assert section is not None
    (sentence,) = section.text
    assert sentence.startswith("layout and depths depend on each other")
    assert "1.0 points" in sentence
    assert [picture.name for picture in section.figures] == ["interaction-layout-depths"]
    assert section.tables[0].rows.share.tolist() == [0.2, 0.1, 0.0]
    assert [table.name for table in section.tables[1:]] == ["interaction-layout-depths"]
    assert section.tables[1].rows is tables[1]
    nothing = interactions_section(replace(found, interactions=tables[2:]))
    assert nothing is not None
    assert nothing.text == ["No interaction is established among 1 pair of axes; see the verdicts."]
    assert interactions_section(replace(found, interactions=[])) is None


def test_leaders_that_differ_in_size_alone_share_a_drawing(run: Run) -> None:
    found = run._findings()
    found = replace(found, ranking=found.ranking.sort_values(["layout", "shortcut"]))
    drawings = leaders_section(found).drawings
    blocks = {
        (design.layout, design.shortcut)
        for number in found.ranking.trial.head(len(found.leaders))
        if (design := found.trial(number).design)
    }
    assert len(drawings) == len(blocks) < len(found.leaders)
    captions = " ".join(drawing.caption for drawing in drawings)
    assert all(f"{name}: " in captions for name in found.leaders.values())
    assert re.search(r"\d\. \w{6}: the same but for depths \[., .\]; [\d,]+ parameters", captions)


def test_figures_and_tables_are_files_too(page: Path, run: Run) -> None:
    folder = page.parent
    names = {path.stem for path in folder.glob("*.svg")}
    assert {"curves", "effects", "pareto", "degradation", "leader-1"} <= names
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    tables = {path.stem for path in folder.glob("*.csv")}
    assert {"ranking", "effects", "curves", "failures", "degradation", "pareto"} <= tables
    for name in tables:
        written = pd.read_parquet(folder / f"{name}.parquet")
        assert list(written) == list(pd.read_csv(folder / f"{name}.csv"))
    ranking = pd.read_parquet(folder / "ranking.parquet")
    assert ranking.design.tolist() == run.rank().design.tolist()
    assert ranking.validation_accuracy.tolist() == pytest.approx(
        run.rank().validation_accuracy.tolist(), nan_ok=True
    )
    assert len(pd.read_parquet(folder / "curves.parquet")) == sum(
        len(trial.curve) for trial in run.trials()
    )


def test_a_report_again_is_the_same(page: Path, run: Run, tmp_path: Path) -> None:
    again = run.report(tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()


def test_ranking_and_reporting_need_neither_torch_nor_ray(run: Run, tmp_path: Path) -> None:
    program = (
        "import sys; from skipsearch.cli import main;"
        "assert main(['rank', sys.argv[1], '--csv', sys.argv[2] + '/ranking.csv']) == 0;"
        "assert main(['report', sys.argv[1], '--out', sys.argv[2]]) == 0;"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(run.path), str(tmp_path)], check=True)


def test_a_run_without_trials_has_no_report(run: Run, tmp_path: Path) -> None:
    shutil.copy(run.path / "run.yaml", tmp_path)
    plan = Plan(space=run.space, recipe=Recipe(epochs=EPOCHS), trials=1)
    SearchStudy(f"sqlite:///{tmp_path}/study.db", run.space.name, plan).close()
    with pytest.raises(RunError, match="no trial has been recorded yet"):
        Run.open(tmp_path).report()


def test_a_run_agrees_with_its_copy(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    table = tmp_path / "compared.csv"
    assert main(["compare", str(run.path), str(copy), "--csv", str(table)]) == 0
    rows = pd.read_csv(table)
    assert set(rows.by) == {"design", "layout", "shortcut", "depths"}
    assert rows.tau.tolist() == [1.0] * len(rows)
    assert "Kendall's" in capsys.readouterr().out
    assert main(["compare", str(run.path), str(run.path)]) == 2
    assert "a run is named twice" in capsys.readouterr().err


def test_runs_of_different_metrics_are_compared_by_their_orders_alone(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    words = "These runs have different metrics: only the orders by each are compared"
    assert main(["compare", str(run.path), str(copy)]) == 0
    assert words not in capsys.readouterr().out
    asked = yaml.safe_load((copy / "run.yaml").read_text())
    asked["data"]["metric"] = "macro_f1"
    asked["objectives"] = ["validation_macro_f1"]
    (copy / "run.yaml").write_text(yaml.safe_dump(asked))
    assert main(["compare", str(run.path), str(copy)]) == 0
    out = capsys.readouterr().out
    assert words in out
    assert "macro_f1" in out


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_opens_the_page_without_an_error(page: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=True)
    assert "CONSOLE" not in done.stderr
    assert "Provenance" in done.stdout


def test_a_browser_would_tell_of_an_error(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nothing.there()</script>")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path}", broken.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=True)
    assert "CONSOLE" in done.stderr


# --- parts ---------------------------------------------------------------------------------------


def test_what_a_user_wrote_is_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script> & "quotes"'
    rows = pd.DataFrame({"design": [evil], "accuracy": [0.5]})
    figure = plot_effects(effects_table(), ACCURACY)
    sections = [
        Section(
            title="One",
            text=[evil],
            tables=[Table(name="t", rows=rows, caption=evil, columns={"design": "s"})],
            figures=[Picture(name="f", figure=figure, caption=evil)],
            code=evil,
        )
    ]
    page = write_page(tmp_path, evil, evil, [evil], None, sections)
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == 1  # that of the template
    assert "&lt;script&gt;alert(1)" in text


def test_every_curve_can_be_pointed_at(page: Path, run: Run) -> None:
    text = page.read_text(encoding="utf-8")
    for trial in run.trials():
        drawn = f'id="curves-trial-{trial.number}"' in text
        assert drawn == bool(trial.curve)
    assert len(re.findall(r'class="curve"><title>trial \d+', text)) == sum(
        bool(trial.curve) for trial in run.trials()
    )


def test_no_error_is_drawn_though_the_axis_is_logarithmic(run: Run) -> None:
    trials = [trial for trial in run.trials() if trial.curve]
    figure = plot_curves(trials, {}, ACCURACY)
    lines = figure.axes[0].get_lines()
    assert len(lines) == len(trials)
    assert all((line.get_ydata() > 0).all() for line in lines)


@pytest.mark.parametrize(
    ("low", "high"), [(0.62, 0.75), (0.9001, 0.9004), (0.21, 0.49), (0.05, 0.9), (1e-4, 0.3)]
)
def test_a_logarithmic_axis_has_several_labels(low: float, high: float, run: Run) -> None:
    first = next(trial for trial in run.trials() if trial.curve)
    epochs = [
        replace(first.curve[0], epoch=i + 1, validation_score=1 - error)
        for i, error in enumerate((high, low))
    ]
    figure = plot_curves([replace(first, curve=tuple(epochs))], {first.key: "1. first"}, ACCURACY)
    figure.canvas.draw()
    (axes,) = figure.axes
    bottom, top = axes.get_ylim()
    labels = [
        label.get_text()
        for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if bottom <= place <= top
    ]
    assert 3 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)
    # Beside the curves, not upon them.
    (legend,) = figure.legends
    assert axes.get_legend() is None
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())


PLOTS: dict[str, Callable[[Run], Figure]] = {
    "effects": lambda run: run.plot_effects("layout"),
    "interaction": lambda run: run.plot_interaction("layout", "depths"),
    "degradation": lambda run: run.plot_degradation(),
    "front": lambda run: run.plot_front("macs"),
    "curves": lambda run: run.plot_curves(),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_run_draws_what_its_tables_say(name: str, run: Run) -> None:
    figure = PLOTS[name](run)
    assert figure._repr_png_().startswith(b"\x89PNG")
    texts = {text.get_text() for text in figure.findobj(Text)}
    shown = {
        "effects": {
            "layout",
            "difference from the leading level (points of validation accuracy)",
            *run.effects("layout").level,
        },
        "interaction": {
            "layout",
            "depths",
            *run.interactions("layout", "depths").layout,
            *run.interactions("layout", "depths")["mean"].map(ACCURACY.number),
        },
        "degradation": {"layers", "training error (%)", "validation error (%)"},
        "front": {"multiply-adds for one image", "validation accuracy (%)"},
        "curves": {"epoch", f"1. {run.rank().design[1][:6]}"},
    }
    assert shown[name] <= texts


@pytest.mark.parametrize("name", PLOTS)
def test_what_cannot_be_drawn_is_said(name: str, run: Run, tmp_path: Path) -> None:
    shutil.copy(run.path / "run.yaml", tmp_path)
    optuna.storages.get_storage(f"sqlite:///{tmp_path}/study.db")
    there = Run.open(tmp_path)
    refused = pytest.raises(RunError, match=r"nothing (to draw|was trained at two depths)")
    with refused:
        PLOTS[name](there)
    # A training that failed in its first epoch has a rank, and nothing to be drawn.
    shutil.copy(run.path / "study.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        connection.execute("UPDATE trial_user_attributes SET value_json = '[]' WHERE key = 'curve'")
        connection.execute("UPDATE trials SET state = 'FAIL'")
        connection.commit()
    assert len(there.rank()) == len(run.rank())
    with refused:
        PLOTS[name](there)


def test_a_front_of_one_and_none_is_drawn(run: Run) -> None:
    trials = run.trials()
    complete = [trial for trial in trials if trial.state == COMPLETE]
    for some in (complete[:1], [], complete):
        front = pareto(some, ("validation_accuracy", "params"), Scale(ACCURACY, 359))
        (axes,) = plot_front(some, front, ACCURACY).axes
        assert axes.get_xlabel() == "parameters"


def effects_table() -> pd.DataFrame:
    rows = [
        {"axis": axis, "level": f"level {i}", "verdict": verdict, "difference": -i / 10}
        for axis in ("layout", "merge")
        for i, verdict in enumerate(VERDICTS)
    ]
    table = pd.DataFrame(rows)
    return table.assign(d_low=table.difference - 0.05, d_high=table.difference + 0.05)


def test_each_axis_has_a_panel_and_each_level_a_place() -> None:
    figure = plot_effects(effects_table(), ACCURACY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["layout", "merge"]
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            f"level {i}" for i in reversed(range(len(VERDICTS)))
        ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (950, "950"), (12_345, "12.3k"), (1_727_962, "1.73M"), (2e9, "2G")],
)
def test_numbers_of_things_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_a_legend_explains_the_columns_that_are_shown() -> None:
    meanings = {"low, high": "its interval", "chance": "of being the best", "n": "seeds"}
    assert legend(meanings, {"n", "low", "high"}) == "low, high: its interval; n: seeds."
