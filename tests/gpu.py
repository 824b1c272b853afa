"""What tests that need a GPU share."""

import contextlib
import warnings
from collections.abc import Iterator

import pytest
import torch

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@contextlib.contextmanager
def never_waits() -> Iterator[None]:
    """Raise where the host waits for the GPU; PyTorch warns of this mode when it is turned on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
