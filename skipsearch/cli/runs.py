"""The verbs that query a run: rank, pareto, effects, report, compare."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skipsearch.cli.options import Verbs, add_csv, add_run
from skipsearch.cli.words import (
    command,
    listed,
    not_written,
    positive,
    print_path,
    print_words,
    warn,
    write_csv,
    yes_or_blank,
)
from skipsearch.defaults import MARGIN
from skipsearch.errors import RunError, counted
from skipsearch.record import COSTS, LATENCY, Trial

if TYPE_CHECKING:
    import pandas as pd

# Files in the folder of the report.
RANKING_CSV, PARETO_CSV, EFFECTS_CSV = "ranking.csv", "pareto.csv", "effects.csv"
# Columns of the tables of effects and interactions.
SCORES = ("mean", "low", "high", "best", "best_low", "best_high", "additive")
DIFFERENCES = (
    *("difference", "d_low", "d_high", "best_difference", "bd_low", "bd_high"),
    *("beyond", "b_low", "b_high"),
)


def add_rank(verbs: Verbs) -> None:
    """Define ``skipsearch rank``."""
    verb = verbs.add_parser("rank", help="rank the designs of a run, and write them as CSV")
    add_run(verb)
    verb.add_argument(
        "--top", type=positive, default=10, metavar="N", help="number of rows (default %(default)s)"
    )
    add_csv(verb, RANKING_CSV)
    verb.set_defaults(verb=rank)


def rank(options: argparse.Namespace) -> None:
    """Rank the designs of a run."""
    from skipsearch.analysis.failures import failure_reasons, failures_in_words
    from skipsearch.analysis.legends import ranking_legend
    from skipsearch.run import Run

    run = Run.open(options.run)
    table = run.rank()
    written = write_csv(table, options.csv, run, RANKING_CSV)
    seeds = [] if table.n.max() > 1 else ["n", "std"]
    recipes = ["recipe"] if table.recipe.nunique() == 1 else []
    shown = table.head(options.top).drop(columns=["reason", "numerics", *seeds, *recipes])
    if table.empty:
        print_path(f"{run.path}: no trial has been recorded yet")
        return
    metric = run.config.task.metric
    short = f"val.{metric.short}"
    formats: dict[str, Callable[..., str]] = dict.fromkeys(
        (short, "low", "high", "std"), metric.cell
    )
    formats |= dict.fromkeys(("params", "macs"), "{:,}".format)
    formats["tied"] = yes_or_blank
    kept = {"design", "trial", metric.validation, "low", "high", "std", "tied", "params", "macs"}
    equal = [name for name in shown if name not in kept and _is_constant(shown[name])]
    alike = ", ".join(f"{name} {shown[name].iloc[0]}" for name in equal)
    columns = shown.drop(columns=equal).rename(columns={metric.validation: short})
    print(columns.to_string(formatters=formats, na_rep="-"))
    trainings = counted(int(table.n.sum()), "training")
    print_words(
        "",
        *([f"In all {len(shown)} rows: {alike}."] if equal else []),
        f"{trainings} of {counted(table.design.nunique(), 'design')},"
        f" in {counted(len(table), 'row')};"
        f" {table.tied.sum()} tied with the first.",
        ranking_legend(run.config.scale),
        *([run.config.baseline.sentence()] if run.config.baseline else []),
    )
    if failures := failures_in_words(failure_reasons(run.trials())):
        print_words(failures)
    print(written)
    if run.readable_confirmation() == (None, ""):
        print_path(f"To train the leaders again: {command('confirm', run.path)}")
    audit = run.audit()
    if audit.audited:
        print_words(*audit.words(run.config.stopping.rule, len(run.trials())))
    _warn_of_numerics(run.trials(), "so that equal ones would differ by rounding")


def _is_constant(column: pd.Series) -> bool:
    """Return whether two or more rows have the same value."""
    return len(column) > 1 and bool(column.eq(column.iloc[0]).all())


def _warn_of_numerics(trials: Sequence[Trial], so_that: str) -> None:
    keys = sorted({trial.numerics_alone for trial in trials} - {""})
    if len(keys) > 1:
        print(
            f"\nwarning: these trainings ran with different numerical settings, {so_that}:\n"
            + "\n".join(f"  {key}" for key in keys)
        )


def add_pareto(verbs: Verbs) -> None:
    """Define ``skipsearch pareto``."""
    verb = verbs.add_parser("pareto", help="show the Pareto front of several objectives")
    add_run(verb)
    verb.add_argument(
        "--objectives",
        metavar="W,W",
        help="score such as validation_accuracy, and costs among"
        f" {', '.join(COSTS)} (default: the search's)",
    )
    add_csv(verb, PARETO_CSV)
    verb.set_defaults(verb=pareto)


def pareto(options: argparse.Namespace) -> None:
    """Show the Pareto front of the designs."""
    from skipsearch.run import Run

    run = Run.open(options.run)
    metric = run.config.task.metric
    objectives = listed(options.objectives) if options.objectives else None
    table = run.pareto(objectives)
    if table.empty:
        print_path(f"{run.path}: no training has reached the full budget yet")
        return
    written = write_csv(table, options.csv, run, PARETO_CSV)
    costs = [name for name in COSTS if name in table]
    values = dict.fromkeys((metric.validation, "low", "high"), metric.cell)
    counts = {name: "{:,}".format for name in costs if name != "latency"}
    formatters = {**values, **counts, "latency": "{:.2e}".format}
    print(table.drop(columns=["recipe", "numerics"]).to_string(formatters=formatters))
    objectives = [metric.validation, *costs]
    best, floor = metric.value(metric.best), metric.value(run.config.scale.floor)
    print(
        f"\n{counted(len(table), 'training')} at the full budget that no other beats in all of"
        f" {', '.join(objectives)}.\nThey cover {run.dominated_share(objectives):.3f} of what is"
        f" possible, from {metric.title} {metric.text(best)} at no cost to"
        f" {metric.title} {metric.text(floor)} at 1.1 times\nthe largest cost"
        f" of the run.\n{written}"
    )
    if LATENCY in costs:
        _warn_of_numerics(run.trials(), "so that latencies do not compare")


def add_effects(verbs: Verbs) -> None:
    """Define ``skipsearch effects``."""
    verb = verbs.add_parser("effects", help="estimate the effect of each axis, with intervals")
    add_run(verb)
    verb.add_argument("--axis", metavar="A", help="one axis, such as layout (default: all axes)")
    verb.add_argument(
        "--with", dest="second", metavar="B", help="show the interaction of A with this axis"
    )
    verb.add_argument(
        "--epochs",
        type=positive,
        metavar="E",
        help="rung to compare at (default: the full budget, or the last that five designs have"
        " reached)",
    )
    verb.add_argument(
        "--controlled", metavar="W", help=f"compare at equal {', '.join(COSTS[:-1])} or {COSTS[-1]}"
    )
    verb.add_argument(
        "--margin",
        type=float,
        metavar="D",
        help="negligible difference between scores (default: that of the search's --ask, else that"
        f" of the metric, {MARGIN} for an accuracy)",
    )
    add_csv(verb, EFFECTS_CSV)
    verb.set_defaults(verb=effects)


def effects(options: argparse.Namespace) -> None:
    """Show the effect of each axis and its uncertainty."""
    from skipsearch.analysis import answers
    from skipsearch.analysis.interactions import dependence
    from skipsearch.analysis.knowledge import least_trainings
    from skipsearch.analysis.legends import EFFECTS, IMPORTANCE, legend, method_words
    from skipsearch.run import Run

    if options.second is not None and options.axis is None:
        raise RunError("--with: name the other axis by --axis")
    run = Run.open(options.run)
    metric = run.config.task.metric
    table = run.effects(
        options.axis,
        epochs=options.epochs,
        controlled=options.controlled,
        margin=options.margin,
    )
    if table.empty:
        print_path(f"{run.path}: effects need {least_trainings(metric)}")
        return
    written = write_csv(table, options.csv, run, EFFECTS_CSV, index=False)
    print("\n".join(answers(table, metric, controlled=options.controlled)))
    formats: dict[str, Callable[..., str]] = dict.fromkeys(SCORES, metric.cell)
    formats |= dict.fromkeys(DIFFERENCES, metric.signed_cell)
    formats |= {"further": "{:,.0f}".format, "chance": "{:.2f}".format}
    margin = run.margin if options.margin is None else options.margin
    negligible = metric.with_unit(metric.number(margin))
    print_words(
        "",
        f"After {counted(table.epochs.iloc[0], 'epoch')}, in {metric.title}; differences below"
        f" {negligible} are negligible. {method_words(table, run.config.scale.repeat)}",
    )
    average = ["axis", "level", "n", "mean", "low", "high", "difference", "d_low", "d_high"]
    best = ["axis", "level", "best", "best_low", "best_high", "best_difference", "bd_low"]
    over = f" at equal {options.controlled}" if options.controlled else ""
    shown = {
        f"On average{over}, against the leading level (first row) of each axis:": [
            *average,
            *("verdict", "method", "further"),
        ]
    }
    if table.best.notna().any():
        title = (
            "The best design with each level, against the level whose best trained design leads:"
        )
        shown[title] = [*best, "bd_high", "best_verdict", "chance"]
    for title, columns in shown.items():
        print(f"\n{title}")
        print(table[columns].to_string(index=False, formatters=formats, na_rep=""))
    print_words("", legend(EFFECTS, {column for columns in shown.values() for column in columns}))
    print(written)
    if options.second is not None:
        both = run.interactions(
            options.axis, options.second, epochs=options.epochs, margin=options.margin
        )
        if both.empty:
            print(f"\nNo training has both {options.axis} and {options.second}.")
            return
        share = f"The pair explains {both.share.iloc[0]:.1%} of the variance over the space."
        print(f"\n{dependence(both, metric)} {share}")
        map_of_both = both.drop(columns=["epochs", "share", "verdict"])
        print(map_of_both.to_string(index=False, formatters=formats))
    if options.axis is None:
        importance = run.importance(epochs=options.epochs)
        if importance.empty:
            print("\nNo importance can be computed: no axis varies between the trainings.")
            return
        print_words("", IMPORTANCE)
        print(importance.to_string(index=False, float_format="{:.3f}".format))


def add_report(verbs: Verbs) -> None:
    """Define ``skipsearch report``."""
    verb = verbs.add_parser("report", help="write a run as one page, with figures and tables")
    add_run(verb)
    verb.add_argument("--out", metavar="DIR", help="folder of the page (default: RUN/report)")
    verb.set_defaults(verb=report)


def report(options: argparse.Namespace) -> None:
    """Write a run as one page."""
    from skipsearch.run import Run

    run = Run.open(options.run)
    _, damage = run.readable_confirmation()
    if damage:
        warn(f"the confirmation is left out: {damage}")
    try:
        page = run.report(options.out)
    except OSError as problem:
        if options.out:
            raise
        print(run.rank().to_string())
        print(f"\nNo file was written: {not_written(problem)} (--out DIR writes it elsewhere).")
        return
    print_path(f"Written to {page}, with its figures and tables beside it.")


def add_compare(verbs: Verbs) -> None:
    """Define ``skipsearch compare``."""
    verb = verbs.add_parser("compare", help="test whether runs agree on the best levels")
    verb.add_argument("runs", metavar="RUN", nargs="+", help="two or more")
    verb.add_argument("--csv", metavar="FILE", help="file of the table")
    verb.set_defaults(verb=compare_runs)


def compare_runs(options: argparse.Namespace) -> None:
    """Show whether runs agree on what is best."""
    from skipsearch.run import Run, compare

    table = compare([Run.open(path) for path in options.runs])
    if options.csv:
        Path(options.csv).write_text(table.to_csv(index=False), encoding="utf-8")
    formats = dict.fromkeys(("tau", "low", "high"), "{:.2f}".format)
    are_mixed = bool((table.metric != table.metric_other).any())
    shown = table if are_mixed else table.drop(columns=["metric", "metric_other"])
    print(shown.to_string(index=False, formatters=formats, na_rep="-"))
    if are_mixed:
        print(
            "\nThese runs have different metrics: only the orders by each are compared, not the"
            " values."
        )
    print(
        "\ntau: Kendall's, 1 where both runs have the n designs or levels in the same order;"
        "\nlow, high: its 95 % interval. Values are those after so many epochs, which every"
        " training has reached."
    )
