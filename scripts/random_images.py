"""Random images for timings: the speed of a step does not depend on the content of images."""

import torch

import skipsearch as ss
from skipsearch.data import Split

CHANNELS, CLASSES = 3, 10


def random_data(images: int, size: int) -> ss.Data:
    """Return a data set of random pixels, the same at each call, without augmentation.

    Args:
        images: Number of images; training and validation use the same ones.
        size: Height and width, in pixels.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (images, CHANNELS, size, size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.randint(0, CLASSES, (images,), generator=generator))
    return ss.Data(
        name="random",
        train=split,
        validation=split,
        test=None,
        class_names=tuple("0123456789"),
        mean=(0.5,) * CHANNELS,
        std=(0.25,) * CHANNELS,
        split_seed=0,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        origin="random",
        fingerprint="0" * 16,
    )
