"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from skipsearch.data import Data
from skipsearch.recipe import Recipe
from skipsearch.training.criteria import CRITERIA
from skipsearch.training.environment import drawing_from, kernels
from skipsearch.training.examples import Examples
from skipsearch.training.memory import is_out_of_memory
from skipsearch.training.sgd import SGD
from skipsearch.training.tallies import Tallies


class Step:
    """Forward, loss, backward and update for one batch.

    It transfers nothing from the device and depends on no Python value that changes from step to
    step, so that it can be recorded: draws and learning rate are tensors.

    Args:
        model: Packed network of ``networks`` members, see ``models.pack``, or a single network.
        optimizer: Optimizer of its parameters.
        data: Data set on the device.
        recipe: Recipe with the data set's conventions filled in.
        dtype: Data type of convolutions and matrix products; None for float32.
        networks: Number of networks that the model computes at once.
        images: Largest number of images between two calls of ``reset``.
        parts: Number of parts that a batch is divided into to fit into memory. The loss of a step
            is the mean of the losses of the parts, weighted by their number of images. It is that
            of the whole batch, except for the Dice loss and the cross-entropy with class weights or
            ignored pixels (including those outside a shifted image), which are ratios of sums over
            the pixels of a part.
        deterministic: Whether a GPU must reproduce the same bits.
        generator: Generator of the network's random numbers on a GPU; None for the default one.

    Attributes:
        model: The network.
        device: Device of the data.
        criterion: Loss and score of the task.
        examples: Inputs and targets of the data.
        loss_sum: Sum (networks,) of the mean losses of the steps since ``reset``.
        tallies: Tallies of the images since ``reset``.
        compiled: Whether training steps run a compiled network.
        failure: Reason why the network could not be compiled; None if it could, or was not tried.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: SGD,
        data: Data,
        recipe: Recipe,
        *,
        dtype: torch.dtype | None,
        networks: int,
        images: int,
        parts: int,
        deterministic: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        self.model = model
        self.device = data.train.images.device
        self.loss_sum = torch.zeros(networks, device=self.device)
        self.criterion = CRITERIA[data.task.name](data, recipe)
        self.examples = Examples(data, recipe, self.criterion)
        self.tallies = Tallies(self.criterion, networks, images)
        self.compiled = False
        self.failure: str | None = None
        self._call: Callable[[Tensor], Tensor] = model
        self._untried = False  # whether the next step is the first of a compiled network
        self._optimizer = optimizer
        self._label_smoothing = recipe.label_smoothing
        self._dtype = dtype
        self._parts = parts
        self._deterministic = deterministic
        self._generator = generator

    def compile(self, wanted: bool = True) -> None:
        """Compile the forward and backward pass of training, or return to the plain network.

        All designs share the same ``forward``, so compiled code of other designs must be dropped.
        Otherwise the compiler gives up at the eighth design.
        """
        self.compiled = self._untried = wanted
        self._call = self.model
        if wanted:
            torch.compiler.reset()
            self._call = torch.compile(self.model, dynamic=False)

    def reset(self) -> None:
        """Forget all images so far."""
        self.loss_sum.zero_()
        self.tallies.reset()

    def __call__(self, draws: Tensor) -> None:
        """Train on one batch.

        Args:
            draws: Draws (rows, N, networks) of ``Batches``.
        """
        with kernels(self.device, self._deterministic), drawing_from(self._generator):
            try:
                self._train_on(draws)
            except Exception as error:
                if not self._untried or is_out_of_memory(error):
                    raise
                self.failure = " ".join(str(error).split("\n")[:2])  # the second gives the reason
            if self._untried and self.failure is not None:
                warnings.warn(f"trains without compiling: {self.failure}", stacklevel=2)
                self.compile(False)
                self._train_on(draws)
            self._untried = False

    def _train_on(self, draws: Tensor) -> None:
        self._optimizer.zero_grad()
        size = draws.shape[1]
        for part in draws.chunk(self._parts, dim=1):
            share = part.shape[1] / size
            inputs, target = self.examples.augmented(part)
            outputs = self.forward(inputs)
            losses = self.criterion.losses(outputs, target, self._label_smoothing).mean(0)
            if share < 1:
                losses = losses * share
            # Not ``losses.backward(ones)``, with which PyTorch imports its symbolic algebra.
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.loss_sum += losses.detach()
            self.tallies.add(self.criterion.tally(outputs.detach(), target))
        self._optimizer.step()

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute outputs in float32 for a while, whatever the precision of the training."""
        dtype, self._dtype = self._dtype, None
        try:
            yield
        finally:
            self._dtype = dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (N, networks, outputs[, H, W]) in float32.

        Args:
            inputs: Inputs (N, networks * C, H, W).
        """
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
            outputs: Tensor = (self._call if self.model.training else self.model)(inputs)
        # A pack of classifiers has an axis of networks already.
        size = outputs.shape[2:] if outputs.ndim == 4 else ()
        return outputs.float().view(len(inputs), len(self.loss_sum), -1, *size)
