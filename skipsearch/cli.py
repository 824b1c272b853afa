"""The command line: each verb is one call of the public API."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NoReturn

from skipsearch.anatomy import draw_design, draw_space, space_size
from skipsearch.classics import CLASSICS
from skipsearch.design import Design
from skipsearch.errors import (
    DesignError,
    DivergedError,
    LayoutError,
    RecipeError,
    RunError,
    SkipSearchError,
    SpaceError,
    TrainingError,
    not_one_of,
)
from skipsearch.layout import Layout
from skipsearch.recipe import Recipe
from skipsearch.record import COSTS, VALIDATION_ACCURACY, Epoch
from skipsearch.space import ENUMERABLE, Space
from skipsearch.text import parse_yaml, read_text

if TYPE_CHECKING:
    from skipsearch.run import Run

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
SESSION = (
    *("concurrency", "cpus_per_trial", "gpus_per_trial", "time_budget", "trial_timeout"),
    *("max_failures", "address", "insecure", "dashboard", "deterministic", "verbose"),
)
LAYOUT_LIKE = re.compile(r".*\+|(conv|dw|bn|gn|ln|relu|gelu|silu|se|scale|dropout)\d*(-|$)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: The command line without the program's name; that of the process if None.

    Returns:
        The exit code: 0; 2 for bad input, told in one line on standard error; 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    options.own_process = arguments is None  # may be set up as training wants it
    try:
        return int(options.verb(options) or 0)
    except SkipSearchError as error:
        print(f"skipsearch: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does; nothing is left to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"skipsearch: error: {where}{error.strerror}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("skipsearch: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """The standard parser, with its errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit."""
        self.exit(EXIT_BAD_INPUT, f"skipsearch: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="skipsearch",
        description="Neural architecture search over skip-connection designs.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"skipsearch {_version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    show = verbs.add_parser("show", help="draw a layout, a design, a space or a classic")
    show.add_argument("what", metavar="LAYOUT|DESIGN.yaml|SPACE.yaml|CLASSIC")
    _add_image_options(show)
    show.add_argument("--png", metavar="FILE", help="draw it as a figure too")
    show.add_argument("--svg", metavar="FILE", help="the same, as a vector graphic")
    show.set_defaults(verb=_show)

    check = verbs.add_parser("check", help="check that every value of a space parses and builds")
    check.add_argument("space", metavar="SPACE.yaml")
    _add_image_options(check)
    check.set_defaults(verb=_check)

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
    train.set_defaults(verb=_train)

    search = verbs.add_parser("search", help="search a space; run it again to go on")
    search.add_argument("space", metavar="SPACE.yaml")
    search.add_argument("--trials", type=int, required=True, metavar="N")
    search.add_argument("--epochs", type=int, required=True, metavar="E", help="the full budget")
    search.add_argument("--out", required=True, metavar="RUN", help="the run folder")
    search.add_argument(
        "--sampler",
        default="tpe",
        metavar="W",
        help="tpe (default), random, grid, gp, nsga2, evolution or local",
    )
    search.add_argument(
        "--scheduler", default="asha", metavar="W", help="asha (default), median or none"
    )
    search.add_argument("--grace", type=int, metavar="E", help="epochs that every trial gets")
    search.add_argument(
        "--reduction-factor", type=int, default=3, metavar="N", help="of asha (default 3)"
    )
    search.add_argument("--brackets", type=int, default=1, metavar="N", help="of asha (default 1)")
    search.add_argument(
        "--audit",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of the trials to be stopped, trained on to tell how often that is wrong"
        " (default 0.05)",
    )
    search.add_argument(
        "--seeds", type=int, default=1, metavar="K", help="trials of one design at most (default 1)"
    )
    search.add_argument(
        "--objectives",
        default="validation_accuracy",
        metavar="W,W",
        help="validation_accuracy (default), before any of params, macs, activation_bytes, latency",
    )
    search.add_argument(
        "--latency-batch", type=int, default=1, metavar="N", help="images (default 1)"
    )
    _add_session_options(search)
    search.add_argument(
        "--log", action="append", default=[], metavar="W", help="tensorboard or mlflow"
    )
    search.add_argument(
        "--storage", metavar="URL", help="of a database, for several searches on one study"
    )
    _add_training_options(search)
    search.set_defaults(verb=_search)

    rank = verbs.add_parser("rank", help="rank the designs of a run, and write them as CSV")
    rank.add_argument("run", metavar="RUN")
    rank.add_argument(
        "--top", type=_positive, default=10, metavar="N", help="rows shown (default 10)"
    )
    rank.add_argument("--csv", metavar="FILE", help="default: RUN/report/ranking.csv")
    rank.set_defaults(verb=_rank)

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
    pareto.set_defaults(verb=_pareto)

    export = verbs.add_parser("export", help="train a design in full, test it once, write it out")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--design", default="best", metavar="best|ID")
    export.add_argument("--out", metavar="DIR", help="default: RUN/export/DESIGN")
    export.add_argument(
        "--train-on", default="train", metavar="W", help="train or train+validation"
    )
    export.add_argument("--seed", type=int, metavar="S", help="default: the search's")
    export.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if there)")
    export.add_argument("--formats", default="source,program,onnx", metavar="W,W")
    export.add_argument(
        "--precision",
        default="fp32",
        metavar="W",
        help="fp32 (default), fp16, or bf16 without onnx",
    )
    export.set_defaults(verb=_export)

    predict = verbs.add_parser("predict", help="say what an exported network sees in pictures")
    predict.add_argument("export", metavar="EXPORT", help="the folder that export wrote")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, ... of any size")
    predict.add_argument(
        "--top", type=_positive, default=3, metavar="N", help="classes of each (default 3)"
    )
    predict.set_defaults(verb=_predict)

    explain = verbs.add_parser("explain", help="train a design anew and look inside it")
    explain.add_argument("run", metavar="RUN")
    explain.add_argument("design", metavar="best|ID")
    explain.add_argument("--epochs", type=_positive, metavar="E", help="default: the recipe's")
    explain.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if there)")
    explain.add_argument("--csv", metavar="FILE", help="default: RUN/report/explain-ID.csv")
    explain.set_defaults(verb=_explain)

    degradation = verbs.add_parser(
        "degradation", help="tell whether deeper is worse: of a run, or of a space trained for it"
    )
    degradation.add_argument("what", metavar="RUN|SPACE.yaml")
    degradation.add_argument(
        "--epochs",
        type=_positive,
        metavar="E",
        help="after which trainings are compared (default: the full budget, which a space needs)",
    )
    degradation.add_argument(
        "--loss", type=float, metavar="L", help="count epochs to this training loss"
    )
    degradation.add_argument("--csv", metavar="FILE", help="default: RUN/report/degradation.csv")
    degradation.add_argument("--out", metavar="RUN", help="of a space: the run folder")
    degradation.add_argument(
        "--seeds", type=_positive, metavar="K", help="of a space: trainings of each design (3)"
    )
    _add_session_options(degradation)
    _add_training_options(degradation)
    degradation.set_defaults(verb=_degradation)

    effects = verbs.add_parser("effects", help="tell what each axis of a run does, and how sure")
    effects.add_argument("run", metavar="RUN")
    effects.add_argument("--axis", metavar="A", help="such as layout (default: all axes)")
    effects.add_argument("--with", dest="second", metavar="B", help="does A depend on this axis?")
    effects.add_argument(
        "--epochs", type=_positive, metavar="E", help="a rung (default: the last that all reached)"
    )
    effects.add_argument(
        "--controlled", metavar="W", help="at equal params, macs, activation_bytes or latency"
    )
    effects.add_argument(
        "--margin",
        type=float,
        default=0.5,
        metavar="POINTS",
        help="a difference in accuracy too small to matter (default 0.5)",
    )
    effects.add_argument("--csv", metavar="FILE", help="default: RUN/report/effects.csv")
    effects.set_defaults(verb=_effects)

    confirm = verbs.add_parser(
        "confirm", help="train the leaders of a run again with new seeds; run it again to go on"
    )
    confirm.add_argument("run", metavar="RUN")
    confirm.add_argument(
        "--top", type=_positive, default=5, metavar="K", help="leaders (default 5)"
    )
    confirm.add_argument(
        "--seeds",
        type=_positive,
        default=5,
        metavar="S",
        help="new seeds at most; it ends before where a leader is separated (default 5)",
    )
    _add_session_options(confirm)
    _add_deterministic(confirm)
    confirm.add_argument("--csv", metavar="FILE", help="default: RUN/report/confirmation.csv")
    confirm.set_defaults(verb=_confirm)

    report = verbs.add_parser("report", help="write a run as one page, with figures and tables")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--out", metavar="DIR", help="default: RUN/report")
    report.set_defaults(verb=_report)

    compare = verbs.add_parser("compare", help="tell whether runs agree on what is best")
    compare.add_argument("runs", metavar="RUN", nargs="+", help="two or more")
    compare.add_argument("--csv", metavar="FILE", help="of the table")
    compare.set_defaults(verb=_compare)
    return parser


def _version() -> str:
    try:
        return version("skipsearch")
    except PackageNotFoundError:
        return "(not installed)"


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--in-channels", type=int, metavar="C", help="default 3")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default 32")
    parser.add_argument("--classes", type=int, metavar="N", help="default 10")


def _add_session_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=int, metavar="K", help="trials at once at most")
    parser.add_argument("--cpus-per-trial", type=float, default=1.0, metavar="C")
    parser.add_argument("--gpus-per-trial", type=float, metavar="G", help="or a share, as 0.25")
    parser.add_argument("--time-budget", type=_seconds, metavar="T", help="as 90s, 20m or 2h")
    parser.add_argument("--trial-timeout", type=_seconds, metavar="T", help="of one trial")
    parser.add_argument(
        "--max-failures",
        type=int,
        default=10,
        metavar="N",
        help="trials in a row that may fail before the search stops (default 10)",
    )
    parser.add_argument(
        "--address", metavar="A", help="of a Ray cluster to join: host:port or auto"
    )
    parser.add_argument(
        "--insecure", action="store_true", help="join a cluster without token authentication"
    )
    parser.add_argument(
        "--dashboard", action="store_true", help="of Ray, for this machine alone (ray[default])"
    )
    parser.add_argument("--verbose", action="store_true", help="show what Ray prints")


def _session(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a session of trials, by the names that the API has for them too."""
    return {name: getattr(options, name) for name in SESSION}


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        default="digits",
        metavar="NAME",
        help="digits (default), cifar10, cifar100, fashion-mnist, mnist, svhn, a folder, an .npz",
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data set's files")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="resize images to this")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the recipe, such as peak_lr=0.4; may be repeated",
    )
    _add_deterministic(parser)


def _add_deterministic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits again on a GPU too, for less speed",
    )


def _show(options: argparse.Namespace) -> None:
    what: str = options.what
    if what.endswith((".yaml", ".yml")) and "axes" in _yaml(what):
        if (options.png, options.svg) != (None, None):
            raise SpaceError(f"{what}: a figure shows one design, and this is a space of many")
        print(draw_space(_for_images(Space.load(what), options)))
        return
    design = _design(what)
    classic = CLASSICS.get(what.lower())
    images = {"in_channels": 3, "image_size": 32, "classes": 10}
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
        print(f"wrote {file}")


def _write_figures(
    design: Design, images: Mapping[str, int], files: Mapping[str, str | None]
) -> list[str]:
    """Draw a design into the files that are named; return these."""
    wanted = {kind: file for kind, file in files.items() if file is not None}
    if wanted:
        from skipsearch.diagram import draw_diagram

        figure = draw_diagram(design, **images)
        for kind, file in wanted.items():
            picture = BytesIO()
            figure.savefig(picture, format=kind)
            Path(file).write_bytes(picture.getvalue())
    return list(wanted.values())


def _check(options: argparse.Namespace) -> None:
    space = _for_images(Space.load(options.space), options)
    size = space_size(space)
    space.sample(0)
    print(f"{options.space}: every value parses; {size}")
    if space.size is not None and space.size <= ENUMERABLE:
        for value in space.unused():
            print(f"{value}: no design with it can be built within the constraints")


def _train(options: argparse.Namespace) -> None:
    from skipsearch.data import load_data
    from skipsearch.models import build
    from skipsearch.training import (
        available_cores,
        default_device,
        train,
        train_several,
        tune_process,
    )

    design = _design(options.design)
    recipe = _recipe(options.recipe)
    if options.epochs is not None:
        recipe = recipe.replace(epochs=options.epochs)
    if options.seeds < 1:
        raise TrainingError(f"seeds: {options.seeds} is not a positive whole number")
    if options.seeds > 1 and options.checkpoint:
        raise TrainingError("checkpoint: is of one training; give --seeds 1 or no --checkpoint")
    if options.own_process:
        tune_process(available_cores())
    device = options.device or default_device()
    data = load_data(
        options.data, root=options.data_root, device=device, image_size=options.image_size
    ).without_test()
    seeds = range(options.seed, options.seed + options.seeds)
    models = [build(design, data.in_channels, data.classes, seed=seed) for seed in seeds]
    print(f"design {design.id} on {data.name} ({device}), {recipe.epochs} epochs")
    how = {"deterministic": options.deterministic}
    if options.seeds == 1:
        checkpoint = options.checkpoint
        for epoch in train(models[0], data, recipe, options.seed, checkpoint=checkpoint, **how):
            _print_epoch(epoch)
        return
    for epochs in train_several(models, data, recipe, seeds, **how):
        _print_mean(epochs)
    for seed, epoch in zip(seeds, epochs, strict=True):
        print(f"seed {seed}: {_accuracy(epoch)}")


def _print_mean(epochs: Sequence[Epoch]) -> None:
    """Print a line of the mean over seeds, less those that diverged."""
    if epochs[0].epoch == 1:
        print("epoch  train loss  val. loss  val. acc.      s.d.  seeds  seconds")
    finite = [epoch for epoch in epochs if _converges(epoch)]
    if not finite:
        raise DivergedError(f"all {len(epochs)} trainings diverged in epoch {epochs[0].epoch}")
    accuracies = [epoch.validation_accuracy for epoch in finite]
    deviation = stdev(accuracies) if len(finite) > 1 else math.nan
    seconds = {epoch.seconds for epoch in epochs}  # those of a pack are of all its members
    print(
        f"{epochs[0].epoch:5}  {fmean(epoch.train_loss for epoch in finite):10.4f}"
        f"  {fmean(epoch.validation_loss for epoch in finite):9.4f}"
        f"  {fmean(accuracies):9.4f}  {deviation:8.4f}  {len(finite):5}  {sum(seconds):7.2f}",
        flush=True,
    )


def _accuracy(epoch: Epoch) -> str:
    return f"{epoch.validation_accuracy:.4f}" if _converges(epoch) else "diverged"


def _converges(epoch: Epoch) -> bool:
    return math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)


def _print_epoch(epoch: Epoch) -> None:
    if epoch.epoch == 1:
        print("epoch  train loss  train acc.  val. loss  val. acc.  seconds")
    print(
        f"{epoch.epoch:5}  {epoch.train_loss:10.4f}  {epoch.train_accuracy:10.4f}"
        f"  {epoch.validation_loss:9.4f}  {epoch.validation_accuracy:9.4f}"
        f"  {epoch.seconds:7.2f}",
        flush=True,
    )


def _search(options: argparse.Namespace) -> int:
    from skipsearch.run.searching import search
    from skipsearch.search.stopping import EarlyStopping

    run = search(
        options.space,
        options.data,
        trials=options.trials,
        epochs=options.epochs,
        out=options.out,
        seed=options.seed,
        recipe=_recipe(options.recipe),
        sampler=options.sampler,
        scheduler=EarlyStopping(
            rule=options.scheduler,
            grace=options.grace,
            reduction_factor=options.reduction_factor,
            brackets=options.brackets,
            audit=options.audit,
        ),
        seeds=options.seeds,
        objectives=options.objectives.split(","),
        latency_batch=options.latency_batch,
        data_root=options.data_root,
        image_size=options.image_size,
        log=options.log,
        storage=options.storage,
        **_session(options),
    )
    assert run.outcome is not None
    if run.outcome.exhausted:
        print("The space holds no further design: the search ends early.")
    if run.outcome.out_of_time:
        print("The time is up: run the same command again to go on.")
        return 0
    if run.outcome.interrupted:
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    if run.outcome.elsewhere:
        print(f"Other searches of this study are still at {run.outcome.elsewhere} trials.")
    print(f"The trials are in {run.path}; see: skipsearch rank {run.path}")
    return 0


def _rank(options: argparse.Namespace) -> None:
    from skipsearch.run import Run

    run = Run.open(options.run)
    table = run.rank()
    path = Path(options.csv) if options.csv else run.path / "report" / "ranking.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path)
    recipes = ["recipe"] if table.recipe.nunique() == 1 else []
    seeds = [] if table.n.max() > 1 else ["n", "std"]
    shown = table.head(options.top).drop(columns=["reason", "numerics", *seeds, *recipes])
    if table.empty:
        print(f"{run.path}: no trial has been recorded yet")
        return
    formats = dict.fromkeys(("validation_accuracy", "low", "high", "std"), "{:.4f}".format)
    formats |= dict.fromkeys(("params", "macs"), "{:,}".format)
    shown["tied"] = ["=" if tied else "" for tied in shown.tied]
    print(
        shown.rename(columns={"validation_accuracy": "val.acc."}).to_string(
            formatters={"val.acc.": "{:.4f}".format, **formats}
        )
    )
    print(
        f"\n{len(table)} trainings of {table.design.nunique()} designs, ranked by epochs reached,"
        " then by validation accuracy there;"
        f"\nlow, high: 95 % interval for one seed and {run.asked['data']['validation_images']:,}"
        " validation images, or of the mean over seeds."
        f"\n=: tied, {table.tied.sum()} in all: by these data any of them may be the best."
        f" All rows: {path}"
    )
    audit = run.audit()
    if audit.audited:
        print(
            f"Early stopping ended {audit.stopped} trainings. Of {audit.audited} more that were"
            f" trained on against its advice,\n{audit.among_best} ended among the best third of"
            f" those at the full budget, {audit.above_all} above all that it let pass."
        )
    keys = sorted({key for text in table.numerics for key in text.split("; ") if key})
    if len(keys) > 1:
        print(
            "\nwarning: these trainings ran under unlike numerics, so that equal ones would differ"
            " by rounding:\n" + "\n".join(f"  {key}" for key in keys)
        )


def _pareto(options: argparse.Namespace) -> None:
    from skipsearch.run import Run

    run = Run.open(options.run)
    objectives = options.objectives.split(",") if options.objectives else None
    table = run.pareto(objectives)
    if table.empty:
        print(f"{run.path}: no training has reached the full budget yet")
        return
    path = Path(options.csv) if options.csv else run.path / "report" / "pareto.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path)
    costs = [name for name in COSTS if name in table]
    shares = dict.fromkeys(("validation_accuracy", "low", "high"), "{:.4f}".format)
    counts = {name: "{:,}".format for name in costs if name != "latency"}
    formatters = {**shares, **counts, "latency": "{:.2e}".format}
    print(table.drop(columns=["recipe", "numerics"]).to_string(formatters=formatters))
    objectives = [VALIDATION_ACCURACY, *costs]
    print(
        f"\n{len(table)} trainings at the full budget that no other beats in all of"
        f" {', '.join(objectives)}.\nThey cover {run.dominated_share(objectives):.3f} of what is"
        " possible, from accuracy 1 at no cost to accuracy 0 at 1.1 times\nthe largest cost of the"
        f" run. All rows: {path}"
    )


def _export(options: argparse.Namespace) -> None:
    from skipsearch.run import Run
    from skipsearch.run.exporting import export
    from skipsearch.training import available_cores, tune_process

    run = Run.open(options.run)
    if options.own_process:
        tune_process(available_cores())
    exported = export(
        run,
        options.design,
        out=options.out,
        formats=tuple(filter(None, options.formats.split(","))),
        precision=options.precision,
        train_on=options.train_on,
        seed=options.seed,
        device=options.device,
        progress=_print_epoch,
    )
    low, high = exported.test_interval
    print()
    if exported.validation_accuracy is not None:
        in_search = f"({exported.search_accuracy:.4f} in the search)"
        print(f"validation accuracy {exported.validation_accuracy:.4f} {in_search}")
    print(
        f"test accuracy {exported.test_accuracy:.4f} (n = 1 seed, {exported.test_images:,} images,"
        f" 95 % interval {low:.4f} to {high:.4f})"
    )
    print(
        "largest absolute difference of the logits, artefact against module"
        f" ({exported.tolerance:g} of the largest logit is allowed):"
    )
    for name, difference in exported.differences.items():
        print(f"  {name:<20} {difference:.2e}")
    print(f"Written to {exported.path}; see: skipsearch predict {exported.path} IMAGE")


def _predict(options: argparse.Namespace) -> None:
    from skipsearch.export.predict import predict

    table = predict(options.export, options.images, top=options.top)
    print(table.to_string(index=False, formatters={"probability": "{:.4f}".format}))


def _explain(options: argparse.Namespace) -> None:
    from skipsearch.run import Run
    from skipsearch.training import available_cores, tune_process

    run = Run.open(options.run)
    if options.own_process:
        tune_process(available_cores())
    explanation = run.explain(
        options.design, epochs=options.epochs, device=options.device, progress=_print_epoch
    )
    name = f"explain-{options.design}.csv"
    path = Path(options.csv) if options.csv else run.path / "report" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    explanation.table.to_csv(path, index=False)
    print("", *explanation.words, "", sep="\n")
    shown = explanation.table.drop(columns=["number", "lesion_accuracy"])
    print(shown.to_string(index=False, float_format="{:.3g}".format, na_rep="-"))
    print(f"\nAll columns: {path}")


def _degradation(options: argparse.Namespace) -> int:
    from skipsearch.run import Run

    of_space = options.what.endswith((".yaml", ".yml"))
    for name in ("epochs", "out") if of_space else ():
        if getattr(options, name) is None:
            raise RunError(f"{name}: a space is trained first: give --{name}")
    for name in () if of_space else ("out", "seeds"):
        if getattr(options, name) is not None:
            raise RunError(f"{name}: is for a space; what {options.what} holds is trained already")
    run = _trained(options) if of_space else Run.open(options.what)
    if run.outcome is not None and run.outcome.interrupted:
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    found = run.degradation(options.epochs, options.loss)
    if found.table.empty:
        print(f"{run.path}: no trial has been recorded yet")
        return 0
    path = Path(options.csv) if options.csv else run.path / "report" / "degradation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = found.table.merge(found.verdicts[["group", "verdict"]], on="group")
    table.to_csv(path, index=False)
    print(*found.words, "", sep="\n")
    axes = list(table.columns[2 : table.columns.get_loc("depths")])
    varying = [axis for axis in axes if table[axis].nunique() > 1]
    errors = [f"{split}_error{end}" for split in ("train", "validation") for end in ("", "_sd")]
    shown = ["verdict", *varying, "layers", "n", *errors, "train_loss", "epochs_to_loss"]
    print(table[shown].to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    print(
        "\nErrors are shares, means over n seeds with their deviation, all after the same number of"
        f" epochs.\nOf 100 groups in which nothing depends on depth, about 5 at most get a verdict"
        f" other than tied.\nAll columns, with 95 % intervals: {path}"
    )
    return 0


def _trained(options: argparse.Namespace) -> Run:
    """Train all of a space, each design with all seeds."""
    from skipsearch.run.searching import search

    return search(
        options.what,
        options.data,
        trials=None,
        epochs=options.epochs,
        out=options.out,
        seed=options.seed,
        recipe=_recipe(options.recipe),
        sampler="grid",
        scheduler="none",
        seeds=options.seeds or 3,
        data_root=options.data_root,
        image_size=options.image_size,
        **_session(options),
    )


def _effects(options: argparse.Namespace) -> None:
    from skipsearch.analysis import answers
    from skipsearch.run import Run

    if options.second is not None and options.axis is None:
        raise RunError("--with: name the other axis by --axis")
    run = Run.open(options.run)
    table = run.effects(
        options.axis,
        epochs=options.epochs,
        controlled=options.controlled,
        margin=options.margin / 100,
    )
    if table.empty:
        print(f"{run.path}: no trainings can be compared yet")
        return
    path = Path(options.csv) if options.csv else run.path / "report" / "effects.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    print("\n".join(answers(table)))
    points = ("mean", "low", "high", "difference", "d_low", "d_high")
    formats = dict.fromkeys(points, "{:.4f}".format) | {"further": "{:,.0f}".format}
    print(f"\nAfter {table.epochs.iloc[0]} epochs, in accuracy:")
    shown = table.drop(columns="epochs")
    print(shown.to_string(index=False, formatters=formats, na_rep=""))
    print(
        "low, high: 95 % interval of a mean; d_low, d_high: of the difference to the best level,"
        f" for all pairs together.\nAll rows: {path}"
    )
    if options.second is not None:
        both = run.interactions(options.axis, options.second, epochs=options.epochs)
        print(
            "\n" + both.drop(columns="epochs").to_string(index=False, float_format="{:.4f}".format)
        )
    if options.axis is None:
        print("\nImportance, of 1 in all:")
        print(
            run.importance(epochs=options.epochs).to_string(
                index=False, float_format="{:.3f}".format
            )
        )


def _confirm(options: argparse.Namespace) -> int:
    from skipsearch.run import Run

    run = Run.open(options.run)
    try:
        found = run.confirm(options.top, options.seeds, **_session(options))
    except KeyboardInterrupt:
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    path = Path(options.csv) if options.csv else run.path / "report" / "confirmation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    found.table.to_csv(path)
    shares = ("validation_accuracy", "sd", "low", "high", "search_accuracy", "shrinkage")
    recipes = ["recipe"] if found.table.recipe.nunique() == 1 else []
    table = found.table.drop(columns=["reason", "shrinkage_low", "shrinkage_high", *recipes])
    formats = dict.fromkeys(shares, "{:.4f}".format)
    formats |= {"params": "{:,}".format, "chance": "{:.3f}".format}
    print(f"{found}\n\n{table.to_string(formatters=formats)}")
    print(
        "\nlow, high: 95 % interval of the mean over n seeds; chance: of being the best of these;"
        f"\nshrinkage: how much of search_accuracy was luck. All columns: {path}"
    )
    if found.wanted:
        print("The time is up: run the same command again to go on.")
    return 0


def _report(options: argparse.Namespace) -> None:
    from skipsearch.run import Run

    page = Run.open(options.run).report(options.out)
    print(f"Written to {page}, with its figures and tables beside it.")


def _compare(options: argparse.Namespace) -> None:
    from skipsearch.run import Run, compare

    table = compare([Run.open(path) for path in options.runs])
    if options.csv:
        table.to_csv(options.csv, index=False)
    formats = dict.fromkeys(("tau", "low", "high"), "{:.2f}".format)
    print(table.to_string(index=False, formatters=formats, na_rep="-"))
    print(
        "\ntau: Kendall's, 1 where both runs have the n designs or levels in the same order;"
        "\nlow, high: its 95 % interval. Values are those after so many epochs, which every"
        " training has reached."
    )


def _for_images(space: Space, options: argparse.Namespace) -> Space:
    return space.for_images(
        options.in_channels or space.in_channels,
        options.image_size or space.image_size,
        options.classes or space.classes,
    )


def _yaml(path: str) -> dict[str, Any]:
    return parse_yaml(read_text(path, DesignError), path, DesignError)


def _design(what: str) -> Design:
    """Read a design from what a user would call it: a file, a classic, or a layout."""
    if what.endswith((".yaml", ".yml")):
        return Design.load(what)
    if what.lower() in CLASSICS:
        return CLASSICS[what.lower()].design
    try:
        return Design(layout=str(Layout.parse(what)))
    except LayoutError:
        if LAYOUT_LIKE.match(what):
            raise
    raise DesignError(
        f"{what!r} is neither a .yaml file nor a layout, and as a classic"
        f" {not_one_of(what, CLASSICS)}"
    )


def _recipe(settings: Sequence[str]) -> Recipe:
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"--recipe {setting!r}: write NAME=VALUE, such as peak_lr=0.4")
        values |= parse_yaml(f"{name.strip()}: {value}", f"--recipe {setting}", RecipeError)
    return Recipe.from_dict(values)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 20m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
