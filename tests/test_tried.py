"""What is tried instead of a proposal that is known: nearest first, and nothing twice."""

from __future__ import annotations

import random

import pytest

from skipsearch.searching.tried import Tried
from skipsearch.space import Candidate, Space

# A square of 3 x 3: a candidate's place is (groups of values on both axes).
SPACE = Space.from_yaml(
    """
name: square
base: {layout: conv3-bn-relu-conv3-bn + relu, widths: [8]}
axes:
  depths: [[1], [2], [3]]
  drop_path: [0.0, 0.1, 0.2]
"""
)


def at(depth: int, rate: float) -> Candidate:
    return SPACE.candidate({"depths": (depth,), "drop_path": rate})


def tried(*places: tuple[int, float], seeds: int = 1) -> Tried:
    known = Tried(SPACE, 5, seeds, random.Random(0))
    for place in places:
        known.add(at(*place).key, 5, at(*place).values)
    return known


CROSS = ((1, 0.0), (1, 0.1), (1, 0.2), (2, 0.0), (3, 0.0))  # (1, 0.0) and all its neighbours
REST = {(2, 0.1), (2, 0.2), (3, 0.1), (3, 0.2)}
ALL = (*CROSS, *sorted(REST))


def place(found: tuple[Candidate, int] | None) -> tuple[int, float, int]:
    assert found is not None
    candidate, seed = found
    return candidate.values["depths"][0], candidate.values["drop_path"], seed


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_untried_neighbour_comes_first(seeds: int) -> None:
    known = tried(*CROSS[:-1], seeds=seeds)
    assert place(known.replacement(at(1, 0.0))) == (3, 0.0, 5)


def test_a_further_seed_comes_before_what_is_far_away() -> None:
    known = tried(*CROSS, seeds=2)
    assert place(known.replacement(at(1, 0.0))) == (1, 0.0, 6)
    known.add(at(1, 0.0).key, 6, at(1, 0.0).values)
    assert place(known.replacement(at(1, 0.0)))[:2] in REST


def test_without_further_seeds_the_nearest_untried_comes() -> None:
    depth, rate, seed = place(tried(*CROSS).replacement(at(1, 0.0)))
    assert (depth, rate) in REST
    assert seed == 5


def test_a_design_that_failed_gets_no_further_seed() -> None:
    known = tried(*CROSS, seeds=2)
    known.fail(at(1, 0.0).key)
    assert place(known.replacement(at(1, 0.0)))[:2] in REST


def test_where_all_is_tried_others_get_further_seeds_and_then_nothing_is_left() -> None:
    known = tried(*ALL, seeds=2)
    assert len(known) == 9
    for count in range(9):
        found = known.replacement(at(2, 0.1))
        *where, seed = place(found)
        assert seed == 6
        assert count > 0 or where == [2, 0.1]
        assert found is not None
        assert (found[0].key, 6) not in known
        known.add(found[0].key, 6, found[0].values)
    assert known.replacement(at(2, 0.1)) is None
    assert len(known) == 18


def test_a_training_counts_once() -> None:
    known = tried((1, 0.0), (1, 0.0))
    assert len(known) == 1
    assert (at(1, 0.0).key, 5) in known
    assert (at(1, 0.0).key, 6) not in known
    assert (at(2, 0.0).key, 5) not in known


def test_something_untried_comes_instead_of_what_could_not_be_built() -> None:
    assert place(tried(*ALL[:-1]).replacement(None))[:2] == ALL[-1]
    assert tried(*ALL).replacement(None) is None
