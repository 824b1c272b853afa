"""Train the leaders of a run again with new seeds, and judge them by that."""

from __future__ import annotations

from pathlib import Path

from skipsearch import analysis
from skipsearch.errors import RunError
from skipsearch.recipe import Recipe
from skipsearch.run.folder import Run
from skipsearch.run.lock import locked
from skipsearch.run.places import CONFIRM, CONFIRMATIONS
from skipsearch.searching.asked import fixed
from skipsearch.searching.cluster import Resources, ray_session
from skipsearch.searching.driver import Limits
from skipsearch.searching.rounds import train_rounds
from skipsearch.searching.study import Plan
from skipsearch.text import dump_yaml, write_atomically


def confirm(
    run: Run,
    top: int,
    seeds: int,
    *,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    resources: Resources,
    limits: Limits,
    deterministic: bool = False,
    verbose: bool = False,
) -> analysis.Confirmation:
    """Train the leaders of a run again with new seeds; see ``Run.confirm``.

    Args:
        run: The run.
        top: How many leaders.
        seeds: New seeds at most.
        data: Where the data are now, if not where they were.
        data_root: Folder of the data set's files, likewise.
        resources: Of the session.
        limits: Of the session.
        deterministic: Whether a GPU must give the same bits again.
        verbose: Whether to show what Ray prints.

    Raises:
        RunError, KeyboardInterrupt: As ``Run.confirm``.
    """
    for name, value, least in (("top", top, 1), ("seeds", seeds, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RunError(f"{name}: {value!r} is not a whole number from {least}")
    with locked(run.path):
        earlier = run.asked_to_confirm()
        kept = earlier["leaders"] if earlier else ()
        leaders = analysis.leaders(run.rank(), run.trials(), top, kept)
        if not leaders:
            raise RunError(f"{run.path}: nothing to confirm: no training has ended well")
        keys = [first.key for first, *_ in leaders]
        text = dump_yaml({"leaders": keys, "seeds": seeds})
        found = run.judged(leaders, seeds, run.confirmations())
        if not found.wanted:
            write_atomically(run.path / CONFIRM, text)
            return found
        images, params = run.load_data("cpu", data, data_root), run.study.params()
        plan = Plan(
            space=run.space,
            recipe=Recipe.from_dict(run.asked["recipe"]),
            trials=0,
            seed=run.asked["seed"],
            sampler="random",  # it proposes nothing
        )
        with ray_session(resources, verbose) as share:
            write_atomically(run.path / CONFIRM, text)
            outcome = train_rounds(
                run.path / CONFIRMATIONS,
                plan,
                lambda trainings: [
                    (params[leader.number], seed)
                    for leader, seed in run.judged(leaders, seeds, trainings).wanted
                ],
                images.without_test(),
                (run.path / "checkpoints").absolute(),
                share=share,
                limits=limits,
                asked=fixed(run.asked),
                deterministic=deterministic,
                verbose=verbose,
            )
    if outcome.interrupted and not outcome.out_of_time:
        raise KeyboardInterrupt
    return run.judged(leaders, seeds, run.confirmations())
