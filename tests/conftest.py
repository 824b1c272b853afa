"""What every test file shares."""

from collections.abc import Iterator

import pytest
import torch

# Begun first: they take minutes, and none shall be left to one worker at the end.
LONG = ("test_trouble.py", "test_search.py", "test_torture.py", "test_product.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """On a busy machine, threads wait for each other far longer than small networks compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
