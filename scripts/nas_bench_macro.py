"""NAS-Bench-Macro as a table for replayed searches; a part of ``benchmark_samplers.py``.

6,561 networks of eight layers, each skipped or one of two blocks, were trained from scratch on
CIFAR-10 with three seeds each (Su et al. 2021, arXiv:2103.11922). The file is
``nas-bench-macro_cifar10.json`` of github.com/xiusu/NAS-Bench-Macro, which is not included here.

For a sampler, the layers are eight axes with three levels each. Here they are the layouts of eight
stages. Any three layouts serve, since nothing is built or trained.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from skipsearch.recipe import Recipe
from skipsearch.space import Candidate, Space

LAYERS = 8
WORDS = ("conv1-bn +", "conv3-bn +", "conv5-bn +")  # for 0, 1 and 2
IMAGES = 10_000  # images over which an accuracy is computed


class Macro(Space):
    """The space of the table, whose candidates are listed only once per process."""

    def candidates(self) -> Iterator[Candidate]:
        """Yield every candidate, once."""
        return iter(_candidates())


def space() -> Space:
    """Return the space of the table, with the recipe of a study: one epoch."""
    found = Macro.from_dict(
        {
            "name": "nas-bench-macro",
            "base": {"widths": [1] * LAYERS, "depths": [1] * LAYERS, "stem_width": 1},
            "axes": {f"layout[{n}]": list(WORDS) for n in range(LAYERS)},
        }
    )
    return replace(found, recipe=Recipe(epochs=1).to_dict(), image_size=256)


@cache
def _candidates() -> list[Candidate]:
    return list(Space.candidates(space()))


def read(file: Path) -> dict[str, list[float]]:
    """Return the accuracy of each seed, by the key of the candidate."""
    seeds = {
        name: [accuracy / 100 for accuracy in network["test_acc"]]
        for name, network in json.loads(file.read_text(encoding="utf-8")).items()
    }
    return {each.key: seeds[_name(each)] for each in _candidates()}


def _name(candidate: Candidate) -> str:
    return "".join(str(WORDS.index(candidate.values[f"layout[{n}]"])) for n in range(LAYERS))
