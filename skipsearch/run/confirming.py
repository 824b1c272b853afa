"""Training the leaders of a run again with new seeds, to judge them."""

from __future__ import annotations

from pathlib import Path

from skipsearch import analysis
from skipsearch.config import ConfirmConfig
from skipsearch.data import Data
from skipsearch.defaults import LEADER_SEEDS, LEADERS
from skipsearch.errors import RunError
from skipsearch.run.dataset import load_again
from skipsearch.run.folder import Run
from skipsearch.run.lock import locked
from skipsearch.run.places import CONFIRM, CONFIRMATIONS
from skipsearch.run.seeds import first_new_seed
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.options import Limits, Resources
from skipsearch.searching.plans import Plan
from skipsearch.searching.rounds import train_rounds
from skipsearch.text import dump_yaml, write_atomically


def confirm(
    run: Run,
    top: int = LEADERS,
    seeds: int = LEADER_SEEDS,
    *,
    data: str | Path | Data | None = None,
    data_root: str | Path | None = None,
    resources: Resources = Resources(),
    limits: Limits = Limits(),
    deterministic: bool = False,
    verbose: bool = False,
) -> analysis.Confirmation:
    """Train the leaders of a run again with new seeds, until one is separated or no seed is left.

    Each is trained to the full budget, without early stopping. A round is one new seed for all
    leaders, which see the images in the same order, with the same augmentation. The first rounds
    are trained together; from the third on, the leaders are judged after each round. A further
    call resumes, and nothing is trained twice; more ``seeds`` or a larger ``top`` continue beyond
    the previous end. Earlier leaders stay leaders.

    Args:
        run: Run to confirm.
        top: Number of leaders: the highest-ranked designs, where designs that the search stopped
            early come after the others.
        seeds: Maximum number of new seeds, at least 2.
        data: Current location of the data; None for the location used by the search.
        data_root: Folder of the data set's files; None for the folder used by the search.
        resources: Resources of the trials.
        limits: Limits of time and failures.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed.
        verbose: Whether to show the output of Ray.

    Returns:
        Confirmation. If the time budget ran out, ``wanted`` has the remaining trainings.

    Raises:
        RunError: If there is nothing to confirm, the folder is in use, the data have changed,
            the resources do not exist, the disk is full, or too many trials in a row fail.
        KeyboardInterrupt: If it was interrupted; call it again to resume.
    """
    for name, value, least in (("top", top, 1), ("seeds", seeds, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RunError(f"{name}: {value!r} is not a whole number from {least}")
    with locked(run.path):
        earlier = run.confirm_config()
        kept = earlier.leaders if earlier else ()
        leaders = analysis.leaders(run.rank(), run.trials(), top, kept)
        if not leaders:
            raise RunError(f"{run.path}: nothing to confirm: no training has finished")
        asked = ConfirmConfig(tuple(first.key for first, *_ in leaders), seeds)
        text = dump_yaml(asked.to_dict())
        found = run.judged(leaders, seeds, run.confirmations())
        if not found.wanted:
            write_atomically(run.path / CONFIRM, text)
            return found
        images = load_again(run.path, run.config.data, "cpu", data, data_root)
        params = run.study.params()
        images = images.in_folds(run.config.data.folds, first_new_seed(run.config))
        plan = Plan(
            space=run.space,
            recipe=run.config.recipe,
            trials=0,
            seed=run.config.seed,
            sampler="random",  # it proposes nothing
        )
        with ray_session(resources, verbose) as allocation:
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
                allocation=allocation,
                limits=limits,
                identity=run.config.identity(),
                deterministic=deterministic,
                verbose=verbose,
            )
    if outcome.interrupted and not outcome.out_of_time:
        raise KeyboardInterrupt
    return run.judged(leaders, seeds, run.confirmations())
