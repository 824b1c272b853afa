"""Image data: fixed splits as tensors on the device, and operations on a batch of them."""

from skipsearch.data.augment import augment, draw, normalise
from skipsearch.data.dataset import Data
from skipsearch.data.image_files import read_picture
from skipsearch.data.load_options import LoadOptions
from skipsearch.data.loading import load_data, on_this_machine
from skipsearch.data.split import Split

__all__ = [
    "Data",
    "LoadOptions",
    "Split",
    "augment",
    "draw",
    "load_data",
    "normalise",
    "on_this_machine",
    "read_picture",
]
