"""Small data sets of dense tasks, made by hand."""

import torch
from torch import Tensor

from skipsearch.data import Data, Split
from skipsearch.data.split import IGNORED
from skipsearch.data.summaries import mean_and_std
from skipsearch.task import DENOISING, SEGMENTATION

HEIGHT, WIDTH = 12, 10
NAMES = ("dark", "middle", "bright")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_images(count: int, seed: int, channels: int = 3) -> Tensor:
    """Images (count, channels, 12, 10) of a few large patches, uint8."""
    coarse = torch.rand(count, channels, 4, 3, generator=seeded(seed))
    whole = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    return (255 * whole).round().to(torch.uint8)


def masks_of(images: Tensor) -> Tensor:
    """The class of each pixel by its brightness; a corner of each mask is ignored."""
    masks = torch.bucketize(images.float().mean(1), torch.tensor([100.0, 150.0])).to(torch.uint8)
    masks[:, :2, :2] = IGNORED
    return masks


def made(task: str, sigma: float = 0.0, train: int = 40, channels: int = 3) -> Data:
    """A data set of a dense task with 40 training, 12 validation and 12 test images."""
    segments = task == SEGMENTATION.name
    splits = []
    for seed, count in enumerate((train, 12, 12)):
        images = smooth_images(count, seed, channels)
        labels = masks_of(images) if segments else torch.zeros(count, dtype=torch.int64)
        splits.append(Split(images, labels))
    mean, std = mean_and_std(splits[0].images)
    return Data(
        name="made",
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        class_names=NAMES,
        mean=mean,
        std=std,
        split_seed=0,
        augmentation={"crop": 2, "flip": True, "cutout": 0},
        origin="made by hand",
        fingerprint="0" * 16,
        task=SEGMENTATION if segments else DENOISING,
        sigma=sigma,
    )


def segmentation() -> Data:
    return made(SEGMENTATION.name)


def denoising(sigma: float = 25.0) -> Data:
    return made(DENOISING.name, sigma)
