"""Noise by key: known answers of the hash, and what makes values normal and independent."""

import pytest
import torch
from gpu import needs_cuda
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skipsearch.data.noise import LEVELS, noise, philox, quantiles

CPU = torch.device("cpu")

# Counter, key and words of Philox4x32-10: kat_vectors of Random123 (Salmon et al. 2011).
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_the_hash_has_the_known_answers(counter: str, key: str, words: str) -> None:
    asked, by, expected = (
        [torch.tensor([int(word, 16)]) for word in text.split()] for text in (counter, key, words)
    )
    assert philox(asked, by) == tuple(expected)


def test_values_are_normal() -> None:
    values = noise(torch.arange(100), (3, 20, 20)).double()
    assert values.shape == (100, 3, 20, 20)
    flat = values.flatten().numpy()
    assert abs(flat.mean()) < 4 / len(flat) ** 0.5
    assert flat.std() == pytest.approx(1, abs=4 / (2 * len(flat)) ** 0.5)
    assert stats.kstest(flat, "norm").pvalue > 0.01
    assert stats.normaltest(flat).pvalue > 0.01  # skewness and kurtosis
    assert flat.min() < -4
    assert flat.max() > 4


def test_its_levels_are_quantiles_with_a_deviation_of_one() -> None:
    levels = quantiles(CPU).double()
    assert levels.mean().item() == pytest.approx(0, abs=1e-7)
    assert levels.square().mean().item() == pytest.approx(1, abs=1e-7)
    expected = torch.from_numpy(stats.norm.ppf((torch.arange(LEVELS).numpy() + 0.5) / LEVELS))
    torch.testing.assert_close(levels, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("step", [1, 2, 2**32, 2**40])
def test_the_noise_of_different_keys_is_independent(step: int) -> None:
    first, second = noise(torch.tensor([7, 7 + step]), (4, 80, 80)).double().flatten(1)
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4 / len(first) ** 0.5
    # Nor are they shifted copies of each other.
    assert (first[:, None] == second[:20]).float().mean() < 0.01


def test_pixels_of_one_image_are_independent() -> None:
    image = noise(torch.tensor([3]), (1, 200, 200))[0, 0].double()
    count = image.numel()
    for shift in ((0, 1), (1, 0), (1, 1), (0, 8)):
        assert abs((image * image.roll(shift, (0, 1))).mean()) < 4 / count**0.5


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), st.integers(1, 20))
def test_noise_depends_on_the_key_of_its_image_alone(keys: list[int], width: int) -> None:
    together = noise(torch.tensor(keys), (2, 3, width))
    for key, image in zip(keys, together, strict=True):
        assert torch.equal(noise(torch.tensor([key]), (2, 3, width))[0], image)
    assert together.isfinite().all()


@needs_cuda
def test_noise_is_the_same_on_a_gpu() -> None:
    keys = torch.arange(50) * 2**55
    assert torch.equal(noise(keys.cuda(), (3, 17, 9)).cpu(), noise(keys, (3, 17, 9)))
