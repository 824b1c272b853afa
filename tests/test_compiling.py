"""Compiling: decided by what was measured, and the same training as without."""

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from skipsearch.data import Data, Split, load_data
from skipsearch.design import Design
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.training import CompileChoice, Trainer, engine
from skipsearch.training.compiling import GUESS, MARGIN, Measured
from skipsearch.training.recorded import WARM_UP


def test_nothing_is_known_at_first() -> None:
    choice = CompileChoice()
    # 1.5 times as fast saves a third: of 360 seconds 120, which is twice the guess of a minute.
    assert MARGIN * GUESS.seconds == 120
    assert not choice.pays("a", 0.1, 3590)
    assert choice.pays("a", 0.1, 3610)
    assert not choice.pays("a", 0.1, 0)


def test_a_network_is_judged_by_what_was_measured_of_it() -> None:
    choice = CompileChoice()
    choice.learn("slow", Measured(seconds=10, speedup=0.9))
    assert not choice.pays("slow", 1.0, 10**9)
    choice.learn("fast", Measured(seconds=10, speedup=2))
    assert choice.pays("fast", 1.0, 41)
    assert not choice.pays("fast", 1.0, 39)


def test_another_network_is_judged_by_the_median() -> None:
    choice = CompileChoice()
    for name, speedup in (("a", 0.5), ("b", 2.0), ("c", 4.0)):
        choice.learn(name, Measured(seconds=10, speedup=speedup))
    assert choice.pays("d", 1.0, 41)
    assert not choice.pays("d", 1.0, 39)


@given(st.floats(0.01, 1e4), st.floats(0.1, 10), st.floats(1e-5, 10), st.integers(0, 10**7))
def test_more_steps_never_make_it_worse(cost: float, speedup: float, step: float, n: int) -> None:
    choice = CompileChoice()
    choice.learn("a", Measured(cost, speedup))
    if choice.pays("a", step, n):
        assert choice.pays("a", step, n + 1)
        assert choice.pays("a", step * 2, n)
        assert speedup > 1
        assert n * step / speedup + cost < n * step


class Always(CompileChoice):
    """Compiles after the first epoch, and keeps what it is told."""

    told: Measured | None = None

    def pays(self, structure: str, seconds_a_step: float, steps_left: int) -> bool:
        return steps_left > 0

    def learn(self, structure: str, measured: Measured) -> None:
        self.told = measured


@pytest.fixture
def few() -> Data:
    digits = load_data("digits").without_test()
    part = Split(digits.train.images[:64], digits.train.labels[:64])
    return dataclasses.replace(digits, train=part, validation=part)


def test_a_compiled_training_is_the_same_training(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The compiler's front end and autograd are the real ones; its CPU kernels take minutes.
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: real(*a, **k, backend="aot_eager"))
    design = Design(layout="bn-relu-conv3-bn-relu-conv3 +", depths=(1,), widths=(4,))
    recipe = Recipe(epochs=5, batch_size=16, precision="float32")
    choice = Always()
    compiled = Trainer(build(design, 1, 10), few, recipe, compiling=choice)
    plain = Trainer(build(design, 1, 10), few, recipe)
    for number in range(5):
        one, other = compiled.run_epoch(), plain.run_epoch()
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-4)
        # The first epoch of each kind holds what is done once: the second ones are compared.
        assert (choice.told is None) == (number < 3)
        if 1 <= number < 3:
            assert compiled.numerics.endswith(", compiled")
    assert choice.told is not None
    assert choice.told.seconds > 0
    # Where it was slower, the network was taken back as it is.
    assert ("compiled" in compiled.numerics) == (choice.told.speedup >= 1)
    assert math.isfinite(choice.told.speedup)
    torch.compiler.reset()


def test_what_cannot_be_compiled_trains_as_it_is(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: real(*a, **k, backend=no_compiler))
    design = Design(layout="bn-relu-conv3-bn-relu-conv3 +", depths=(1,), widths=(4,))
    recipe = Recipe(epochs=4, batch_size=16, precision="float32")
    choice = Always()
    compiled = Trainer(build(design, 1, 10), few, recipe, compiling=choice)
    plain = Trainer(build(design, 1, 10), few, recipe)
    epochs = [compiled.run_epoch() for _ in range(2)]
    with pytest.warns(UserWarning, match="without compiling: .*Failed to find C compiler"):
        epochs += [compiled.run_epoch() for _ in range(2)]
    for one in epochs:
        other = plain.run_epoch()
        assert (one.train_loss, one.validation_loss) == (other.train_loss, other.validation_loss)
    assert "compiled" not in compiled.numerics
    assert "not compiled: " in compiled.warning
    assert choice.told is not None
    assert choice.told.speedup == 1.0  # so that no other network is tried
    torch.compiler.reset()


class Clock:
    """A recorder that is its own clock: the first steps choose kernels, and one is recorded."""

    def __init__(self) -> None:
        self.now = 0.0

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        self.now += 5.0
        function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        self.now += 100.0

        def replay() -> None:
            self.now += 1.0
            function(value)

        return replay


class Asked(CompileChoice):
    """Keeps what it is asked and told, and compiles when it is asked for the third time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.told: list[Measured] = []

    def pays(self, structure: str, seconds_a_step: float, steps_left: int) -> bool:
        self.asked.append(seconds_a_step)
        return len(self.asked) == 3

    def learn(self, structure: str, measured: Measured) -> None:
        self.told.append(measured)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_what_is_done_once_is_no_part_of_what_a_step_takes(
    few: Data, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    # Neither before the network is compiled nor after it, however short the epochs are: the second
    # one of two steps holds the recording.
    clock, choice = Clock(), Asked()
    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    design = Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    recipe = Recipe(epochs=20, batch_size=64 // steps)
    trainer = Trainer(build(design, 1, 10), few, recipe, recorder=clock, compiling=choice)
    first = -(-(WARM_UP + 1) // steps)  # epochs that hold the first steps
    for _ in range(first + 3):
        trainer.run_epoch()
    assert choice.asked == [1.0] * 3
    assert trainer.numerics.endswith(", compiled")
    for _ in range(first + 1):
        assert not choice.told
        trainer.run_epoch()
    # Three steps of 5 s instead of 1 s, and the recording.
    assert choice.told == [Measured(seconds=WARM_UP * 4.0 + 100.0, speedup=1.0)]
    trainer.run_epoch()
    assert len(choice.told) == 1
    assert len(choice.asked) == 3


def test_a_state_that_is_loaded_is_trained_by_first_steps_again(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, choice = Clock(), Asked()
    monkeypatch.setattr(engine, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    design = Design(layout="conv3-bn-relu", depths=(1,), widths=(4,))
    recipe = Recipe(epochs=20, batch_size=16)
    trainer = Trainer(build(design, 1, 10), few, recipe, recorder=clock, compiling=choice)
    for _ in range(2):
        trainer.run_epoch()
        trainer.load_state_dict(trainer.state_dict())
    assert choice.asked == []
    for _ in range(2):
        trainer.run_epoch()
    assert choice.asked == [1.0]
