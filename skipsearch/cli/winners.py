"""The verbs about one design of a run: explain, export, predict."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from skipsearch.artefacts import FORMATS
from skipsearch.cli.options import Verbs, add_csv, add_device, add_moved_data, add_run
from skipsearch.cli.words import (
    check_writable,
    command,
    listed,
    positive,
    print_data,
    print_epoch,
    print_path,
    warn,
    write_csv,
)
from skipsearch.defaults import LABELS, TILE
from skipsearch.errors import escaped
from skipsearch.metric import Metric
from skipsearch.task import Baseline

EXPLANATION = "explain-{}.csv"  # file in the folder of the report
OF_LINKS = "-links"  # suffix of the name of the table of long skips


def add_explain(verbs: Verbs) -> None:
    """Define ``skipsearch explain``."""
    verb = verbs.add_parser("explain", help="retrain a design and diagnose its blocks")
    add_run(verb)
    verb.add_argument("design", metavar="best|ID")
    verb.add_argument(
        "--epochs", type=positive, metavar="E", help="number of epochs (default: the recipe's)"
    )
    add_device(verb)
    add_moved_data(verb)
    add_csv(verb, EXPLANATION.format("ID"))
    verb.set_defaults(verb=explain_design)


def explain_design(options: argparse.Namespace) -> None:
    """Train a design again, and show a diagnosis of its network."""
    from skipsearch.run import Run
    from skipsearch.training import available_cores, tune_process

    run = Run.open(options.run)
    check_writable(options.csv)
    links_csv = options.csv and str(_of_links(options.csv))
    check_writable(links_csv)
    if options.own_process:
        tune_process(available_cores())
    explanation = run.explain(
        options.design,
        epochs=options.epochs,
        device=options.device,
        data=options.data,
        data_root=options.data_root,
        progress=partial(print_epoch, run.config.task.metric),
    )
    name = EXPLANATION.format(options.design)
    metric = run.config.task.metric
    tables = {"": explanation.table.drop(columns=["number", "lesion_score"])}
    written = [write_csv(explanation.table, options.csv, run, name, index=False)]
    if len(explanation.links):
        tables["Long skips:\n"] = explanation.links.drop(columns=["lesion_score"])
        name = str(_of_links(name))
        written.append(write_csv(explanation.links, links_csv, run, name, index=False))
    baseline = run.config.baseline
    print("", *explanation.words, *([baseline.sentence()] if baseline else []), sep="\n")
    for title, table in tables.items():
        text = table.to_string(
            index=False,
            formatters={"lesion_drop": metric.signed_cell},
            float_format="{:.3g}".format,
            na_rep="-",
        )
        print(f"\n{title}{text}")
    print("", *written, sep="\n")


def _of_links(path: str) -> Path:
    """Return the file of the table of long skips that belongs to the file of the blocks."""
    file = Path(path)
    return file.with_stem(f"{file.stem}{OF_LINKS}")


def add_export(verbs: Verbs) -> None:
    """Define ``skipsearch export``."""
    verb = verbs.add_parser(
        "export", help="train a design in full, test it once and write it as files"
    )
    add_run(verb)
    verb.add_argument("--design", default="best", metavar="best|ID")
    verb.add_argument(
        "--out", metavar="DIR", help="folder of the export (default: RUN/export/DESIGN)"
    )
    verb.add_argument(
        "--train-on",
        default="train",
        metavar="W",
        help="splits to train on: train (default) or train+validation",
    )
    verb.add_argument(
        "--seed", type=int, metavar="S", help="seed of the training (default: the search's)"
    )
    add_device(verb)
    add_moved_data(verb)
    verb.add_argument("--formats", default=",".join(FORMATS), metavar="W,W")
    verb.add_argument(
        "--precision",
        default="fp32",
        metavar="W",
        help="precision: %(default)s (default), fp16, or bf16 without onnx",
    )
    verb.set_defaults(verb=export_design)


def export_design(options: argparse.Namespace) -> None:
    """Train a design in full, test it once, and write it to files."""
    from skipsearch.artefacts.sentences import allowed, extent, resampling
    from skipsearch.run import Run
    from skipsearch.run.exporting import export
    from skipsearch.training import available_cores, tune_process

    run = Run.open(options.run)
    _, damage = run.readable_confirmation()
    if damage and options.design != "best":
        warn(f"the confirmation is left out: {damage}")
    if options.own_process:
        tune_process(available_cores())
    exported = export(
        run,
        options.design,
        out=options.out,
        formats=tuple(listed(options.formats)),
        precision=options.precision,
        train_on=options.train_on,
        seed=options.seed,
        device=options.device,
        data=options.data,
        data_root=options.data_root,
        progress=partial(print_epoch, run.config.task.metric),
        on_data=print_data,
    )
    test, metric = exported.test, exported.metric
    print()
    if exported.validation is not None:
        folds = run.config.data.folds
        mean = "" if folds is None else f", the mean of {folds} folds"
        in_search = f"({_value(metric, exported.search_score)} in the search{mean})"
        value = _value(metric, exported.validation.score)
        print(f"validation {metric.title} {value} {in_search}")
    interval = metric.span(metric.values(test.interval))
    print(
        f"test {metric.title} {_value(metric, test.score)} (n = 1 seed,"
        f" {extent(test.images, test.groups)}, 95 % interval {interval}{resampling(test.groups)})"
    )
    if test.baseline is not None:
        print(Baseline(run.config.task, test.baseline).sentence("test"))
    print(
        "largest absolute difference of the outputs, artefact against module"
        f" ({allowed(exported.tolerance, run.config.task)} is allowed):"
    )
    for name, difference in exported.differences.items():
        print(f"  {name:<20} {difference:.2e}")
    print_path(f"Written to {exported.path}; see: {command('predict', exported.path)} IMAGE")


def _value(metric: Metric, score: float) -> str:
    return metric.text(metric.value(score))


def add_predict(verbs: Verbs) -> None:
    """Define ``skipsearch predict``."""
    verb = verbs.add_parser(
        "predict",
        help="apply an exported network to images",
    )
    verb.add_argument("export", metavar="EXPORT", help="folder written by export")
    verb.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="pictures of any size (PNG, JPEG, ...), or .npy files and TIFF files of 16 bits,"
        " floats or many channels",
    )
    verb.add_argument(
        "--top",
        type=positive,
        metavar="N",
        help=f"number of classes shown for each picture (default {LABELS}, and all of a mask or of"
        " several labels)",
    )
    verb.add_argument(
        "--out",
        metavar="FILE|DIR",
        help="file of the mask or restored picture, or folder of several (default: the present"
        " folder)",
    )
    verb.add_argument(
        "--tile",
        type=positive,
        metavar="PIXELS",
        help=f"side of a tile of a large picture, a multiple of 4 * 2**h for a network that halves"
        f" h times (default {TILE}, or the next multiple)",
    )
    verb.set_defaults(verb=predict_images)


def predict_images(options: argparse.Namespace) -> None:
    """Show what an exported network predicts for pictures, and the written files."""
    from skipsearch.artefacts.predict import predict

    table = predict(
        options.export, options.images, top=options.top, out=options.out, tile=options.tile
    )
    texts = dict.fromkeys(("image", "file", "label", "target"), escaped)
    shown = texts | {"probability": "{:.4f}".format, "share": "{:.4f}".format}
    print(table.to_string(index=False, formatters=shown))
    if "tiles" in table and (table.tiles > 1).any():
        print("Pictures in several tiles are computed in tiles that overlap by a quarter.")
