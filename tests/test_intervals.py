"""Intervals against published values."""

import numpy as np
import pytest

from skipsearch.intervals import rounding, wilson


def test_wilson_gives_the_published_intervals() -> None:
    # Brown, Cai & DasGupta 2001 give the formula; the values are those of R's binom.wilson.
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize("n", [10, 359])
def test_rounding_has_the_variance_that_rounded_shares_show(n: int) -> None:
    shares = np.random.default_rng(0).uniform(size=100_000)
    errors = np.round(shares * n) / n - shares
    assert errors.var() == pytest.approx(rounding(n), rel=0.02)
