"""The command line: what a user sees; bad input is one line, exit code 2, nothing touched."""

from __future__ import annotations

import inspect
import random
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from traces import NAMESERVER, Traces, watched

import skipsearch as ss
from skipsearch.artefacts.checking import TOLERANCES
from skipsearch.cli import main
from skipsearch.cli.parser import make_parser
from skipsearch.config import SAMPLERS
from skipsearch.data.known import DATASETS
from skipsearch.early_stopping import RULES
from skipsearch.errors import RunError
from skipsearch.run.exporting import TRAIN_ON
from skipsearch.searching.logs import PACKAGES
from skipsearch.text import dump_yaml, parse_yaml

SPACES = Path(__file__).parents[1] / "search_spaces"
SPACE = """
name: two
base: {widths: [8], depths: [1]}
recipe: {batch_size: 64}
axes:
  layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
"""


# A search and what follows it, in one process: another would import everything again.
SESSION = """
import sys
from skipsearch.cli import main
for words in (
    "search two.yaml --trials 2 --epochs 3 --out run --log tensorboard",
    "report run",
    "export run --out winner --device cpu --formats source,program,onnx",
):
    if code := main(words.split()):
        sys.exit(code)
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Traces]:
    """A folder in which a user has worked, and what that left and sent elsewhere."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "two.yaml").write_text(SPACE)
    traces = watched([sys.executable, "-c", SESSION], folder / "home", cwd=folder)
    assert traces.done.returncode == 0, traces.done.stderr
    return folder, traces


@pytest.fixture(scope="module")
def run(session: tuple[Path, Traces]) -> ss.Run:
    return ss.Run.open(session[0] / "run")


def test_a_home_gets_matplotlibs_cache_alone(session: tuple[Path, Traces]) -> None:
    left = {name for name in session[1].left if "matplotlib" not in name}
    assert left <= {".cache", ".config"}


def test_nothing_is_sent_beyond_this_machine(session: tuple[Path, Traces]) -> None:
    if session[1].sent is None:
        pytest.skip("needs the right to make network namespaces")
    assert session[1].sent == set()


def test_the_cards_onnx_snippet_leaves_and_sends_nothing(
    session: tuple[Path, Traces], tmp_path: Path
) -> None:
    winner = session[0] / "winner"
    snippets = re.findall(r"```python\n(.*?)```", (winner / "card.md").read_text(), re.DOTALL)
    (snippet,) = [code for code in snippets if "onnxruntime" in code]
    pixels = "import numpy\npixels = numpy.zeros((2, 1, 8, 8), numpy.uint8)\n"
    program = f"{pixels}{snippet}\nprint(logits.shape)"
    traces = watched([sys.executable, "-c", program], tmp_path / "home", cwd=winner)
    assert traces.done.stdout == "(2, 10)\n", traces.done.stderr
    assert traces.left == set()
    assert traces.sent in (None, set())


def test_what_would_be_left_and_sent_is_seen(tmp_path: Path) -> None:
    program = """
import pathlib, socket
pathlib.Path("~/.cache/id").expanduser().parent.mkdir()
pathlib.Path("~/.cache/id").expanduser().touch()
with socket.socket() as tcp:
    tcp.setblocking(False)
    tcp.connect_ex(("192.0.2.7", 443))
try:
    socket.getaddrinfo("example.org", 443)
except OSError:
    pass
"""
    traces = watched([sys.executable, "-c", program], tmp_path / "home")
    assert traces.done.returncode == 0, traces.done.stderr
    assert traces.left == {".cache", ".cache/id"}
    assert traces.sent in (None, {"tcp 192.0.2.7:443", f"udp {NAMESERVER}:53"})


def test_show_a_classic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "ResNet-110"]) == 0
    out = capsys.readouterr().out
    assert "arXiv:1512.03385, published error 6.43 % (Table 6)" in out
    assert "1,727,962 parameters" in out


def test_show_a_layout_a_design_and_a_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "bn-relu-conv3 +", "--in-channels", "1"]) == 0
    assert "bn-relu-conv3 +" in capsys.readouterr().out
    (tmp_path / "d.yaml").write_text("layout: conv3-bn + relu\nwidths: [8]\ndepths: [1]\n")
    assert main(["show", str(tmp_path / "d.yaml")]) == 0
    assert "(+)" in capsys.readouterr().out
    assert main(["show", str(SPACES / "orders.yaml")]) == 0
    assert "90 points: 30 distinct networks" in capsys.readouterr().out


def test_the_run_yaml_of_a_search_stands_for_its_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    space = ss.Space.load("skips").to_dict()
    for name, values in {"space": space, "run": {"format": 1, "space": space}}.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(dump_yaml(values))
        for verb in ("show", "check"):
            assert main([verb, str(file)]) == 0
            said.append(capsys.readouterr().out.replace(str(file), ""))
    assert said[:2] == said[2:]
    assert "axis   layout:" in said[0]


@pytest.mark.parametrize("name", sorted(path.stem for path in SPACES.glob("*.yaml")))
def test_check_accepts_every_space_that_is_shipped(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(SPACES / f"{name}.yaml")]) == 0
    assert "every value parses" in capsys.readouterr().out


def test_check_and_show_know_slots_and_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = "axes:\n  layout: {convs: [conv3], free: [bn]}\n  groups[0]: [1, 3, 8]\n"
    (tmp_path / "s.yaml").write_text(SPACE.partition("axes:")[0] + free)
    assert main(["check", str(tmp_path / "s.yaml")]) == 0
    out = capsys.readouterr().out
    assert "24 points: 16 distinct networks" in out
    assert "axes.groups[0][1]: 3: no design with it can be built" in out
    assert main(["show", str(tmp_path / "s.yaml")]) == 0
    out = capsys.readouterr().out
    assert "[before]-conv3-[before_join] + [after_join]\n" in out
    assert "axis   groups[0]:\n" in out


def test_check_names_the_values_that_never_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(SPACE + "  groups: [1, 3, 8]\n")
    assert main(["check", str(tmp_path / "s.yaml")]) == 0
    out = capsys.readouterr().out
    assert "axes.groups[1]: 3: no design with it can be built within the constraints" in out
    assert "axes.groups[2]" not in out


def test_train_tells_what_seeds_have_in_common(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.yaml").write_text("{layout: conv3-bn-relu +, depths: [1], widths: [4]}\n")
    recipe = ["--epochs", "2", "--recipe", "batch_size=256", "--recipe", "precision=float32"]
    assert main(["train", str(tmp_path / "d.yaml"), "--seeds", "3", "--seed", "4", *recipe]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ss.load_data("digits").summary().splitlines()
    assert lines[4].startswith("To beat: the most frequent class for every image, with validation")
    lines = lines[4:]
    assert re.findall(r"\S+(?: \S+)*", lines[1]) == [
        *("epoch", "train loss", "val. loss", "val. acc.", "s.d.", "seeds", "seconds")
    ]
    mean, deviation = (float(lines[3].split()[column].rstrip("%")) for column in (3, 4))
    accuracies = [float(line.split()[2].rstrip("%")) for line in lines[4:]]
    assert [line.split(":")[0] for line in lines[4:]] == ["seed 4", "seed 5", "seed 6"]
    assert mean == pytest.approx(fmean(accuracies), abs=0.01)
    assert deviation == pytest.approx(stdev(accuracies), abs=0.01)
    # One of them by itself is what it is among the others.
    assert main(["train", str(tmp_path / "d.yaml"), "--seed", "5", *recipe]) == 0
    alone = float(capsys.readouterr().out.splitlines()[-1].split()[4].rstrip("%"))
    assert alone == pytest.approx(accuracies[1], abs=1)


def test_train_says_when_every_seed_diverges(capsys: pytest.CaptureFixture[str]) -> None:
    rate = ["--recipe", "peak_lr=1e6", "--recipe", "warmup_epochs=0", "--epochs", "1"]
    assert main(["train", "conv3-relu-conv3 +", "--seeds", "2", *rate]) == 2
    assert "all 2 trainings diverged in epoch 1" in capsys.readouterr().err


def test_train_prints_each_epoch_and_goes_on_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.yaml").write_text("layout: conv3-bn + relu\nwidths: [8]\ndepths: [1]\n")
    command = ["train", str(tmp_path / "d.yaml"), "--epochs", "2", "--recipe", "batch_size=64"]
    command += ["--checkpoint", str(tmp_path / "c.pt"), "--device", "cpu"]
    assert main(command) == 0
    assert len(re.findall(r"^ +[12]  ", capsys.readouterr().out, re.MULTILINE)) == 2
    assert main(command) == 0  # Done already: nothing is left to train.
    assert "train loss" not in capsys.readouterr().out


def test_rank_prints_a_table_and_writes_it_whole(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(run.path), "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert (
        "2 trainings of 2 designs, in 2 rows; 2 tied with the first.\nRanked by epochs reached"
        in out
    )
    written = pd.read_csv(run.path / "report" / "ranking.csv", index_col="place")
    assert list(written.design) == list(run.rank().design)
    assert len(written) == 2


def test_rank_says_once_what_is_equal_in_all_rows(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(run.path)]) == 0
    heads, *_, alike, _ = capsys.readouterr().out.partition(" trainings of")[0].splitlines()
    assert alike.startswith("In all 2 rows: state COMPLETE, epochs ")
    assert not {"state", "epochs"} & set(heads.split())
    assert main(["rank", str(run.path), "--top", "1"]) == 0  # nothing to be equal to
    heads, *_ = capsys.readouterr().out.splitlines()
    assert {"state", "epochs"} < set(heads.split())


def test_effects_prints_the_answer_first_and_writes_the_table(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["effects", str(run.path)]) == 0
    out = capsys.readouterr().out
    axes = list(run.space.parameters)
    assert [line.split(":")[0] for line in out.splitlines()[: len(axes)]] == axes
    assert "Not enough data" in out.splitlines()[0]
    written = pd.read_csv(run.path / "report" / "effects.csv")
    assert written.columns.tolist() == run.effects().columns.tolist()
    assert written.axis.unique().tolist() == axes
    assert "(Sobol indices)" in out


def test_effects_of_two_axes_are_shown_together(
    run: ss.Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"  # as if depth had been searched too
    shutil.copytree(run.path, copy)
    asked = parse_yaml((copy / "run.yaml").read_text(), "run.yaml", RunError)
    asked["space"]["axes"] |= {"depths": [[1], [2]], "drop_path": [0.0, 0.25]}
    (copy / "run.yaml").write_text(dump_yaml(asked))
    with closing(sqlite3.connect(copy / "study.db")) as database:
        database.execute("DELETE FROM study_user_attributes")  # it does not say what it is of
        database.commit()
    command = ["effects", str(copy), "--csv", str(tmp_path / "effects.csv"), "--controlled", "macs"]
    assert main([*command, "--axis", "layout", "--with", "depths"]) == 0
    out = capsys.readouterr().out
    assert "layout and depths: not enough data. The pair explains" in out
    assert "in accuracy; differences below 0.50 points are negligible." in out
    assert "additive" in out
    assert "(Sobol indices)" not in out
    assert (tmp_path / "effects.csv").is_file()
    assert main([*command, "--axis", "drop_path", "--with", "layout"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ +0\.25 bn-relu-conv3", out, re.MULTILINE)  # a level, not a score


def test_rank_warns_where_numerics_are_mixed(
    run: ss.Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["rank", str(run.path)]) == 0
    assert "different numerical settings" not in capsys.readouterr().out
    keys = set(run.rank().numerics)
    assert len(keys) == 1
    (key,) = keys
    assert re.fullmatch(r"cpu \(1 thread\), (float32|bfloat16), channels_last, torch .+", key)
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)

    def replace(old: str, new: str) -> None:
        with sqlite3.connect(copy / "study.db") as database:
            database.execute(
                "UPDATE trial_user_attributes SET value_json = REPLACE(value_json, ?, ?)"
                " WHERE key = 'environment' AND trial_id = (SELECT MIN(trial_id) FROM trials)",
                (old, new),
            )
        database.close()

    # The size of a pack is a matter of the design and its seeds, and not of the machine.
    replace(key, f"{key}, pack of 3")
    assert ss.Run.open(copy).trials()[0].numerics == f"{key}, pack of 3"
    assert main(["rank", str(copy)]) == 0
    assert "different numerical settings" not in capsys.readouterr().out
    replace(f"{key}, pack of 3", key.replace("1 thread", "2 threads"))
    assert main(["rank", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "warning: these trainings ran with different numerical settings" in out
    assert key in out
    assert key.replace("1 thread", "2 threads") in out


def test_export_writes_a_folder_and_prints_the_differences(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(run.path), "--formats", "source", "--train-on", "train+validation"]
    assert main([*command, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(run.load_data().summary() + "\n")
    assert re.search(r"test accuracy \d+\.\d\d % \(n = 1 seed, 359 images, 95 % interval", out)
    assert re.search(r"model\.py +\d\.\d\de[-+]\d\d", out)
    folder = run.path / "export" / run.trial("best").design.id
    names = {path.name for path in folder.iterdir()}
    assert names == {"card.json", "card.md", "design.yaml", "model.py", "model.safetensors"}
    assert ss.Design.load(folder / "design.yaml") == run.trial("best").design
    assert "(0.0001 of the largest output is allowed)" in out
    # The folder says by itself what a picture shows.
    picture = folder.parent / "digit.png"
    data = run.load_data()
    assert data.test is not None
    Image.fromarray(data.test.images[0, 0].numpy()).save(picture)
    assert main(["predict", str(folder), str(picture), "--top", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert {line.split()[2] for line in lines} == set(data.class_names)


def corrupt_npz(folder: Path) -> str:
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 this is not a zip file")
    return str(folder / "broken.npz")


def partial_npz(folder: Path) -> str:
    np.savez(folder / "partial.npz", train_images=np.zeros((4, 8, 8), np.uint8))
    return str(folder / "partial.npz")


SEARCH = ["search", "{space}", "--trials", "2", "--epochs", "3", "--out", "{out}"]
BAD = [
    (["show", "conv3-bnn-relu +"], "unknown operation 'bnn' in 'conv3-bnn-relu +'", "'bn'?"),
    (["show", "resnt-20"], "'resnt-20' is neither", "did you mean 'resnet-20'?"),
    (["show", "{tmp}/nothing.yaml"], "nothing.yaml", "No such file"),
    (["check", "{tmp}/nothing.yaml"], "nothing.yaml", "No such file"),
    (["train", "resnet-20", "--recipe", "peak_rl=1"], "'peak_rl' is not one of", "'peak_lr'?"),
    (["train", "resnet-20", "--recipe", "peak_lr"], "write NAME=VALUE", ""),
    (["train", "resnet-20", "--recipe", "peak_lr=fast"], "peak_lr: 'fast' is not a number", ""),
    (["train", "resnet-20", "--epochs", "0"], "epochs: 0 is not a whole number from 1", ""),
    (["train", "resnet-20", "--seeds", "0"], "seeds: 0 is not a positive whole number", ""),
    (["train", "resnet-20", "--seeds", "2", "--checkpoint", "c.pt"], "of one training", ""),
    (["train", "resnet-20", "--data", "cifar11"], "'cifar11' is not one of", "'cifar10'?"),
    (["train", "resnet-20", "--data", "{broken}"], "broken.npz", ""),
    (["train", "resnet-20", "--data", "{partial}"], "partial.npz", "train_labels"),
    (["train", "resnet-20", "--data", "{tmp}/no/folder"], "no/folder", ""),
    (["rank", "{tmp}/nothing"], "not a run folder", "run.yaml"),
    (["export", "{tmp}/nothing"], "not a run folder", "run.yaml"),
    (["explain", "{tmp}/nothing", "best"], "not a run folder", "run.yaml"),
    (["degradation", "{tmp}/nothing"], "not a run folder", "run.yaml"),
    (["degradation", "{tmp}/nothing", "--seeds", "2"], "seeds: is for a space", ""),
    (["degradation", "space.yaml", "--out", "{tmp}/run"], "epochs: a space is trained first", ""),
    (["degradation", "space.yaml", "--epochs", "2"], "out: a space is trained first", ""),
    (["effects", "{tmp}/nothing"], "not a run folder", "run.yaml"),
    (["report", "{tmp}/nothing"], "not a run folder", "run.yaml"),
    (["compare", "{tmp}/nothing", "{tmp}/other"], "not a run folder", "run.yaml"),
    (["effects", "{tmp}/nothing", "--with", "depths"], "--with: name the other axis", ""),
    ([*SEARCH, "--sampler", "tpee"], "sampler 'tpee' is not one of surrogate, tpe", "'tpe'?"),
    (
        [*SEARCH, "--scheduler", "hyperband"],
        "scheduler 'hyperband' is not one of asha, median, none",
        "",
    ),
    ([*SEARCH, "--gpus-per-trial", "1.5"], "gpus-per-trial: 1.5", ""),
    ([*SEARCH, "--cpus-per-trial", "0"], "cpus-per-trial: 0.0", ""),
    ([*SEARCH, "--cpus-per-trial", "nan"], "cpus-per-trial: nan", ""),
    ([*SEARCH, "--gpus-per-trial", "inf"], "gpus-per-trial: inf", ""),
    ([*SEARCH, "--concurrency", "0"], "concurrency: 0", ""),
    ([*SEARCH, "--seed", "-1"], "seed: -1 is not a whole number from 0 to 2**32 - 1", ""),
    ([*SEARCH, "--recipe", "batch_size=32"], "recipe.batch_size is 64 in the space two", ""),
    ([*SEARCH[:-1], "{space}"], "space.yaml: not a folder", ""),
    ([*SEARCH[:-1], "{space}/run"], "space.yaml", "Not a directory"),
    ([*SEARCH[:3], "0", *SEARCH[4:]], "trials: 0 is not a positive whole number", ""),
    (["search", "{empty}", *SEARCH[2:]], "no design of 2000 drawn is allowed", "params <= 10"),
    (["search", "{misspelt}", *SEARCH[2:]], "axes.shortcut[0]: 'padd' is not one of", "'pad'?"),
    (["search", "{unknown}", *SEARCH[2:]], "unknown key: 'axis' is not one of", "'axes'?"),
]


@pytest.mark.parametrize(("words", "what", "mend"), BAD, ids=[" ".join(row[0]) for row in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    what: str,
    mend: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"tmp": str(tmp_path), "out": str(tmp_path / "run")}
    for name, text in {
        "space": SPACE,
        "empty": SPACE + "constraints: [params <= 10]\n",
        "misspelt": SPACE + "  shortcut: [padd]\n",
        "unknown": SPACE + "axis: {}\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
        names[name] = str(tmp_path / f"{name}.yaml")
    names |= {"broken": corrupt_npz(tmp_path), "partial": partial_npz(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    assert main([word.format(**names) if "{" in word else word for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("skipsearch: error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert what in captured.err
    assert mend in captured.err
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_something_else_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    words = ["search", str(tmp_path / "space.yaml"), "--trials", "2", "--epochs", "3"]
    assert main([*words, "--out", str(tmp_path / "mine")]) == 2
    assert "holds files but no run.yaml" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_search_prints_what_it_read_and_never_takes_a_word_for_a_folder(
    run: ss.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["search", str(run.path.parent / "two.yaml"), "--trials", "2", "--epochs", "3"]
    assert main([*words, "--data", "digits", "--out", str(run.path)]) == 0
    assert capsys.readouterr().out.startswith(ss.load_data("digits").summary() + "\n")


def test_a_run_of_another_space_is_not_touched(
    run: ss.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.yaml").write_text(SPACE.replace("widths: [8]", "widths: [16]"))
    before = (run.path / "run.yaml").read_bytes(), (run.path / "study.db").read_bytes()
    words = ["search", str(tmp_path / "other.yaml"), "--trials", "2", "--epochs", "3"]
    assert main([*words, "--out", str(run.path)]) == 2
    err = capsys.readouterr().err
    assert "space.base.widths is [8] there, [16] was asked for" in err
    assert ((run.path / "run.yaml").read_bytes(), (run.path / "study.db").read_bytes()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--design", "zzz"], "no design 'zzz'"),
        (["--formats", "onix"], "format 'onix' is not one of source, program, onnx"),
        (["--train-on", "all"], "train-on 'all' is not one of train, train+validation"),
        (["--out", "{taken}"], "is no earlier export"),
    ],
)
def test_export_refuses_before_it_trains(
    words: list[str],
    message: str,
    run: ss.Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    words = [word.format(taken=tmp_path) for word in words]
    assert main(["export", str(run.path), *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "epoch" not in captured.out
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_that_cannot_be_written_is_one_line(
    run: ss.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(run.path), "--csv", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err == f"skipsearch: error: {tmp_path}: Is a directory\n"
    assert main(["explain", str(run.path), "best", "--csv", "/"]) == 2
    assert capsys.readouterr().err == "skipsearch: error: /: Is a directory\n"


def test_degradation_prints_the_answer_and_writes_the_table(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["degradation", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Not enough data.")
    table = pd.read_csv(run.path / "report" / "degradation.csv")
    assert table.layers.tolist() == [4, 4]
    assert table.epochs.tolist() == [3, 3]
    assert table.verdict.tolist() == ["not enough data"] * 2
    assert main(["degradation", str(run.path), "--epochs", "4"]) == 2
    assert "epochs: 4 is not from 1 to the full budget of 3" in capsys.readouterr().err


def test_explain_prints_the_answer_and_writes_the_table(
    run: ss.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    design = run.rank().design.iloc[0]
    assert main(["explain", str(run.path), design, "--epochs", "1", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "Trained with seed 0, epochs 1: validation accuracy " in out
    assert "Removing one block costs " in out
    table = pd.read_csv(run.path / "report" / f"explain-{design}.csv")
    assert f" {100 * table.lesion_drop[1]:+.2f}" in out
    assert table.moment.tolist() == ["init", "trained"]
    assert table.block.tolist() == ["stage1.block1"] * 2


def test_bad_values_of_every_flag_are_refused_in_one_line(
    run: ss.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A short run of the fuzzer; `python scripts/fuzz_flags.py` is the long one.
    monkeypatch.syspath_prepend(str(SPACES.parent / "scripts"))
    from fuzz_flags import command_lines, fault

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    lines = list(command_lines(random.Random(0), tmp_path, run.path))
    assert {"search", "train", "export"} <= {words[0] for words in lines}
    faults = {repr(words): wrong for words in lines if (wrong := fault(words, tmp_path))}
    assert not faults


def test_hints_can_be_pasted_into_a_shell(
    run: ss.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "a b")
    assert main(["explain", str(copy), "nope"]) == 2
    assert f"skipsearch rank '{copy}'" in capsys.readouterr().err
    words = ["search", str(run.path.parent / "two.yaml"), "--trials", "2", "--epochs", "3"]
    assert main([*words, "--out", str(copy)]) == 0  # it is done already
    assert f"see: skipsearch rank '{copy}'" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["http:/host/a.csv", "s3:/host/a.csv", "a.csv.zip"])
def test_a_path_of_a_table_is_a_path_and_nothing_else(
    name: str, run: ss.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rank", str(run.path), "--csv", name]) == 0
    assert (tmp_path / name).read_text().startswith("place,design,")


def test_a_password_in_the_name_of_a_table_is_not_shown(
    run: ss.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rank", str(run.path), "--csv", "ray://user:s3cret@127.0.0.1"]) == 0
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert "The whole table: ray:/user:***@127.0.0.1" in out


@pytest.mark.parametrize("words", ["rank --csv", "report --out"])
def test_a_path_that_cannot_be_written_leaves_no_folder(
    words: str, run: ss.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, option = words.split()
    assert main([verb, str(run.path), option, f"a/b/{'x' * 300}"]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["show --svg", "report --out"])
def test_a_password_in_the_name_of_a_file_that_was_written_is_not_shown(
    flag: str,
    run: ss.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ray://user:s3cret@127.0.0.1").mkdir(parents=True)
    verb, option = flag.split()
    what = {"show": "conv3 +", "report": str(run.path)}[verb]
    assert main([verb, what, option, "ray://user:s3cret@127.0.0.1/x"]) == 0
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert "/user:***@127.0.0.1/x" in out


def test_an_empty_table_is_a_sentence(
    run: ss.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "copy")
    with sqlite3.connect(copy / "study.db") as database:
        database.execute("UPDATE trials SET state = 'FAIL' WHERE number = 1")
    database.close()
    assert main(["effects", str(copy)]) == 0
    out = capsys.readouterr().out
    assert "Empty DataFrame" not in out


def test_usage_errors_have_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serch"])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main([*SEARCH, "--time-budget", "soon"])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "'soon' is not a time such as 90s, 20m or 2h" in err
    assert [line.startswith("skipsearch: error: ") for line in err.splitlines()] == [True, True]


ALIKE = {
    "search": (ss.search, ["orders"]),
    "confirm": (ss.confirm, ["run"]),
    "export": (ss.export, ["run"]),
    "predict": (ss.predict, ["winner", "a.png"]),
}


@pytest.mark.parametrize("verb", ALIKE)
def test_a_verb_has_the_defaults_of_its_function(verb: str) -> None:
    function, words = ALIKE[verb]
    options = vars(make_parser().parse_args([verb, *words]))
    same = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name in options and parameter.default is not parameter.empty
    }
    assert same
    for name, default in same.items():
        text = ",".join(default) if isinstance(default, tuple) else default
        assert (options[name] or None) == (text or None), name


WORDS = {
    ("search", "--sampler"): SAMPLERS,
    ("search", "--scheduler"): RULES,
    ("search", "--log"): tuple(PACKAGES),
    ("search", "--data"): tuple(DATASETS),
    ("export", "--train-on"): TRAIN_ON,
    ("export", "--precision"): tuple(TOLERANCES),
}


@pytest.mark.parametrize(("verb", "flag"), WORDS)
def test_the_help_of_a_flag_names_every_word_that_it_takes(verb: str, flag: str) -> None:
    verbs = next(a for a in make_parser()._actions if isinstance(a.choices, dict)).choices
    assert isinstance(verbs, dict)
    (action,) = [a for a in verbs[verb]._actions if flag in a.option_strings]
    said = (action.help or "") % {"default": action.default}
    assert set(WORDS[verb, flag]) <= set(re.findall(r"[\w+-]+", said))
