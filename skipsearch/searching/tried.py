"""The tried candidates of a space, and replacements for known proposals."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from skipsearch.axes import Value
from skipsearch.space import ENUMERABLE, TRIES, Candidate, Space

WALK = 50  # steps from a known design to an untried one, in a space too large to list


@dataclass
class _Known:
    """A tried design and recipe: parameters and seeds."""

    values: Mapping[str, Value]
    seeds: set[int] = field(default_factory=set)
    failed: bool = False


class Tried:
    """The trainings of a search so far, by design, recipe and seed.

    Args:
        space: Searched space.
        first: Seed of a design's first training.
        seeds: Maximum number of trainings of one design, with the seeds from ``first`` on.
        rng: Generator for random choices.
    """

    def __init__(self, space: Space, first: int, seeds: int, rng: random.Random) -> None:
        self._space = space
        self._seeds = range(first, first + seeds)
        self._rng = rng
        self._known: dict[str, _Known] = {}
        self._untried: dict[str, Candidate] | None = None  # of a space that can be listed
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, training: tuple[str, int]) -> bool:
        key, seed = training
        return key in self._known and seed in self._known[key].seeds

    def add(self, key: str, seed: int, values: Mapping[str, Value]) -> None:
        """Add a training, which may already be present.

        Args:
            key: Key of its design and recipe, see ``Candidate.key``.
            seed: Seed of the training.
            values: Values of its active parameters.
        """
        known = self._known.setdefault(key, _Known(values))
        self._count += seed not in known.seeds
        known.seeds.add(seed)
        if self._untried is not None:
            self._untried.pop(key, None)

    def fail(self, key: str) -> None:
        """Mark a design as failing: it is not tried with another seed."""
        self._known[key].failed = True

    def further_seeds(self, key: str) -> list[int]:
        """Return the seeds that a design was not trained with yet; none if it fails.

        Args:
            key: Key of the design and recipe, which may be new.
        """
        known = self._known.get(key)
        if known is None:
            return list(self._seeds)
        return [] if known.failed else [s for s in self._seeds if s not in known.seeds]

    def incomplete(self) -> tuple[Mapping[str, Value], int] | None:
        """Return the values and the next seed of a known design that lacks one; None without one.

        The design with the most trainings is first.
        """
        for key, known in sorted(self._known.items(), key=lambda item: -len(item[1].seeds)):
            if further := self.further_seeds(key):
                return known.values, further[0]
        return None

    def replacement(self, proposal: Candidate | None) -> tuple[Candidate, int] | None:
        """Return a replacement for a proposal, and its seed; None if nothing is left.

        In this order: an untried neighbour of the proposal, a further seed of it, the nearest
        untried candidate, a further seed of any other.

        Args:
            proposal: Known or invalid proposal; None if it could not be built.
        """
        first = self._seeds[0]
        untried = self._nearest_untried(proposal)
        if untried is not None and (proposal is None or _distance(untried, proposal) == 1):
            return untried, first
        if proposal is not None:
            seed = self._further_seed(proposal.key)
            if seed is not None:
                return proposal, seed
        if untried is not None:
            return untried, first
        for key in sorted(self._known, key=lambda key: len(self._known[key].seeds)):
            seed = self._further_seed(key)
            if seed is not None:
                return self._space.candidate(self._known[key].values), seed
        return None

    def _further_seed(self, key: str) -> int | None:
        return next(iter(self.further_seeds(key)), None) if key in self._known else None

    def _nearest_untried(self, proposal: Candidate | None) -> Candidate | None:
        if self._space.size is None or self._space.size > ENUMERABLE:
            return self._reached_untried(proposal)
        if self._untried is None:
            candidates = self._space.candidates()
            self._untried = {each.key: each for each in candidates if each.key not in self._known}
        untried = list(self._untried.values())
        if not untried:
            return None
        if proposal is None:
            return self._rng.choice(untried)
        self._rng.shuffle(untried)
        return min(untried, key=lambda other: _distance(other, proposal))

    def _reached_untried(self, proposal: Candidate | None) -> Candidate | None:
        """Walk from a proposal, one axis per step, until there is an untried neighbour."""
        here = proposal
        for _ in range(WALK):
            neighbours = [] if here is None else list(self._space.neighbours(here))
            untried = [each for each in neighbours if each.key not in self._known]
            if untried:
                return self._rng.choice(untried)
            if not neighbours:
                break
            here = self._rng.choice(neighbours)
        for _ in range(TRIES):
            drawn = self._space.draw(self._rng)
            if drawn.key not in self._known:
                return drawn
        return None


def _distance(a: Candidate, b: Candidate) -> int:
    """Count the parameters in which two candidates differ, including those that only one has."""
    names = {*a.values, *b.values}
    return sum(
        a.values.get(name) != b.values.get(name) or (name in a.values) != (name in b.values)
        for name in names
    )
