"""Ids of designs and recipes."""

import pytest

from skipsearch.ids import hashed, is_meant


def test_an_id_begins_with_that_of_earlier_versions() -> None:
    # blake2b of five bytes, as they had it.
    assert hashed("{}") == "f43abb3290" + hashed("{}")[10:]
    assert len(hashed("{}")) == 16


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("0123456789abcdef-fedcba9876543210", True),
        ("0123456789-fedcba9876", True),  # of an earlier version
        ("0123456789abcdef", True),
        ("01", True),
        ("0123456789-", True),
        ("0123456789-f0", False),
        ("1", False),
        ("", False),
        ("-fedcba", False),
    ],
)
def test_first_digits_mean_a_design_and_a_recipe(name: str, is_it: bool) -> None:
    assert is_meant("0123456789abcdef-fedcba9876543210", name) is is_it
