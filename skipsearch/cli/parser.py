"""Every verb with its options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from skipsearch.cli import designs, runs, sessions, winners
from skipsearch.cli.console import complain
from skipsearch.cli.words import EXIT_BAD_INPUT, positive, seconds
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import shown_value
from skipsearch.ready import ready_names
from skipsearch.searching.options import Limits, Resources


class Parser(argparse.ArgumentParser):
    """The standard parser, with its errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit."""
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(EXIT_BAD_INPUT)


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line; ``verb`` of what is returned is the function to call.

    Raises:
        SystemExit: If it is refused, or asks for help.
    """
    parser = make_parser()
    for word in words:
        flag, _, value = word.partition("=")
        if flag.startswith("--") and value == "--":
            # The standard parser would take it for a flag with an empty list.
            parser.error(f"argument {flag}: expected one argument")
        if "\0" in word:
            parser.error(f"{shown_value(word)} holds a null character")
        if not is_utf8(word):
            parser.error(f"{shown_value(word)} is not UTF-8: rename what it names")
    return parser.parse_args(words)


def is_utf8(word: str) -> bool:
    """Whether a word of the command line was spelt in UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_parser() -> Parser:
    """Return the parser of every verb."""
    parser = Parser(
        prog="skipsearch",
        description="Neural architecture search over skip-connection designs.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"skipsearch {_version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    show = verbs.add_parser("show", help="draw a layout, a design, a space or a classic")
    show.add_argument("what", metavar="LAYOUT|DESIGN.yaml|SPACE|CLASSIC")
    _add_image_options(show)
    show.add_argument("--png", metavar="FILE", help="draw it as a figure too")
    show.add_argument("--svg", metavar="FILE", help="the same, as a vector graphic")
    show.set_defaults(verb=designs.show)

    check = verbs.add_parser("check", help="check that every value of a space parses and builds")
    _add_space(check)
    _add_image_options(check)
    check.set_defaults(verb=designs.check)

    train = verbs.add_parser("train", help="train one design and print each epoch")
    train.add_argument("design", metavar="DESIGN.yaml|LAYOUT|CLASSIC")
    train.add_argument("--epochs", type=int, metavar="E", help="default: the recipe's, 20")
    train.add_argument("--checkpoint", metavar="FILE", help="written each epoch; gone on from")
    train.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="train K networks, with the seeds S, S+1, ...; small ones packed into one",
    )
    train.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if there)")
    _add_training_options(train)
    train.set_defaults(verb=designs.train_design)

    search = verbs.add_parser("search", help="search a space; run it again to go on")
    _add_space(search)
    search.add_argument(
        "--trials", type=int, metavar="N", help="default 60; all of the space with the sampler grid"
    )
    search.add_argument(
        "--epochs", type=int, metavar="E", help="the full budget (default: the recipe's, 20)"
    )
    search.add_argument("--out", metavar="RUN", help="the run folder (default: runs/SPACE)")
    search.add_argument(
        "--ask",
        default="best",
        metavar="A,A",
        help="best (default): look for the best design; or axes, such as layout,merge: train what"
        " tells which of their levels is best, until that is known",
    )
    search.add_argument(
        "--margin",
        type=float,
        metavar="D",
        help="with --ask: a difference in accuracy too small to matter (default 0.005)",
    )
    search.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="trials of one design at most (default 1); small networks get all K, up to 8 at once",
    )
    search.add_argument(
        "--sampler",
        metavar="W",
        help="surrogate (default), tpe, random, grid, gp, nsga2, evolution or local; a search that"
        " goes on keeps its own",
    )
    _add_training_options(search)
    _add_stopping_options(search)
    _add_session_options(search)
    more = search.add_argument_group("objectives, logs and storage")
    more.add_argument(
        "--objectives",
        metavar="W,W",
        help="validation_accuracy (default), before any of params, macs, activation_bytes, latency",
    )
    more.add_argument(
        "--latency-batch", type=int, default=1, metavar="N", help="images (default 1)"
    )
    more.add_argument(
        "--log", action="append", default=[], metavar="W", help="tensorboard or mlflow"
    )
    more.add_argument(
        "--storage", metavar="URL", help="of a database, for several searches on one study"
    )
    search.set_defaults(verb=sessions.search_space)

    rank = verbs.add_parser("rank", help="rank the designs of a run, and write them as CSV")
    rank.add_argument("run", metavar="RUN")
    rank.add_argument(
        "--top", type=positive, default=10, metavar="N", help="rows shown (default 10)"
    )
    rank.add_argument("--csv", metavar="FILE", help="default: RUN/report/ranking.csv")
    rank.set_defaults(verb=runs.rank)

    pareto = verbs.add_parser(
        "pareto", help="show the designs that no other beats in all of several objectives"
    )
    pareto.add_argument("run", metavar="RUN")
    pareto.add_argument(
        "--objectives",
        metavar="W,W",
        help="validation_accuracy, params, macs, activation_bytes, latency (default: the search's)",
    )
    pareto.add_argument("--csv", metavar="FILE", help="default: RUN/report/pareto.csv")
    pareto.set_defaults(verb=runs.pareto)

    export = verbs.add_parser("export", help="train a design in full, test it once, write it out")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--design", default="best", metavar="best|ID")
    export.add_argument("--out", metavar="DIR", help="default: RUN/export/DESIGN")
    export.add_argument(
        "--train-on", default="train", metavar="W", help="train or train+validation"
    )
    export.add_argument("--seed", type=int, metavar="S", help="default: the search's")
    export.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if there)")
    _add_moved_data(export)
    export.add_argument("--formats", default="source,program,onnx", metavar="W,W")
    export.add_argument(
        "--precision",
        default="fp32",
        metavar="W",
        help="fp32 (default), fp16, or bf16 without onnx",
    )
    export.set_defaults(verb=winners.export_design)

    predict = verbs.add_parser("predict", help="say what an exported network sees in pictures")
    predict.add_argument("export", metavar="EXPORT", help="the folder that export wrote")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, ... of any size")
    predict.add_argument(
        "--top", type=positive, default=3, metavar="N", help="classes of each (default 3)"
    )
    predict.set_defaults(verb=winners.predict_images)

    explain = verbs.add_parser("explain", help="train a design anew and look inside it")
    explain.add_argument("run", metavar="RUN")
    explain.add_argument("design", metavar="best|ID")
    explain.add_argument("--epochs", type=positive, metavar="E", help="default: the recipe's")
    explain.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if there)")
    _add_moved_data(explain)
    explain.add_argument("--csv", metavar="FILE", help="default: RUN/report/explain-ID.csv")
    explain.set_defaults(verb=winners.explain_design)

    degradation = verbs.add_parser(
        "degradation", help="tell whether deeper is worse: of a run, or of a space trained for it"
    )
    degradation.add_argument("what", metavar="RUN|SPACE.yaml")
    degradation.add_argument(
        "--epochs",
        type=positive,
        metavar="E",
        help="after which trainings are compared (default: the full budget, which a space needs)",
    )
    degradation.add_argument(
        "--loss", type=float, metavar="L", help="count epochs to this training loss"
    )
    degradation.add_argument("--csv", metavar="FILE", help="default: RUN/report/degradation.csv")
    degradation.add_argument("--out", metavar="RUN", help="of a space: the run folder")
    degradation.add_argument(
        "--seeds", type=positive, metavar="K", help="of a space: trainings of each design (3)"
    )
    _add_session_options(degradation)
    _add_training_options(degradation)
    degradation.set_defaults(verb=sessions.degradation)

    effects = verbs.add_parser("effects", help="tell what each axis of a run does, and how sure")
    effects.add_argument("run", metavar="RUN")
    effects.add_argument("--axis", metavar="A", help="such as layout (default: all axes)")
    effects.add_argument("--with", dest="second", metavar="B", help="does A depend on this axis?")
    effects.add_argument(
        "--epochs", type=positive, metavar="E", help="a rung (default: the last that all reached)"
    )
    effects.add_argument(
        "--controlled", metavar="W", help="at equal params, macs, activation_bytes or latency"
    )
    effects.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="a difference in accuracy too small to matter (default: that of the search's --ask,"
        " else 0.5)",
    )
    effects.add_argument("--csv", metavar="FILE", help="default: RUN/report/effects.csv")
    effects.set_defaults(verb=runs.effects)

    confirm = verbs.add_parser(
        "confirm", help="train the leaders of a run again with new seeds; run it again to go on"
    )
    confirm.add_argument("run", metavar="RUN")
    confirm.add_argument("--top", type=positive, default=5, metavar="K", help="leaders (default 5)")
    confirm.add_argument(
        "--seeds",
        type=positive,
        default=5,
        metavar="S",
        help="new seeds at most; it ends before where a leader is separated (default 5)",
    )
    _add_moved_data(confirm)
    _add_session_options(confirm)
    _add_deterministic(confirm)
    confirm.add_argument("--csv", metavar="FILE", help="default: RUN/report/confirmation.csv")
    confirm.set_defaults(verb=sessions.confirm)

    report = verbs.add_parser("report", help="write a run as one page, with figures and tables")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--out", metavar="DIR", help="default: RUN/report")
    report.set_defaults(verb=runs.report)

    compare = verbs.add_parser("compare", help="tell whether runs agree on what is best")
    compare.add_argument("runs", metavar="RUN", nargs="+", help="two or more")
    compare.add_argument("--csv", metavar="FILE", help="of the table")
    compare.set_defaults(verb=runs.compare_runs)
    return parser


def _version() -> str:
    try:
        return version("skipsearch")
    except PackageNotFoundError:
        return "(not installed)"


def _add_space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "space", metavar="SPACE", help=f"a .yaml file, or one of {', '.join(ready_names())}"
    )


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--in-channels", type=int, metavar="C", help="default 3")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default 32")
    parser.add_argument("--classes", type=int, metavar="N", help="default 10")


def _add_stopping_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("early stopping")
    group.add_argument(
        "--scheduler",
        metavar="W",
        help="none (default): every trial is trained to its end, which the surrogate learns most"
        " from; asha: stops all but the best at each rung, for random or grid searches of long"
        " trainings; median: stops what is below the median, the most careful",
    )
    group.add_argument(
        "--grace",
        type=int,
        default=EarlyStopping.grace,
        metavar="E",
        help="epochs that every trial gets",
    )
    group.add_argument(
        "--reduction-factor",
        type=int,
        default=EarlyStopping.reduction_factor,
        metavar="N",
        help=f"of asha (default {EarlyStopping.reduction_factor})",
    )
    group.add_argument(
        "--brackets",
        type=int,
        default=EarlyStopping.brackets,
        metavar="N",
        help=f"of asha (default {EarlyStopping.brackets})",
    )
    group.add_argument(
        "--audit",
        type=float,
        default=EarlyStopping.audit,
        metavar="SHARE",
        help="of the trials to be stopped, trained on to tell how often that is wrong"
        f" (default {EarlyStopping.audit})",
    )


def _add_session_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("resources")
    group.add_argument("--concurrency", type=int, metavar="K", help="trials at once at most")
    cores = Resources.cpus_per_trial
    group.add_argument(
        "--cpus-per-trial",
        type=float,
        default=cores,
        metavar="C",
        help=f"cores (default {cores:g})",
    )
    group.add_argument("--gpus-per-trial", type=float, metavar="G", help="or a share, as 0.25")
    group.add_argument("--address", metavar="A", help="of a Ray cluster to join: host:port or auto")
    group.add_argument(
        "--insecure", action="store_true", help="join a cluster without token authentication"
    )
    group.add_argument(
        "--dashboard", action="store_true", help="of Ray, for this machine alone (ray[default])"
    )
    group.add_argument("--verbose", action="store_true", help="show what Ray prints")
    group = parser.add_argument_group("limits")
    group.add_argument("--time-budget", type=seconds, metavar="T", help="as 90s, 20m or 2h")
    group.add_argument("--trial-timeout", type=seconds, metavar="T", help="of one trial")
    group.add_argument(
        "--max-failures",
        type=int,
        default=Limits.max_failures,
        metavar="N",
        help="trials in a row that may fail before the search stops"
        f" (default {Limits.max_failures}); a pack is one",
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and training")
    group.add_argument(
        "--data",
        default="digits",
        metavar="NAME",
        help="digits (default), cifar10, cifar100, fashion-mnist, mnist, svhn, a folder, an .npz",
    )
    group.add_argument("--data-root", metavar="DIR", help="folder of the data set's files")
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="resize images to this")
    group.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of all random choices (default 0)"
    )
    group.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the recipe, such as peak_lr=0.4; may be repeated",
    )
    _add_deterministic(group)


def _add_moved_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="NAME", help="where the data are now (default: as in the search)"
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="folder of the data set's files (default: likewise)"
    )


def _add_deterministic(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits again on a GPU too, for less speed",
    )
