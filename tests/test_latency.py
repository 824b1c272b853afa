"""Latency: what is measured, how often, and that nothing of the caller's is changed.

No test holds a time against a number of seconds; one holds two networks against each other.
"""

import copy
import statistics
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import RecipeError, TrainingError
from skipsearch.models import Network, build
from skipsearch.training.environment import numerics_key
from skipsearch.training.latency import (
    LEAST_REPEATS,
    LEAST_SECONDS,
    MOST_REPEATS,
    WARM_UP,
    Latency,
    latency,
    measure,
    summarise,
)

CPU = torch.device("cpu")


def network(depth: int = 1, width: int = 4) -> Network:
    """With what a pass in training mode would change: batch statistics, and dropout's draws."""
    layout = "bn-relu-conv3-dropout-bn-relu-conv3 +"
    return build(
        Design(layout=layout, depths=(depth,), widths=(width,), dropout=0.3, drop_path=0.2)
    )


def of(model: nn.Module, precision: str = "float32") -> Latency:
    return latency(model, 2, 3, 8, "cpu", precision)


class Watch(nn.Module):
    """Notes how it is called; copies of it note in the same place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen: list[tuple[object, ...]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> "Watch":
        twin = Watch()
        twin.load_state_dict(self.state_dict())
        twin.seen = self.seen
        return twin

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        self.seen.append((self.training, torch.is_inference_mode_enabled(), x.shape, y.dtype))
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        return y


# --- what is measured ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_every_pass_is_one_of_evaluation_laid_out_and_computed_as_in_training(
    precision: str, dtype: torch.dtype
) -> None:
    model = Watch().train()
    measured = latency(model, 5, 3, 9, "cpu", precision)
    assert set(model.seen) == {(False, True, (5, 3, 9, 9), dtype)}
    assert len(model.seen) == WARM_UP + measured.repeats


def test_a_latency_tells_what_it_was_measured_on() -> None:
    measured = latency(network(), 3, 3, 8, torch.device("cpu"), "bfloat16")
    assert measured.batch_size == 3
    assert measured.numerics == numerics_key(CPU, torch.bfloat16)
    assert of(network()).numerics == numerics_key(CPU, None)


def test_a_latency_is_positive_and_finite() -> None:
    measured = of(network(), "auto")
    assert 0 < measured.seconds < float("inf")
    assert 0 <= measured.spread < float("inf")
    assert LEAST_REPEATS <= measured.repeats <= MOST_REPEATS


def test_a_network_of_twenty_times_the_work_takes_longer() -> None:
    # Half of the factor is left to whatever else the machine does.
    shallow, deep = (latency(network(depth, 16), 8, 3, 32, "cpu") for depth in (1, 20))
    assert deep.seconds > 2 * shallow.seconds


# --- nothing is changed --------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(training: bool) -> None:
    model = network().train(training)
    model.stages.eval()  # a mode of its own somewhere inside
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    strides = [parameter.stride() for parameter in model.parameters()]
    of(model)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.stride() for parameter in model.parameters()] == strides
    after = model.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(after[name], before[name]) for name in before)
    # Neither a gradient nor a tensor that could have none.
    assert all(p.grad is None and not p.is_inference() for p in model.parameters())


def test_the_random_state_stays_as_it_was() -> None:
    before = torch.get_rng_state()
    of(network().train())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_modes_of_torch_stay_as_they_were() -> None:
    of(network(), "bfloat16")
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert not torch.is_autocast_enabled("cpu")


# --- how often -----------------------------------------------------------------------------------


def test_passes_are_repeated_until_they_took_long_enough_or_were_many() -> None:
    calls = []
    times = measure(lambda: calls.append(0))
    assert len(calls) == WARM_UP + len(times)
    assert len(times) >= LEAST_REPEATS
    # Passes of no work reach the most; on a machine that stood still meanwhile, the seconds.
    assert len(times) == MOST_REPEATS or sum(times) >= LEAST_SECONDS


def test_slow_passes_are_repeated_the_least_number_of_times() -> None:
    times = measure(lambda: time.sleep(2 * LEAST_SECONDS / LEAST_REPEATS))
    assert len(times) == LEAST_REPEATS
    assert min(times) >= 2 * LEAST_SECONDS / LEAST_REPEATS


def test_no_more_passes_than_needed_are_made() -> None:
    times = measure(lambda: time.sleep(LEAST_SECONDS / 20))
    assert LEAST_REPEATS <= len(times) <= 20
    assert sum(times[:-1]) < LEAST_SECONDS or len(times) == LEAST_REPEATS


times = st.lists(st.floats(1e-6, 10), min_size=LEAST_REPEATS, max_size=MOST_REPEATS)


@given(times)
def test_the_seconds_are_the_median_of_the_repeats(seconds: list[float]) -> None:
    measured = summarise(seconds, 7, "cpu")
    assert measured.seconds == statistics.median(seconds)
    assert (measured.repeats, measured.batch_size) == (len(seconds), 7)
    assert measured.spread >= 0


def test_one_disturbed_pass_moves_neither_median_nor_spread() -> None:
    calm = [0.9, 0.95, 0.97, 0.99, 1.0, 1.0, 1.01, 1.03, 1.05, 1.1, 1.1]
    disturbed = [*calm[:-1], 50.0]
    assert summarise(disturbed, 1, "cpu") == summarise(calm, 1, "cpu")
    # Quartiles of eleven values: the third and the ninth.
    assert summarise(calm, 1, "cpu").spread == pytest.approx(1.05 - 0.97)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_size", "in_channels", "image_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_a_size_that_is_none_is_refused(name: str, value: int) -> None:
    sizes = {"batch_size": 2, "in_channels": 3, "image_size": 8} | {name: value}
    with pytest.raises(TrainingError, match=f"^{name}: {value} is not a positive whole number$"):
        latency(network(), **sizes, device="cpu")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"precision: 'bfloat' is not one of .*'bfloat16'"):
        of(network(), "bfloat")


# --- on a GPU ------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_is_measured_on_a_gpu_and_stays_where_it_is() -> None:
    model = network()
    before = torch.cuda.get_rng_state()
    measured = latency(model, 4, 3, 8, "cuda")
    assert measured.seconds > 0
    assert measured.numerics.startswith("cuda (")
    assert all(parameter.device == CPU for parameter in model.parameters())
    assert torch.equal(torch.cuda.get_rng_state(), before)
