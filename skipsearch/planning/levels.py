"""Levels of a network: the number of halvings at each end of a long skip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skipsearch.errors import DesignError, shown_value
from skipsearch.kinds import NO_STEM, link_place, split_link
from skipsearch.plan import BEFORE_POOL, IMAGE, OUTPUT, End

Levels = dict[End, int]


def levels_of(stem: tuple[str, ...], stages: int, ups: int) -> Levels:
    """Return the number of halvings at each end.

    Args:
        stem: Operations of the stem; one that pools halves twice (He et al. 2015,
            arXiv:1512.03385, Table 1).
        stages: Number of stages.
        ups: Number of the last stages that enlarge; every other stage but the first halves.

    Raises:
        DesignError: If a stage enlarges beyond the image, or every stage enlarges.
    """
    pools = stem[-1] == "pool"
    start = 2 if pools else 0
    levels: Levels = {IMAGE: 0}
    if pools:
        levels[BEFORE_POOL] = 1
    if stem != (NO_STEM,):
        levels[0] = start
    if ups >= stages:
        raise DesignError(f"ups: {ups} of {stages} stages enlarge; the first cannot")
    for stage in range(1, stages + 1):
        change = 0 if stage == 1 else -1 if stage > stages - ups else 1
        start += change
        levels[stage] = start
    if levels[stages] < 0:
        raise DesignError(
            f"ups: {ups} stages enlarge, and those before them halve only"
            f" {levels[stages - ups]} times"
        )
    levels[OUTPUT] = 0
    return levels


def names_all_stages(length: int, ups: int, stem: tuple[str, ...]) -> bool:
    """Return whether a list of values covers all stages, not only those that do not enlarge.

    It covers only those if all its stages together could not halve as often as ``ups`` doubles.

    Args:
        length: Length of the longest list.
        ups: Number of the last stages that enlarge.
        stem: Operations of the stem.
    """
    halving = 2 if stem[-1] == "pool" else 0
    return ups <= max(0, length - 1 - ups + halving)


def linked(words: Iterable[str], levels: Levels, ups: int) -> tuple[str, ...]:
    """Replace the words for several links by the links, and every end by its canonical name.

    ``mirror`` links each level of the encoder to the stage that enlarges to it (Ronneberger
    et al. 2015, arXiv:1505.04597, Fig. 1). ``full`` leads to each such stage from the same and all
    finer levels of the encoder, and from all coarser levels of the decoder (Huang et al. 2020,
    arXiv:2004.08790, Fig. 1c). ``nested`` adds to ``mirror`` a link from each node at the same
    level (Zhou et al. 2018, arXiv:1807.10165, Fig. 1a). With ``ups`` 0 they stand for no link.

    Args:
        words: Links and words.
        levels: Levels of the ends.
        ups: Number of stages that enlarge.

    Returns:
        Links, sorted by target, then by source.

    Raises:
        DesignError: If two of them are the same link.
    """
    links: list[str] = []
    for word in words:
        if word in WORDS:
            found = [f"{source}>{target}" for source, target in WORDS[word](levels, ups)]
        else:
            source, target = split_link(word)
            found = [f"{_usual(source, levels)}>{target}"]
        for link in found:
            if link in links:
                raise DesignError(f"links: {shown_value(link)} is listed twice (in {word})")
            links.append(link)
    return tuple(sorted(links, key=link_place))


def worded(links: tuple[str, ...], levels: Levels, ups: int) -> tuple[str, ...]:
    """Return links with the largest set that a word stands for replaced by it, as in a space.

    The inverse of ``linked``. A set of a single link stays as it is.

    Args:
        links: Links, as ``linked`` returns them.
        levels: Levels of the ends.
        ups: Number of stages that enlarge.
    """
    sets = {word: linked((word,), levels, ups) for word in WORDS}
    for word in sorted(sets, key=lambda word: -len(sets[word])):
        if len(sets[word]) > 1 and set(sets[word]) <= set(links):
            return (word, *(link for link in links if link not in sets[word]))
    return links


def _usual(end: End, levels: Levels) -> End:
    """Return the canonical name of an end; a stem without a pool has a single output."""
    if isinstance(end, str) and "." in end:
        start, _, number = end.partition(".")
        one_output = start == BEFORE_POOL and BEFORE_POOL not in levels and 0 in levels
        return f"0.{number}" if one_output else end
    if end == BEFORE_POOL and BEFORE_POOL not in levels:
        end = 0
    return IMAGE if end == 0 and 0 not in levels else end


def encoder_ends(levels: Levels, ups: int) -> dict[int, End]:
    """Return the last end of each level before the first stage that enlarges; not the image."""
    stages = last_stage(levels)
    ends = (BEFORE_POOL, 0, *range(1, stages - ups + 1))
    return {levels[end]: end for end in ends if end in levels}


def last_stage(levels: Levels) -> int:
    """Return the number of the last stage."""
    return max(end for end in levels if isinstance(end, int))


def _mirror(levels: Levels, ups: int) -> Iterator[tuple[End, End]]:
    encoder, stages = encoder_ends(levels, ups), last_stage(levels)
    for stage in range(stages - ups + 1, stages + 1):
        if levels[stage] in encoder:
            yield encoder[levels[stage]], stage


def _full(levels: Levels, ups: int) -> Iterator[tuple[End, End]]:
    encoder, stages = encoder_ends(levels, ups), last_stage(levels)
    for stage in range(stages - ups + 1, stages + 1):
        finer = sorted(level for level in encoder if level <= levels[stage])
        yield from ((encoder[level], stage) for level in finer)
        yield from ((coarser, stage) for coarser in range(stages - ups, stage - 1))


def _nested(levels: Levels, ups: int) -> Iterator[tuple[End, End]]:
    first = last_stage(levels) - ups + 1
    for start, stage in _mirror(levels, ups):
        assert isinstance(stage, int)
        yield start, stage
        yield from ((f"{start}.{number}", stage) for number in range(1, stage - first + 1))


WORDS = {"mirror": _mirror, "full": _full, "nested": _nested}
