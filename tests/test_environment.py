"""How a GPU computes: what is switched for a training and put back after it.

The switches are PyTorch's own and can be read on any machine.
"""

import os
from collections.abc import Iterator
from typing import cast

import pytest
import torch

from skipsearch.training.environment import current, drawing_from, kernels, numerics_key
from skipsearch.training.interleaving import requested_so_far

GPU = torch.device("cuda", 0)
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """Put back what a test switches."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.deterministic
    precisions = cudnn.conv.fp32_precision, matmul.fp32_precision
    yield
    cudnn.benchmark, cudnn.deterministic = before
    cudnn.conv.fp32_precision, matmul.fp32_precision = precisions


@pytest.mark.parametrize(
    ("deterministic", "tune", "benchmark"),
    [(False, True, True), (False, False, False), (True, True, False), (True, False, False)],
)
def test_kernels_are_tuned_or_deterministic(
    deterministic: bool, tune: bool, benchmark: bool
) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    with kernels(GPU, deterministic, tune):
        assert (cudnn.benchmark, cudnn.deterministic) == (benchmark, deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert (cudnn.benchmark, cudnn.deterministic) == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_deterministic_algorithms_are_switched_where_they_are_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The switch imports the compiler's settings: nothing for every step.
    calls: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", calls.append)
    with kernels(GPU, deterministic=False):
        pass
    assert calls == []
    with kernels(GPU, deterministic=True):
        pass
    assert calls == [True, False]


@pytest.mark.parametrize("deterministic", [False, True])
def test_cublas_knows_its_workspace_before_the_first_product(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It reads the variable once: at a plain training's first product too.
    monkeypatch.delenv(CUBLAS, raising=False)
    with kernels(GPU, deterministic):
        assert os.environ[CUBLAS] == ":4096:8"
    monkeypatch.setenv(CUBLAS, ":16:8")
    with kernels(GPU, deterministic):
        assert os.environ[CUBLAS] == ":16:8"


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
def test_the_caller_chooses_whether_float32_is_shortened(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    torch.backends.cudnn.conv.fp32_precision = precision
    with kernels(GPU, deterministic=False):
        assert torch.backends.cudnn.conv.fp32_precision == precision
    key = numerics_key(GPU, None)
    assert ("float32 with TF32 convolutions," in key) == (precision == "tf32")
    assert "TF32" not in numerics_key(GPU, torch.bfloat16)
    assert "TF32" not in numerics_key(torch.device("cpu"), None)


def test_products_of_shorter_numbers_are_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    assert "products" not in numerics_key(GPU, None)
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    assert "float32 with TF32 convolutions and products," in numerics_key(GPU, None)
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    assert "float32 with TF32 products," in numerics_key(GPU, None)


class Generator:
    """A generator of a GPU, whose state can be exchanged."""

    device = GPU

    def __init__(self, state: str) -> None:
        self.state = state

    def graphsafe_get_state(self) -> "Generator":
        return Generator(self.state)

    def graphsafe_set_state(self, other: "Generator") -> None:
        self.state = other.state


def test_a_training_draws_from_its_own_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    # A graph reads the seed where its generator keeps it: not where its neighbour's would.
    default = Generator("default")
    monkeypatch.setattr(torch.cuda, "default_generators", (default,))
    own = cast("torch.Generator", Generator("own"))
    with drawing_from(own):
        assert default.state == "own"
    assert default.state == "default"
    with pytest.raises(RuntimeError, match="a step fails"), drawing_from(own):
        raise RuntimeError("a step fails")
    assert default.state == "default"


def test_nothing_is_switched_on_the_cpu() -> None:
    cpu = torch.device("cpu")
    state = torch.get_rng_state()
    with kernels(cpu, deterministic=True), current(cpu), drawing_from(None):
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_work_belongs_to_the_device_that_was_named() -> None:
    second = current(torch.device("cuda", 1))
    assert isinstance(second, torch.cuda.device)
    assert second.idx == 1


def test_a_turn_is_waited_for_without_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, bool]] = []
    recorded: list[object] = []

    class Event:
        def __init__(self, **how: bool) -> None:
            made.append(how)

        def record(self, stream: object) -> None:
            recorded.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("stream of", device))
    assert isinstance(requested_so_far(torch.device("cuda", 1)), Event)
    assert made == [{"blocking": True}]
    assert recorded == [("stream of", torch.device("cuda", 1))]
