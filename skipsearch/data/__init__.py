"""Image data: fixed splits of uint8 tensors on the device, and operations on a batch of them."""

from skipsearch.data.augment import augment, draw, normalise
from skipsearch.data.images import Data, Split
from skipsearch.data.loading import load_data
from skipsearch.data.pictures import read_picture

__all__ = ["Data", "Split", "augment", "draw", "load_data", "normalise", "read_picture"]
