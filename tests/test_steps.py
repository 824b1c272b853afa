"""Steps of a training: the same draws everywhere, recorded or not, whole or in parts."""

import contextlib
import copy
import dataclasses
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from gpu import needs_cuda, never_waits
from hypothesis import given
from hypothesis import strategies as st
from strategies import RELAXED, designs
from torch import Tensor
from waiting import HANG, wait_for

from skipsearch.data import Data, Split, load_data
from skipsearch.design import Design
from skipsearch.errors import RecipeError, TrainingError
from skipsearch.models import Network, build, pack, set_generators
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.training import PackTrainer, Streams, Trainer, engine, evaluation, latency, train
from skipsearch.training import step as step_file
from skipsearch.training.batches import Batches, stream
from skipsearch.training.engine import draws_at_random
from skipsearch.training.environment import kernels
from skipsearch.training.interleaving import Wait
from skipsearch.training.recorded import WARM_UP, Recorded, cannot_record
from skipsearch.training.sgd import SGD, Group
from skipsearch.training.streams import Slot

DROPS = Design(
    layout="bn-relu-conv3-dropout-bn-relu-conv3 +",
    depths=(1, 1),
    widths=(4, 8),
    dropout=0.3,
    drop_path=0.4,
)
WITHOUT_NORM = Design(layout="conv3-relu-conv3 +", depths=(1, 1), widths=(4, 8), stem="conv3")
RECIPE = Recipe(epochs=2, batch_size=16, crop=1, flip=True, cutout=3)


@pytest.fixture(scope="module")
def few() -> Data:
    """100 training and 60 validation images."""
    digits = load_data("digits").without_test()
    train_split = Split(digits.train.images[:100], digits.train.labels[:100])
    validation = Split(digits.validation.images[:60], digits.validation.labels[:60])
    return dataclasses.replace(digits, train=train_split, validation=validation)


def network(design: Design = DROPS, seed: int = 0) -> Network:
    return build(design, in_channels=1, classes=10, seed=seed)


def seen(epochs: list[Epoch]) -> list[Epoch]:
    return [dataclasses.replace(epoch, seconds=0.0) for epoch in epochs]


def epoch(slot: Slot, trainer: Trainer) -> list[Epoch]:
    return seen(slot.run(trainer.all_steps()))


def run(trainer: Trainer) -> list[Epoch]:
    return seen([trainer.run_epoch() for _ in range(trainer.recipe.epochs)])


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- draws ---------------------------------------------------------------------------------------


def test_a_pass_uses_every_image_at_most_once(few: Data) -> None:
    batches = Batches(few, RECIPE, (0,))
    assert (batches.size, batches.a_pass) == (16, 6)
    for number in range(3):
        steps = range(number * 6, number * 6 + 6)
        order = torch.cat([batches[step][0, :, 0] for step in steps])
        assert len(order.unique()) == 96
        assert order.max() < 100
    assert batches[0].shape == (6, 16, 1)


def test_draws_do_not_depend_on_what_was_asked_before(few: Data) -> None:
    forwards, backwards = Batches(few, RECIPE, (3,)), Batches(few, RECIPE, (3,))
    there = [forwards[step].clone() for step in range(14)]
    back = [backwards[step].clone() for step in reversed(range(14))]
    assert all(map(torch.equal, there, reversed(back)))
    assert len({tuple(draws[0, :, 0].tolist()) for draws in there}) == 14


def test_each_network_has_the_draws_of_its_seed(few: Data) -> None:
    together = Batches(few, RECIPE, (5, 0, 7))
    for place, seed in enumerate((5, 0, 7)):
        alone = Batches(few, RECIPE, (seed,))
        for step in (0, 5, 6):
            assert torch.equal(together[step][:, :, place], alone[step][:, :, 0])


def test_draws_do_not_depend_on_the_speed(few: Data) -> None:
    # The order of the images is that of the seed alone, whatever else is asked of a batch.
    plain = Batches(few, RECIPE.replace(crop=0, flip=False, cutout=0), (1,))
    assert torch.equal(Batches(few, RECIPE, (1,))[3][0], plain[3][0])


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), unique=True, max_size=50))
def test_no_two_moments_share_a_stream(moments: list[tuple[int, int]]) -> None:
    streams = {stream(seed, what, n) for seed, n in moments for what in ("batches", "dropout")}
    assert len(streams) == 2 * len(moments)
    assert all(0 <= value < 2**63 for value in streams)


# --- recorded steps ------------------------------------------------------------------------------


class Tape:
    """A recorder for the CPU: keeps the function and its tensor, as a CUDA graph keeps kernels."""

    def __init__(self, fails: bool = False) -> None:
        self.real = self.recordings = self.replays = 0
        self.fails = fails

    def run(self, function: Callable[[Tensor], None], value: Tensor) -> None:
        self.real += 1
        function(value)

    def record(self, function: Callable[[Tensor], None], value: Tensor) -> Callable[[], None]:
        if self.fails:
            raise torch.OutOfMemoryError("no room for a graph\nand a long trace")
        self.recordings += 1
        address = value.data_ptr()

        def replay() -> None:
            assert value.data_ptr() == address
            self.replays += 1
            function(value)

        return replay


@pytest.mark.parametrize("design", [DROPS, WITHOUT_NORM], ids=["drops", "without norm"])
def test_a_recorded_training_is_the_same_to_the_bit(few: Data, design: Design) -> None:
    # All that changes from step to step (images, draws, learning rate) reaches a replay.
    tape = Tape()
    recorded = Trainer(network(design), few, RECIPE, seed=3, recorder=tape)
    plain = Trainer(network(design), few, RECIPE, seed=3)
    assert run(recorded) == run(plain)
    assert same_weights(recorded.model, plain.model)
    assert (tape.real, tape.recordings, tape.replays) == (WARM_UP, 1, 12 - WARM_UP)
    assert recorded.numerics == plain.numerics + ", graph"


def test_what_cannot_be_recorded_trains_step_by_step(few: Data) -> None:
    tape = Tape(fails=True)
    recorded = Trainer(network(), few, RECIPE, seed=3, recorder=tape)
    with pytest.warns(UserWarning, match="not recorded: no room for a graph$"):
        epochs = run(recorded)
    plain = Trainer(network(), few, RECIPE, seed=3)
    assert epochs == run(plain)
    assert recorded.warning == "not recorded: no room for a graph"
    assert plain.warning == ""
    assert tape.real == 12
    assert recorded.numerics == plain.numerics


def test_a_recording_reads_one_tensor_that_is_filled_anew() -> None:
    sums: list[float] = []
    recorded = Recorded(lambda value: sums.append(value.sum().item()), Tape())
    for number in range(8):
        assert recorded.replays == (number > WARM_UP)
        recorded(torch.full((3,), float(number)))
    assert sums == [3.0 * number for number in range(8)]


def test_a_state_that_is_loaded_after_the_recording_counts(few: Data) -> None:
    # A recording writes the momentum that it was made with: it must be made anew.
    tape = Tape()
    trainer = Trainer(network(), few, RECIPE.replace(epochs=3), seed=3, recorder=tape)
    trainer.run_epoch()
    state = copy.deepcopy(trainer.state_dict())
    # As torch.optim.SGD wrote it in older checkpoints, on another device.
    state["optimizer"]["param_groups"] = [{"fused": True}]
    rest = seen([trainer.run_epoch() for _ in range(2)])
    recordings = tape.recordings
    trainer.load_state_dict(state)
    assert seen([trainer.run_epoch() for _ in range(2)]) == rest
    assert tape.recordings == recordings + 1
    assert not trainer._optimizer.fused


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_an_update_is_that_of_pytorchs_optimizer_bit_by_bit(
    momentum: float, nesterov: bool
) -> None:
    mine, theirs = (
        [torch.nn.Parameter(torch.linspace(-1, 1, size)) for size in (5, 7, 9)] for _ in range(2)
    )
    rate = torch.tensor(0.1)
    how: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "fused": False}
    groups = [Group(mine[:2], 0.01), Group(mine[2:], 0.0)]
    optimizer = SGD(groups, rate, **how)
    reference = torch.optim.SGD(
        [
            {"params": theirs[:2], "weight_decay": 0.01},
            {"params": theirs[2:], "weight_decay": 0.0},
        ],
        lr=rate,
        **how,
    )
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        rate.fill_(0.1 / (1 + number))
        optimizer.zero_grad()
        reference.zero_grad()
        # The second parameter has its first gradient later than the others.
        for one, other in list(zip(mine, theirs, strict=True))[:: 1 if number > 1 else 2]:
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        optimizer.step()
        reference.step()
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one, other)
        if number == 3:  # the states are interchangeable
            state = copy.deepcopy(reference.state_dict())
            assert optimizer.state_dict()["state"].keys() == state["state"].keys()
            optimizer = SGD(groups, rate, **how)
            optimizer.load_state_dict(state)


@pytest.mark.parametrize(
    ("device", "torch_version", "reason"),
    [
        ("cpu", "2.14.1", "no CUDA device"),
        ("cuda", "2.11.0+cu130", "torch 2.11.0+cu130 is older than 2.13"),
        ("cuda", "2.13.0", None),
        ("cuda", "3.0.0a0", None),
    ],
)
def test_graphs_are_recorded_where_they_are_known_to_hold(
    device: str, torch_version: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", torch_version)
    assert cannot_record(torch.device(device)) == reason


# --- dropout's seeds ----------------------------------------------------------------------------


class SeedsEverything(Trainer):
    """Seeds as torch.manual_seed does it: every device, at every step."""

    def _seed_dropout(self, step: int) -> None:
        torch.manual_seed(stream(self._seeds[0], "dropout", step))


@pytest.mark.parametrize("design", [DROPS, DROPS.replace(dropout=0.0), WITHOUT_NORM])
def test_only_the_generator_that_is_drawn_from_is_seeded(
    few: Data, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(SeedsEverything(network(design), few, RECIPE, seed=3))
    trainer = Trainer(network(design), few, RECIPE, seed=3)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("it seeds every device"))
    assert run(trainer) == expected


class Noise(torch.nn.Module):
    """A network of somebody else, which draws in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1) + torch.rand_like(x.flatten(1)))
        return y


def test_a_network_of_somebody_else_may_draw(few: Data) -> None:
    assert draws_at_random(Noise())
    assert draws_at_random(network(DROPS))
    assert draws_at_random(network(WITHOUT_NORM.replace(drop_path=0.1)))
    assert not draws_at_random(network(WITHOUT_NORM))
    torch.manual_seed(0)
    first = Noise()
    second = copy.deepcopy(first)
    torch.rand(5)
    one = run(Trainer(first, few, RECIPE))
    torch.rand(7)  # the state of the caller does not matter
    assert run(Trainer(second, few, RECIPE)) == one


def state_of(generators: list[torch.Generator]) -> list[list[int]]:
    return [each.get_state().tolist() for each in generators]


@pytest.mark.parametrize(("design", "draws"), [(DROPS, True), (WITHOUT_NORM, False)])
def test_no_generator_is_seeded_where_a_network_does_not_draw(
    few: Data, design: Design, draws: bool
) -> None:
    # Seeding costs the host more than anything else beside the network's own operations.
    models = [network(design, seed) for seed in range(2)]
    alone = Trainer(copy.deepcopy(models[0]), few, RECIPE)
    together = PackTrainer(models, few, RECIPE, (0, 1))
    with torch.random.fork_rng(devices=[]):
        generators = [torch.default_generator]
        before = state_of(generators)
        alone.run_step(0)
        assert (state_of(generators) != before) == draws
    generators = list(together._draws_from)
    before = state_of(generators)
    together.run_step(0)
    assert [a != b for a, b in zip(state_of(generators), before, strict=True)] == [draws] * 2


@RELAXED
@given(designs())
def test_a_network_that_draws_is_known_to(design: Design) -> None:
    # If not, it would not be seeded, and no training of it would give the same bits again.
    images = torch.zeros(2, 1, 8, 8)
    alone, *models = (network(design, seed) for seed in range(3))
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        alone.train()(images)
        assert draws_at_random(alone) or torch.equal(torch.get_rng_state(), before)
    together, own = pack(models), [torch.Generator() for _ in models]
    set_generators(together, own)
    states = state_of(own)
    together.train()(images.repeat(1, 2, 1, 1))
    assert draws_at_random(together) or state_of(own) == states


# --- evaluation where memory is short -----------------------------------------------------------


class Narrow(torch.nn.Module):
    """Finds no memory for more images than a number, in evaluation."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.inner = network(WITHOUT_NORM)
        self.most = most
        self.sizes: list[int] = []
        self.inputs: list[weakref.ref[Tensor]] = []  # for which it found none

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.sizes.append(len(x))
            # The exception held on to them: memory is asked for again when it is gone.
            assert [inputs() for inputs in self.inputs] == [None] * len(self.inputs)
            if len(x) > self.most:
                self.inputs.append(weakref.ref(x))
                raise torch.OutOfMemoryError("CUDA out of memory")
        y: Tensor = self.inner(x)
        return y


def test_an_evaluation_that_does_not_fit_is_made_in_smaller_batches(few: Data) -> None:
    model = Narrow(20)
    trainer = Trainer(model, few, RECIPE)
    found = trainer.evaluate(few.validation)
    assert model.sizes == [60, 60, 60, 32, 16, 16, 16, 12]  # in batches of 256, 128, 64, 32, 16
    assert len(model.inputs) == 4
    model.most = 60
    assert found == pytest.approx(Trainer(model, few, RECIPE).evaluate(few.validation), rel=1e-5)
    assert "parts" not in trainer.numerics  # the training's batch stays


def test_parts_hold_in_evaluation_too(few: Data) -> None:
    model = Narrow(60)
    Trainer(model, few, RECIPE, parts=16).evaluate(few.validation)
    assert model.sizes == [16, 16, 16, 12]


def test_an_evaluation_of_a_training_batch_that_does_not_fit_fails(few: Data) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Trainer(Narrow(4), few, RECIPE).evaluate(few.validation)


# --- parts of a batch ----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_parts_add_up_to_the_gradient_of_the_batch(few: Data, parts: int) -> None:
    # Without batch norm nothing but rounding tells parts from the whole.
    recipe = RECIPE.replace(precision="float32")
    whole = Trainer(network(WITHOUT_NORM), few, recipe)
    parted = Trainer(network(WITHOUT_NORM), few, recipe, parts=parts)
    for one, other in zip(run(whole), run(parted), strict=True):
        for name, value in other.to_dict().items():
            assert value == pytest.approx(getattr(one, name), rel=1e-4), name
    for one, other in zip(whole.model.parameters(), parted.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_batch_norm_sees_a_part_and_the_record_says_so(few: Data) -> None:
    design = DROPS.replace(dropout=0.0, drop_path=0.0)
    whole, parted = (Trainer(network(design), few, RECIPE, parts=n) for n in (1, 4))
    losses = [one.run_epoch().validation_loss for one in (whole, parted)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)
    assert "in 4 parts" in parted.numerics
    assert "parts" not in whole.numerics


# --- a budget in images --------------------------------------------------------------------------


def test_a_budget_in_images_is_met_to_the_batch(few: Data) -> None:
    # 10 batches in 4 epochs; a pass has 6, so that the third epoch begins within the first pass.
    recipe = RECIPE.replace(epochs=4, images=165)
    trainer = Trainer(network(), few, recipe)
    steps: list[int] = []
    trainer.run_step = lambda n: (steps.append(n), Trainer.run_step(trainer, n))  # type: ignore[method-assign,assign,func-returns-value]
    counts = []
    for _ in range(4):
        before = len(steps)
        trainer.run_epoch()
        counts.append(len(steps) - before)
    assert steps == list(range(10))
    assert counts == [2, 3, 2, 3]


def test_as_many_images_as_the_epochs_have_is_the_same_training(few: Data) -> None:
    plain = seen(list(train(network(), few, RECIPE)))
    counted = seen(list(train(network(), few, RECIPE.replace(images=2 * 96))))
    assert counted == plain


def test_a_budget_of_less_than_a_batch_an_epoch_is_refused(few: Data) -> None:
    with pytest.raises(TrainingError, match="40 are fewer than a batch of 16 in each of 3 epochs"):
        Trainer(network(), few, RECIPE.replace(epochs=3, images=40))
    with pytest.raises(RecipeError, match="images: 0 is not a whole number"):
        Recipe(images=0)


def test_it_goes_on_within_a_pass(few: Data) -> None:
    recipe = RECIPE.replace(epochs=4, images=165)
    whole = Trainer(network(), few, recipe)
    epochs = run(whole)
    first = Trainer(network(), few, recipe)
    first.run_epoch()
    second = Trainer(network(seed=1), few, recipe)
    second.load_state_dict(first.state_dict())
    assert seen([second.run_epoch() for _ in range(3)]) == epochs[1:]
    assert same_weights(second.model, whole.model)


# --- how a device computes ---------------------------------------------------------------------


def test_kernels_are_tried_out_for_training_alone(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[bool] = []

    def noted(device: torch.device, deterministic: bool, tune: bool = True) -> Any:
        tuned.append(tune)
        return kernels(device, deterministic, tune)

    monkeypatch.setattr(evaluation, "kernels", noted)
    monkeypatch.setattr(step_file, "kernels", noted)
    trainer = Trainer(network(), few, RECIPE)
    trainer.run_step(0)
    assert tuned == [True]
    trainer.evaluate(few.validation)
    assert tuned == [True, False]


def test_the_device_is_the_current_one_of_all_that_it_computes(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Streams, events and captures belong to the current device, whatever the tensors are on.
    entered: list[torch.device] = []
    passes: list[list[torch.device]] = []

    @contextlib.contextmanager
    def noted(device: torch.device) -> Iterator[None]:
        entered.append(device)
        yield
        entered.remove(device)

    monkeypatch.setattr(engine, "current", noted)
    monkeypatch.setattr(sys.modules["skipsearch.training.latency"], "current", noted)
    model = network()
    model.register_forward_pre_hook(lambda *_: passes.append([*entered]))
    trainer = Trainer(model, few, RECIPE)
    trainer.run_epoch()
    trainer.evaluate(few.validation)
    latency(model, 2, 1, 8, "cpu")
    assert len(passes) > 8
    assert passes == [[torch.device("cpu")]] * len(passes)
    assert not entered


# --- bits and streams --------------------------------------------------------------------------


def test_a_deterministic_training_gives_the_same_bits_and_says_so(few: Data) -> None:
    trainers = [Trainer(network(), few, RECIPE, deterministic=True) for _ in range(2)]
    assert run(trainers[0]) == run(trainers[1])
    assert same_weights(trainers[0].model, trainers[1].model)
    assert trainers[0].numerics.endswith(", deterministic")
    assert not torch.are_deterministic_algorithms_enabled()


def test_residents_train_as_each_would_alone(few: Data) -> None:
    # The network drops at random: what one draws must not be what another seeded.
    alone = [run(Trainer(network(seed=seed), few, RECIPE, seed)) for seed in range(4)]
    streams = Streams(torch.device("cpu"))
    together: dict[int, list[Epoch]] = {}

    def work(seed: int) -> None:
        with streams.slot() as slot:
            trainer = slot.call(lambda: Trainer(network(seed=seed), few, RECIPE, seed))
            together[seed] = [*epoch(slot, trainer), *epoch(slot, trainer)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(4)] == alone


def test_one_thread_does_all_that_concerns_the_device() -> None:
    streams = Streams(torch.device("cpu"))
    with streams.slot() as one, streams.slot() as other:
        threads = {slot.call(threading.get_ident) for slot in (one, other) for _ in range(3)}
        assert len(threads) == 1
        assert threads != {threading.get_ident()}
        with pytest.raises(ZeroDivisionError):
            one.call(lambda: 1 // 0)
        assert other.call(lambda: 7) == 7
    streams.close()


def test_nobody_takes_a_turn_while_a_latency_is_measured() -> None:
    taken, ends = [0], threading.Event()

    def neighbour() -> Generator[None, None, None]:
        while not ends.is_set():
            taken[0] += 1
            yield None

    def measure() -> tuple[int, int]:
        before = taken[0]
        for _ in range(1_000):
            time.sleep(0)  # lets other threads run, if there are any
        return before, taken[0]

    streams = Streams(torch.device("cpu"))
    with streams.slot() as first, streams.slot() as second, ThreadPoolExecutor() as pool:
        running = pool.submit(first.run, neighbour())
        try:
            wait_for(lambda: taken[0] > 10)
            before, after = second.call(measure)
        finally:
            ends.set()
        running.result(timeout=HANG)
    streams.close()
    assert before == after > 10


def test_a_training_that_waits_for_the_device_loses_no_turn() -> None:
    order: list[str] = []

    class Event:
        def __init__(self) -> None:
            self.asked = 0

        def query(self) -> bool:
            self.asked += 1
            return self.asked > 2

        def synchronize(self) -> None:
            self.asked = 9

    def steps(name: str, waits: Any) -> Any:
        for _ in range(3):
            order.append(name)
            yield waits() if waits else None
        return name

    streams = Streams(torch.device("cpu"))
    ready = threading.Barrier(3)

    def work(name: str, waits: Any) -> None:
        with streams.slot() as slot:
            ready.wait()
            assert slot.run(steps(name, waits)) == name

    threads = [
        threading.Thread(target=work, args=arguments) for arguments in (("a", Event), ("b", None))
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    assert sorted(order) == list("aaabbb")
    streams.close()


def test_a_training_waits_only_for_its_own_work() -> None:
    def steps(begun: threading.Event, waits_for: Wait) -> Generator[Wait, None, str]:
        begun.set()
        yield waits_for
        return "done"

    read: Future[None] = Future()
    other_read: Future[None] = Future()
    begun, other_begun = threading.Event(), threading.Event()
    streams = Streams(torch.device("cpu"))
    with streams.slot() as one, streams.slot() as other, ThreadPoolExecutor() as pool:
        try:
            first = pool.submit(one.run, steps(begun, read))
            assert begun.wait(HANG)
            second = pool.submit(other.run, steps(other_begun, other_read))
            assert other_begun.wait(HANG)
            assert pool.submit(other.call, lambda: 7).result(HANG) == 7
            other_read.set_result(None)
            assert second.result(HANG) == "done"
            streams.close()  # a training that is under way ends
            assert not first.done()
        finally:
            read.set_result(None)
            other_read.cancel()  # no effect if it has a result
        assert first.result(HANG) == "done"


def test_a_slot_has_one_stream_for_life(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a training all work is done in order, whatever neighbours do, and in the order of slots.
    current: list[str | None] = [None]
    made: list[str] = []

    @contextlib.contextmanager
    def on(stream: str | None) -> Iterator[None]:
        current.append(stream)
        yield
        current.pop()

    def make(device: torch.device) -> str:
        made.append(f"stream {len(made)} of {device}")
        return made[-1]

    def steps() -> Generator[None, None, list[str | None]]:
        seen = []
        for _ in range(3):
            seen.append(current[-1])
            yield None
        return seen

    monkeypatch.setattr(torch.cuda, "Stream", make)
    monkeypatch.setattr(torch.cuda, "stream", on)
    streams = Streams(torch.device("cuda", 1))
    for _ in range(40):
        with streams.slot() as one, streams.slot() as other:
            for slot in (one, other, one):
                assert slot.run(steps()) == 3 * [slot.stream]
                assert slot.call(lambda: current[-1]) == slot.stream
            assert one.stream != other.stream
    streams.close()
    assert made == ["stream 0 of cuda:1", "stream 1 of cuda:1"]


def test_a_seat_that_was_left_is_given_again() -> None:
    streams = Streams(torch.device("cpu"))
    first, second = streams.take_slot(), streams.take_slot()
    streams.leave(first)
    streams.leave(second)
    assert len(streams._free) == 2
    streams.take_slot()
    assert len(streams._free) == 1
    streams.close()


def test_a_resident_that_diverges_ends_alone(few: Data) -> None:
    streams = Streams(torch.device("cpu"))
    wild = RECIPE.replace(peak_lr=1e6, warmup_epochs=0)
    with streams.slot() as slot:
        diverging = Trainer(network(WITHOUT_NORM), few, wild)
        assert "the loss became" in diverging.divergence(*slot.run(diverging.all_steps()))
        calm = Trainer(network(), few, RECIPE)
        assert epoch(slot, calm) == run(Trainer(network(), few, RECIPE))[:1]
    streams.close()


# --- on a GPU ------------------------------------------------------------------------------------


def on_gpu(data: Data, **how: Any) -> Trainer:
    return Trainer(network(), data.to("cuda"), RECIPE.replace(epochs=4), seed=3, **how)


@pytest.mark.gpu
@needs_cuda
def test_a_captured_graph_trains_as_plain_steps_do(few: Data) -> None:
    if reason := cannot_record(torch.device("cuda")):
        pytest.skip(reason)
    captured, plain = on_gpu(few), on_gpu(few, recorder=Tape(fails=True))
    with pytest.warns(UserWarning, match="not recorded"):
        expected = run(plain)
    epochs = run(captured)
    assert "graph" in captured.numerics
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(
        [epoch.train_loss for epoch in expected], rel=0.05
    )


@pytest.mark.gpu
@needs_cuda
def test_a_deterministic_training_on_a_gpu_gives_the_same_bits(few: Data) -> None:
    trainers = [on_gpu(few, deterministic=True) for _ in range(2)]
    assert run(trainers[0]) == run(trainers[1])
    assert same_weights(trainers[0].model, trainers[1].model)


@pytest.mark.gpu
@needs_cuda
def test_a_step_never_waits_for_the_gpu(few: Data) -> None:
    trainer = on_gpu(few)
    for step in range(WARM_UP + 2):
        trainer.run_step(step)
    with never_waits():
        trainer.run_step(WARM_UP + 2)


@pytest.mark.gpu
@needs_cuda
def test_a_finished_training_gives_its_memory_back(few: Data) -> None:
    # The first training leaves the workspaces of the libraries behind; the next ones nothing.
    data, held = few.to("cuda"), []
    for _ in range(3):
        trainer = Trainer(network(), data, RECIPE)
        run(trainer)
        del trainer
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    assert held[1:] == held[:1] * 2


@pytest.mark.gpu
@needs_cuda
def test_residents_on_a_gpu_train_as_each_would_alone(few: Data) -> None:
    data = few.to("cuda")
    alone = [
        run(Trainer(network(seed=seed), data, RECIPE, seed, deterministic=True))
        for seed in range(3)
    ]
    streams = Streams(torch.device("cuda"))
    together: dict[int, list[Epoch]] = {}

    def work(seed: int) -> None:
        with streams.slot() as slot:
            trainer = slot.call(
                lambda: Trainer(network(seed=seed), data, RECIPE, seed, deterministic=True)
            )
            together[seed] = [*epoch(slot, trainer), *epoch(slot, trainer)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(3)] == alone
