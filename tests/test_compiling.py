"""Compiling: decided by what was measured, and the same training as without."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skipsearch.data import Data, Split, load_data
from skipsearch.design import Design
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.training import CompileChoice, Trainer
from skipsearch.training.compiling import GUESS, MARGIN, Measured


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
