"""What tests of data ask of what was loaded, and of what was refused."""

from pathlib import Path

import numpy as np
import pytest
from made_data import pair

from skipsearch.data import Data, Split, load_data
from skipsearch.errors import DataError


def splits(data: Data) -> dict[str, Split]:
    assert data.test is not None
    return {"train": data.train, "validation": data.validation, "test": data.test}


def sizes(data: Data) -> list[int]:
    return [len(split) for split in splits(data).values()]


def assert_pairs(data: Data, count: int) -> None:
    """Check that all pairs of `pair` are there, once, each image with its mask."""
    seen = []
    for split in splits(data).values():
        for image, mask in zip(split.images, split.labels, strict=True):
            number = int(image[0, 0, 0])
            expected_image, expected_mask = pair(number, data.classes)
            assert np.array_equal(image.permute(1, 2, 0), expected_image)
            assert np.array_equal(mask, expected_mask)
            seen.append(number)
    assert sorted(seen) == list(range(count))


def refusal(path: Path, **asked: object) -> str:
    with pytest.raises(DataError) as caught:
        load_data(path, **asked)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message
