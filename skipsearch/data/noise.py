"""Gaussian noise that is a pure function of an integer key for each image.

It needs no generator: the same keys give the same bits on every device, in a step recorded as a
CUDA graph, and in a pack of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import torch
from torch import Tensor

# Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"
# (doi:10.1145/2063384.2063405): a hash of a counter of four words of 32 bits by a key of two.
FACTORS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF  # the lower 32 bits of an int64

LEVELS = 2**16  # equally likely levels of the noise: each word gives two values
A_BLOCK = 8  # noise values for each value of the counter


def noise(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Return independent values of the standard normal distribution.

    They have 65,536 equally likely levels, up to 4.3 deviations on either side of 0.

    Args:
        keys: Key (N,) of each image, int64; different keys give independent noise.
        shape: Shape of an image.

    Returns:
        Noise (N, *shape), float32, on the device of the keys.
    """
    numbers = prod(shape)
    blocks = torch.arange(-(-numbers // A_BLOCK), device=keys.device)
    zero = torch.zeros_like(blocks)
    key = (keys[:, None] & WORD, keys[:, None] >> 32 & WORD)
    words = torch.stack(philox((blocks, zero, zero, zero), key), dim=2).flatten(1)
    levels = torch.stack([words & 0xFFFF, words >> 16], dim=2).flatten(1)[:, :numbers]
    return quantiles(keys.device)[levels].view(-1, *shape)


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the four words of Philox4x32-10 for each counter and key.

    Args:
        counter: Four words of 32 bits, as int64.
        key: Two words, whose shapes can be broadcast with those of the counter.
    """
    a, b, c, d = counter
    k, m = key
    for _ in range(ROUNDS):
        # A product of two words may overflow into the sign bit; its 64 bits are still correct.
        left, right = a * FACTORS[0], c * FACTORS[1]
        a, b = (right >> 32 & WORD) ^ b ^ k, right & WORD
        c, d = (left >> 32 & WORD) ^ d ^ m, left & WORD
        k, m = k + STEPS[0] & WORD, m + STEPS[1] & WORD
    return a, b, c, d


@cache
def quantiles(device: torch.device) -> Tensor:
    """Return the levels (65536,) of the noise, in ascending order, with a deviation of 1.

    They are computed on the CPU, since normal quantiles may differ between devices.
    """
    middles = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    levels: Tensor = torch.special.ndtri(middles)
    return (levels / levels.square().mean().sqrt()).float().to(device)
