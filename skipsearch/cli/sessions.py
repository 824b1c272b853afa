"""The verbs that start a session of many trainings: search, confirm, degradation."""

from __future__ import annotations

import argparse
from math import ceil, isnan
from pathlib import Path
from typing import TYPE_CHECKING

from skipsearch.cli.options import (
    Parser,
    Verbs,
    add_csv,
    add_deterministic,
    add_moved_data,
    add_run,
    add_session,
    add_space,
    add_training,
)
from skipsearch.cli.words import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    check_writable,
    command,
    data_options,
    listed,
    positive,
    print_data,
    print_path,
    print_words,
    read_recipe,
    session_options,
    warn,
    write_csv,
    yes_or_blank,
)
from skipsearch.defaults import DEGRADATION_SEEDS, LEADER_SEEDS, LEADERS, MARGIN, TRIALS
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, counted
from skipsearch.ready import ready_names
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST, COSTS, FAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skipsearch.config import SearchConfig
    from skipsearch.record import Trial
    from skipsearch.run import Run
    from skipsearch.searching.driver import Outcome

MOST_FURTHER = 100  # further trainings that a hint names

# Files in the folder of the report.
CONFIRMATION, DEGRADATION = "confirmation.csv", "degradation.csv"


def add_search(verbs: Verbs) -> None:
    """Define ``skipsearch search``."""
    verb = verbs.add_parser("search", help="search a space; run it again to resume")
    add_space(verb)
    verb.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help=f"number of trainings (default {TRIALS}; with the sampler grid, the whole space)",
    )
    verb.add_argument(
        "--epochs",
        type=int,
        metavar="E",
        help=f"full budget of a training (default: the recipe's, {Recipe.epochs})",
    )
    verb.add_argument("--out", metavar="RUN", help="run folder (default: runs/SPACE)")
    verb.add_argument(
        "--ask",
        default=ASK_BEST,
        metavar="A,A",
        help=f"question of the search: {ASK_BEST} (default) for the best design, or axes such as"
        " layout,merge for the best level of each; the search then ends when it is answered",
    )
    verb.add_argument(
        "--margin",
        type=float,
        metavar="D",
        help="with --ask: negligible difference between scores (default: that of the metric,"
        f" {MARGIN} for an accuracy)",
    )
    verb.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="K",
        help="maximum number of seeds of one design (default %(default)s); a small network is"
        " trained with up to 8 seeds at once",
    )
    verb.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validation: train each design K times, each time with another fold of the"
        " images as the validation split",
    )
    verb.add_argument(
        "--sampler",
        metavar="W",
        help="surrogate (default), tpe, random, grid, gp, nsga2, evolution or local; a resumed"
        " search keeps its sampler",
    )
    add_training(verb)
    _add_stopping(verb)
    add_session(verb)
    more = verb.add_argument_group("objectives, logs and storage")
    more.add_argument(
        "--objectives",
        metavar="W,W",
        help="the score, such as validation_accuracy (default), followed by any of"
        f" {', '.join(COSTS)}; two or more search for the Pareto front",
    )
    more.add_argument(
        "--latency-batch",
        type=int,
        metavar="N",
        help="batch size of the latency objective (default: 1, or that of a resumed search)",
    )
    more.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="W",
        help="log curves to tensorboard or mlflow",
    )
    more.add_argument(
        "--storage", metavar="URL", help="database of the study, which several searches may share"
    )
    verb.set_defaults(verb=search_space)


def search_space(options: argparse.Namespace) -> int:
    """Search a space, or resume a search."""
    from skipsearch.analysis.failures import failure_reasons, failures_in_words
    from skipsearch.config import CONFIG
    from skipsearch.run.searching import search

    ask = listed(options.ask)
    if Path(options.space).name == CONFIG and not options.recipe:
        warn(f"{options.space}: only its space is read, not its recipe; --recipe sets another one")
    run = search(
        options.space,
        options.data,
        trials=options.trials,
        epochs=options.epochs,
        out=options.out,
        seed=options.seed,
        recipe=read_recipe(options.recipe),
        ask=ask,
        margin=options.margin,
        sampler=options.sampler,
        scheduler=_early_stopping(options),
        seeds=options.seeds,
        folds=options.folds,
        objectives=None if options.objectives is None else listed(options.objectives),
        latency_batch=options.latency_batch,
        metric=options.metric,
        **data_options(options),
        log=options.log,
        storage=options.storage,
        on_data=print_data,
        **session_options(options),
    )
    assert run.outcome is not None
    trials = run.trials()
    if failures := failures_in_words(failure_reasons(trials)):
        print_words(failures)
    print(*run.outcome.answers, sep="\n", end="\n" * bool(run.outcome.answers))
    if run.outcome.exhausted:
        print("The space has no further designs, so the search ends early.")
    if run.outcome.out_of_time:
        print("The time is up: run the same command again to resume.")
        return 0
    if run.outcome.interrupted:
        print("Interrupted: run the same command again to resume.")
        return EXIT_INTERRUPTED
    if run.outcome.running_elsewhere:
        others = counted(run.outcome.running_elsewhere, "trial")
        print(f"Other searches of this study are still running {others}.")
    if trials and all(trial.state == FAIL for trial in trials):
        print_path(f"No training has finished. The trials are in {run.path}.")
        return EXIT_FAILED
    if run.outcome.settled:
        print("The question is settled, so the search ends.")
    elif not isnan(run.outcome.further):
        options_to_settle = _enough(trials, run.config, run.outcome)
        print(f"To continue, run the same command again with {options_to_settle}.")
    print_path(f"The trials are in {run.path}; see: {command('rank', run.path)}")
    return 0


def _enough(trained: Sequence[Trial], config: SearchConfig, outcome: Outcome) -> str:
    """Return the options with which a search about axes probably settles its questions.

    Args:
        trained: Its trainings.
        config: Its configuration.
        outcome: Its outcome, with the number of further trainings.
    """
    further = max(1, ceil(min(outcome.further, MOST_FURTHER)))
    options = []
    if outcome.exhausted:
        designs = len({trial.key for trial in trained})
        options.append(f"--seeds {config.seeds + ceil(further / designs)}")
    if not options or len(trained) + further > config.trials:
        options.append(f"--trials {len(trained) + further}")
    return " ".join(options)


def _add_stopping(verb: Parser) -> None:
    group = verb.add_argument_group("early stopping")
    group.add_argument(
        "--scheduler",
        metavar="W",
        help="none (default): every trial uses its full budget, which is best for the surrogate;"
        " asha: stop all but the best at each rung, for random or grid searches with long"
        " trainings; median: stop trials below the median, the most cautious rule",
    )
    group.add_argument(
        "--grace",
        type=int,
        default=EarlyStopping.grace,
        metavar="E",
        help="minimum number of epochs of a trial",
    )
    group.add_argument(
        "--reduction-factor",
        type=int,
        default=EarlyStopping.reduction_factor,
        metavar="N",
        help="reduction factor of asha (default %(default)s)",
    )
    group.add_argument(
        "--brackets",
        type=int,
        default=EarlyStopping.brackets,
        metavar="N",
        help="number of brackets of asha (default %(default)s)",
    )
    group.add_argument(
        "--audit",
        type=float,
        default=EarlyStopping.audit,
        metavar="SHARE",
        help="fraction of stopped trials to finish anyway, to measure wrong stops"
        " (default %(default)s)",
    )


def _early_stopping(options: argparse.Namespace) -> EarlyStopping | None:
    """Return the requested early stopping; None for that of the run, or the default."""
    usual = EarlyStopping().details()
    given = {name: getattr(options, name) for name in usual}
    stopping = EarlyStopping(rule=options.scheduler or "none", **given)
    if options.scheduler is not None:
        return stopping
    if given != usual:
        raise RunError(
            "grace, reduction-factor, brackets, audit: they are for early stopping; give"
            " --scheduler asha or --scheduler median too"
        )
    return None


def add_confirm(verbs: Verbs) -> None:
    """Define ``skipsearch confirm``."""
    verb = verbs.add_parser(
        "confirm", help="train the leaders of a run again with new seeds; run it again to resume"
    )
    add_run(verb)
    verb.add_argument(
        "--top",
        type=positive,
        default=LEADERS,
        metavar="K",
        help="number of leaders (default %(default)s)",
    )
    verb.add_argument(
        "--seeds",
        type=positive,
        default=LEADER_SEEDS,
        metavar="S",
        help="maximum number of new seeds, or of folds in a run with folds (default %(default)s);"
        " stops once a leader is separated",
    )
    add_moved_data(verb)
    add_session(verb)
    add_deterministic(verb)
    add_csv(verb, CONFIRMATION)
    verb.set_defaults(verb=confirm)


def confirm(options: argparse.Namespace) -> int:
    """Train the leaders of a run again with new seeds."""
    from skipsearch.analysis.legends import confirmation_meanings, legend
    from skipsearch.run import Run
    from skipsearch.run.confirming import confirm as confirm_run

    run = Run.open(options.run)
    check_writable(options.csv)
    try:
        found = confirm_run(
            run,
            options.top,
            options.seeds,
            data=options.data,
            data_root=options.data_root,
            **session_options(options),
        )
    except KeyboardInterrupt:
        print("Interrupted: run the same command again to resume.")
        return EXIT_INTERRUPTED
    written = write_csv(found.table, options.csv, run, CONFIRMATION)
    metric = run.config.task.metric
    values = (metric.validation, "sd", "low", "high", metric.search)
    recipes = ["recipe"] if found.table.recipe.nunique() == 1 else []
    table = found.table.drop(columns=["reason", "shrinkage_low", "shrinkage_high", *recipes])
    formats: dict[str, Callable[..., str]] = dict.fromkeys(values, metric.cell)
    formats |= {
        "shrinkage": metric.signed_cell,
        "params": "{:,}".format,
        "chance": "{:.2f}".format,
        "tied": yes_or_blank,
    }
    print(f"{found}\n\n{table.to_string(formatters=formats)}")
    print_words("", legend(confirmation_meanings(found.repeat), table.columns))
    if run.config.baseline:
        print_words(run.config.baseline.sentence())
    print(written)
    if found.judged:
        print_path(f"To export the best: {command('export', run.path)}")
    if found.wanted:
        print("The time is up: run the same command again to resume.")
    return 0


def add_degradation(verbs: Verbs) -> None:
    """Define ``skipsearch degradation``."""
    verb = verbs.add_parser(
        "degradation", help="test whether deeper networks are worse, in a run or a space"
    )
    verb.add_argument("what", metavar="RUN|SPACE.yaml")
    verb.add_argument(
        "--epochs",
        type=positive,
        metavar="E",
        help="epoch to compare at (default: the full budget; required for a space)",
    )
    verb.add_argument(
        "--loss",
        type=float,
        metavar="L",
        help="training loss; show after how many epochs it is reached",
    )
    add_csv(verb, DEGRADATION)
    verb.add_argument("--out", metavar="RUN", help="for a space: run folder")
    verb.add_argument(
        "--seeds",
        type=positive,
        metavar="K",
        help=f"for a space: trainings of each design (default {DEGRADATION_SEEDS})",
    )
    add_session(verb)
    add_training(verb)
    verb.set_defaults(verb=degradation)


def degradation(options: argparse.Namespace) -> int:
    """Show whether deeper networks are worse, in a run or in a space that is trained first."""
    from skipsearch.analysis.legends import degradation_legend
    from skipsearch.run import Run

    ready = options.what in ready_names()
    of_space = ready or options.what.endswith((".yaml", ".yml"))
    for name in ("epochs", "out") if of_space else ():
        if getattr(options, name) is None:
            folder = f" (the run folder of that name is ./{options.what})" if ready else ""
            raise RunError(f"{name}: a space is trained first: give --{name}{folder}")
    for name in () if of_space else ("out", "seeds"):
        if getattr(options, name) is not None:
            raise RunError(f"{name}: is for a space; what {options.what} holds is trained already")
    check_writable(options.csv)
    run = _trained(options) if of_space else Run.open(options.what)
    if run.outcome is not None and run.outcome.interrupted:
        print("Interrupted: run the same command again to resume.")
        return EXIT_INTERRUPTED
    found = run.degradation(options.epochs, options.loss)
    if found.table.empty:
        print_path(f"{run.path}: no trial has been recorded yet")
        return 0
    table = found.table.merge(found.verdicts[["group", "verdict"]], on="group")
    written = write_csv(table, options.csv, run, DEGRADATION, index=False)
    baseline = run.config.baseline
    print(*found.words, *([baseline.sentence()] if baseline else []), "", sep="\n")
    axes = list(table.columns[2 : table.columns.get_loc("depths")])
    varying = [axis for axis in axes if table[axis].nunique() > 1]
    errors = [f"{split}_error{end}" for split in ("train", "validation") for end in ("", "_sd")]
    shown = ["verdict", *varying, "layers", "n", *errors, "train_loss", "epochs_to_loss"]
    text = table[shown].to_string(
        index=False,
        formatters=dict.fromkeys(errors, run.config.task.metric.cell),
        float_format="{:.4g}".format,
        na_rep="-",
    )
    print(text)
    print_words(
        "",
        degradation_legend(run.config.scale.repeat),
        "Of 100 groups in which nothing depends on depth, about 5 at most get a verdict other than"
        " tied.",
    )
    print(written)
    return 0


def _trained(options: argparse.Namespace) -> Run:
    """Train all designs of a space with all seeds."""
    from skipsearch.run.searching import search

    return search(
        options.what,
        options.data,
        trials=None,
        epochs=options.epochs,
        out=options.out,
        seed=options.seed,
        recipe=read_recipe(options.recipe),
        sampler="grid",
        scheduler="none",
        seeds=options.seeds or DEGRADATION_SEEDS,
        metric=options.metric,
        **data_options(options),
        on_data=print_data,
        **session_options(options),
    )
