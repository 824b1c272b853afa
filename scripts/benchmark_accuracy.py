"""Comparison of the accuracy of skipsearch's training with that of an ordinary training loop."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

import torch
from benchmark_tables import table
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

import skipsearch as ss
from skipsearch.data import Split, augment, normalise
from skipsearch.training import tune_process
from skipsearch.training.batches import Batches
from skipsearch.training.environment import autocast_dtype
from skipsearch.training.schedule import learning_rate

SEEDS = range(5)
STEPS = 50  # length of the two loss curves


def accuracy(design: ss.Design, data: ss.Data, epochs: int) -> str:
    """Train with both loops from several seeds, and describe how the results differ."""
    recipe = ss.Recipe(epochs=epochs).resolve(data.augmentation)
    if recipe.cutout:
        raise SystemExit("the ordinary loop of this comparison has no cutout")
    torch.set_num_threads(1)
    plain_accuracies = [plain(design, data, recipe, seed) for seed in SEEDS]
    plain_losses = plain_curve(design, data)
    tune_process(1)  # after the ordinary trainings, which must not use it
    fast_accuracies = [fast(design, data, recipe, seed) for seed in SEEDS]
    fast_losses = fast_curve(design, data)
    dtype = autocast_dtype(recipe, data.train.images.device) or torch.float32
    precision = str(dtype).removeprefix("torch.")
    return (
        f"Validation accuracy on {data.name} ({len(data.validation)} images) after {epochs} epochs"
        f" of layout {design.layout}, depths {list(design.depths)}, widths {list(design.widths)},"
        f" {len(SEEDS)} seeds.\n\n"
        f"{compare(plain_accuracies, fast_accuracies, precision)}\n\n"
        f"{compare_curves(plain_losses, fast_losses)}"
    )


class Images(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one at a time, normalised and then padded with the mean, as in the recipe."""

    def __init__(self, data: ss.Data, recipe: ss.Recipe) -> None:
        self.split = data.train.to("cpu")
        self.transform = transforms.Compose(
            [
                transforms.ConvertImageDtype(torch.float32),
                transforms.Normalize(data.mean, data.std),
                transforms.RandomCrop(data.image_size, padding=recipe.crop),
                transforms.RandomHorizontalFlip(0.5 if recipe.flip else 0.0),
            ]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.split.images[index]), int(self.split.labels[index])


def plain(design: ss.Design, data: ss.Data, recipe: ss.Recipe, seed: int) -> float:
    """Train with the ordinary loop in float32, and return the accuracy on the validation images."""
    torch.manual_seed(seed)
    device = data.train.images.device
    loader = torch.utils.data.DataLoader(
        Images(data, recipe), recipe.batch_size, shuffle=True, drop_last=True
    )
    model = ss.build(design, data.in_channels, data.classes, seed=seed).to(device).train()
    optimizer = plain_sgd(model, recipe)
    for epoch in range(recipe.epochs):
        for number, (images, labels) in enumerate(loader):
            rate = learning_rate(recipe, epoch + (number + 0.5) / len(loader))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in zip(
            data.validation.images.split(500), data.validation.labels.split(500), strict=True
        ):
            logits = model(transforms.functional.normalize(images / 255, data.mean, data.std))
            right += int((logits.argmax(1) == labels).sum())
    return right / len(data.validation)


def plain_sgd(model: nn.Module, recipe: ss.Recipe) -> torch.optim.SGD:
    """Return PyTorch's SGD; norms and biases have no weight decay."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.SGD(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others}],
        lr=recipe.peak_lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def fast(design: ss.Design, data: ss.Data, recipe: ss.Recipe, seed: int) -> float:
    """Train as a search does, and return the accuracy on the validation images."""
    model = ss.build(design, data.in_channels, data.classes, seed=seed)
    *_, last = ss.train(model, data, recipe, seed)
    return last.validation_score


def curve_recipe(data: ss.Data) -> ss.Recipe:
    """Return a recipe whose epochs are single steps, so that the loss of each step is reported."""
    batch = min(128, len(data.train))
    recipe = ss.Recipe(epochs=STEPS, images=STEPS * batch, batch_size=batch, warmup_epochs=10)
    return recipe.resolve(data.augmentation)


def fast_curve(design: ss.Design, data: ss.Data) -> list[float]:
    """Return the loss of each of the first steps of a training in a search."""
    model = ss.build(design, data.in_channels, data.classes)
    one_image = Split(data.validation.images[:1], data.validation.labels[:1])
    data = replace(data, validation=one_image)
    return [epoch.train_loss for epoch in ss.train(model, data, curve_recipe(data))]


def plain_curve(design: ss.Design, data: ss.Data) -> list[float]:
    """Return the losses of the ordinary loop in float32, with the same weights and batches."""
    recipe, images = curve_recipe(data), data.train.images
    model = ss.build(design, data.in_channels, data.classes).to(images.device).train()
    optimizer = plain_sgd(model, recipe)
    batches = Batches(data, recipe, [0])
    mean_color = torch.tensor(data.mean, device=images.device)
    deviation = torch.tensor(data.std, device=images.device)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step + 0.5)
        index, *draws = batches[step][:, :, 0]
        inputs = normalise(images[index], mean_color, deviation, torch.float32)
        inputs = augment(inputs, torch.stack(draws), crop=recipe.crop or 0, flip=bool(recipe.flip))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), data.train.labels[index])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def compare(plain_ones: Sequence[float], fast_ones: Sequence[float], precision: str) -> str:
    """Return means and standard deviations, and Welch's interval of the difference."""
    difference = mean(fast_ones) - mean(plain_ones)
    squares = [stdev(ones) ** 2 / len(ones) for ones in (plain_ones, fast_ones)]
    error = sum(squares) ** 0.5
    # Welch and Satterthwaite; if neither result varies, the interval is a point.
    parts = sum(square**2 for square in squares) / (len(SEEDS) - 1)
    half = float(student.ppf(0.975, sum(squares) ** 2 / parts)) * error if parts else 0.0
    agree = abs(difference) <= half
    rows = [
        ["ordinary loop, float32", f"{mean(plain_ones):.4f}", f"{stdev(plain_ones):.4f}"],
        [f"ours, {precision}", f"{mean(fast_ones):.4f}", f"{stdev(fast_ones):.4f}"],
    ]
    return (
        f"{table(['', 'mean', 'standard deviation'], rows)}\n\n"
        f"Difference {difference:+.4f}, standard error {error:.4f}, 95 % interval (Welch)"
        f" {difference - half:+.4f} to {difference + half:+.4f}: the two"
        f" {'agree' if agree else 'DO NOT agree'} within the noise of their seeds."
    )


def compare_curves(plain_ones: Sequence[float], fast_ones: Sequence[float]) -> str:
    """Describe where two loss curves differ most."""
    differences = [abs(a - b) for a, b in zip(plain_ones, fast_ones, strict=True)]
    furthest = differences.index(max(differences))
    return (
        f"First {STEPS} steps from the same weights on the same batches: the losses differ most"
        f" at step {furthest + 1}, by {differences[furthest]:.4f}"
        f" (ordinary {plain_ones[furthest]:.4f}, ours {fast_ones[furthest]:.4f});"
        f" on average by {mean(differences):.4f}."
    )
