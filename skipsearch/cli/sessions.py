"""The verbs that begin a session of many trainings: search, confirm, degradation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from skipsearch.cli.words import (
    EXIT_INTERRUPTED,
    check_writable,
    command,
    listed,
    print_data,
    read_recipe,
    session_options,
    write_csv,
)
from skipsearch.errors import RunError, counted
from skipsearch.ready import ready_names

if TYPE_CHECKING:
    from skipsearch.early_stopping import EarlyStopping
    from skipsearch.run import Run


def search_space(options: argparse.Namespace) -> int:
    """Search a space, or go on with it."""
    from skipsearch.record import ASK_BEST
    from skipsearch.run.searching import search

    ask = listed(options.ask)
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
        objectives=listed(options.objectives) if options.objectives else None,
        latency_batch=options.latency_batch,
        data_root=options.data_root,
        image_size=options.image_size,
        log=options.log,
        storage=options.storage,
        on_data=print_data,
        **session_options(options),
    )
    assert run.outcome is not None
    print(*run.outcome.answers, sep="\n", end="\n" * bool(run.outcome.answers))
    if run.outcome.exhausted:
        print("The space holds no further design: the search ends early.")
    if run.outcome.out_of_time:
        print("The time is up: run the same command again to go on.")
        return 0
    if run.outcome.interrupted:
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    if run.outcome.running_elsewhere:
        trials = counted(run.outcome.running_elsewhere, "trial")
        print(f"Other searches of this study are still at {trials}.")
    if run.outcome.settled:
        print("The question is settled, so the search ends.")
    elif ask != [ASK_BEST]:
        more = f"--seeds {options.seeds + 2}" if run.outcome.exhausted else ""
        more = more or f"--trials {2 * run.config.trials}"
        print(f"The question is still open: run the same command again with {more} to go on.")
    print(f"The trials are in {run.path}; see: {command('rank', run.path)}")
    return 0


def _early_stopping(options: argparse.Namespace) -> EarlyStopping | None:
    """Return what was asked for; None for what the run has, or the default."""
    from skipsearch.early_stopping import EarlyStopping

    stopping = EarlyStopping(
        rule=options.scheduler or "none",
        grace=options.grace,
        reduction_factor=options.reduction_factor,
        brackets=options.brackets,
        audit=options.audit,
    )
    if options.scheduler is not None:
        return stopping
    if stopping.details() != EarlyStopping().details():
        raise RunError(
            "grace, reduction-factor, brackets, audit: they are for early stopping; give"
            " --scheduler asha or --scheduler median too"
        )
    return None


def confirm(options: argparse.Namespace) -> int:
    """Train the leaders of a run again with new seeds."""
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
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    written = write_csv(found.table, options.csv, run, "confirmation.csv")
    metric = run.config.task.metric
    shares = (metric.validation, "sd", "low", "high", metric.search, "shrinkage")
    recipes = ["recipe"] if found.table.recipe.nunique() == 1 else []
    table = found.table.drop(columns=["reason", "shrinkage_low", "shrinkage_high", *recipes])
    formats = dict.fromkeys(shares, "{:.4f}".format)
    formats |= {"params": "{:,}".format, "chance": "{:.3f}".format}
    print(f"{found}\n\n{table.to_string(formatters=formats)}")
    print(
        "\nlow, high: 95 % interval of the mean over n seeds; chance: of being the best of these;"
        f"\nshrinkage: how much of {metric.search} was luck.\n{written}"
    )
    if found.wanted:
        print("The time is up: run the same command again to go on.")
    return 0


def degradation(options: argparse.Namespace) -> int:
    """Tell whether deeper is worse: of a run, or of a space that is trained for it."""
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
        print("Interrupted: run the same command again to go on.")
        return EXIT_INTERRUPTED
    found = run.degradation(options.epochs, options.loss)
    if found.table.empty:
        print(f"{run.path}: no trial has been recorded yet")
        return 0
    table = found.table.merge(found.verdicts[["group", "verdict"]], on="group")
    written = write_csv(table, options.csv, run, "degradation.csv", index=False)
    print(*found.words, "", sep="\n")
    axes = list(table.columns[2 : table.columns.get_loc("depths")])
    varying = [axis for axis in axes if table[axis].nunique() > 1]
    errors = [f"{split}_error{end}" for split in ("train", "validation") for end in ("", "_sd")]
    shown = ["verdict", *varying, "layers", "n", *errors, "train_loss", "epochs_to_loss"]
    print(table[shown].to_string(index=False, float_format="{:.4g}".format, na_rep="-"))
    print(
        "\nErrors are shares, means over n seeds with their deviation, all after the same number of"
        f" epochs.\nOf 100 groups in which nothing depends on depth, about 5 at most get a verdict"
        f" other than tied.\n{written}"
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
        recipe=read_recipe(options.recipe),
        sampler="grid",
        scheduler="none",
        seeds=options.seeds or 3,
        data_root=options.data_root,
        image_size=options.image_size,
        on_data=print_data,
        **session_options(options),
    )
