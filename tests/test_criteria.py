"""Losses and metrics of dense tasks against implementations that are not ours."""

import math
from typing import Any

import pytest
import torch
from dense_data import NAMES, denoising, made, seeded, segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from skipsearch.data.split import IGNORED
from skipsearch.recipe import Recipe
from skipsearch.task import DENOISING, SEGMENTATION
from skipsearch.training.criteria import CRITERIA, Criterion
from skipsearch.training.criteria.segmentation import (
    class_counts,
    cross_entropy,
    dice_loss,
    median_frequency,
)
from skipsearch.training.criteria.similarity import psnr, ssim

CLASSES = len(NAMES)


def segmenting(**recipe: Any) -> Criterion:
    return CRITERIA[SEGMENTATION.name](segmentation(), Recipe(**recipe))


def batch(
    seed: int = 0, images: int = 5, networks: int = 2, classes: int = CLASSES, ignored: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Logits of some networks, as channels_last gives them, and their masks."""
    shape = (images, networks * classes, 7, 6)
    logits = 2 * torch.randn(shape, generator=seeded(seed))
    logits = logits.contiguous(memory_format=torch.channels_last)
    masks = torch.randint(classes, (images, networks, 7, 6), generator=seeded(seed + 1))
    masks[torch.rand(masks.shape, generator=seeded(seed + 2)) < ignored] = IGNORED
    return logits.view(images, networks, classes, 7, 6), masks


# --- losses of segmentation ----------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("networks", [1, 3])
def test_cross_entropy_is_that_of_torch(
    weights: Tensor | None, label_smoothing: float, networks: int
) -> None:
    logits, masks = batch(networks=networks)
    reference = nn.CrossEntropyLoss(weights, ignore_index=IGNORED, label_smoothing=label_smoothing)
    expected = [reference(logits[:, k], masks[:, k]) for k in range(networks)]
    torch.testing.assert_close(
        cross_entropy(logits, masks, weights, label_smoothing), torch.stack(expected)
    )


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("classes", [2, 3, 6])  # of six, some masks lack a class
def test_dice_is_that_of_segmentation_models_pytorch(ignored: float, classes: int) -> None:
    logits, masks = batch(images=2, classes=classes, ignored=ignored)
    masks[masks == 1] = 0  # nowhere in the truth
    logits.requires_grad_()
    reference = DiceLoss("multiclass", ignore_index=IGNORED)
    expected = torch.stack([reference(logits[:, k], masks[:, k]) for k in range(2)])
    losses = dice_loss(logits, masks)
    torch.testing.assert_close(losses, expected)
    ours, theirs = (torch.autograd.grad(each.sum(), logits)[0] for each in (losses, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("loss", ["cross-entropy", "dice", "both"])
def test_the_recipe_names_the_loss(loss: str) -> None:
    logits, masks = batch()
    expected = torch.zeros(2)
    if loss != "dice":
        expected = expected + cross_entropy(logits, masks)
    if loss != "cross-entropy":
        expected = expected + dice_loss(logits, masks)
    losses = segmenting(loss=loss).losses(logits, masks)
    assert losses.shape == (5, 2)
    torch.testing.assert_close(losses.mean(0), expected)


@pytest.mark.parametrize("loss", ["cross-entropy", "dice", "both"])
def test_masks_without_a_labelled_pixel_cost_nothing(loss: str) -> None:
    logits, masks = batch()
    logits.requires_grad_()
    masks.fill_(IGNORED)
    criterion = segmenting(loss=loss)
    total = criterion.losses(logits, masks).sum()
    total.backward()
    assert total == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    assert criterion.scores(criterion.tally(logits, masks).sum(0), 5) == [0.0, 0.0]


def test_ignored_pixels_have_no_gradient() -> None:
    logits, masks = batch()
    logits.requires_grad_()
    criterion = segmenting(loss="both", class_weights="median-frequency")
    criterion.losses(logits, masks, 0.1).sum().backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(2) > 0
    assert torch.equal(touched, masks != IGNORED)


# --- weights of classes --------------------------------------------------------------------------


def test_median_frequencies_by_hand() -> None:
    # Class 0: 6 of 8 pixels of both images. Class 1: 1 of the 4 pixels of the first.
    # Class 2: 1 of the 4 pixels of the second. Class 3 is nowhere.
    masks = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [0, 2]]], dtype=torch.uint8)
    counts = class_counts(masks, 4)
    assert counts.tolist() == [[3, 1, 0, 0], [3, 0, 1, 0]]
    # The frequencies are 3/4, 1/4 and 1/4, and their median 1/4.
    torch.testing.assert_close(median_frequency(counts), torch.tensor([1 / 3, 1.0, 1.0, 1.0]))


def test_ignored_pixels_are_in_no_frequency() -> None:
    masks = torch.tensor([[[0, 1], [IGNORED, IGNORED]], [[0, 0], [0, 0]]], dtype=torch.uint8)
    # Class 0: 5 of 6 labelled pixels. Class 1: 1 of the 2 of the first image.
    expected = torch.tensor([5 / 6, 1 / 2])
    torch.testing.assert_close(
        median_frequency(class_counts(masks, 2)), expected.quantile(0.5) / expected
    )


def test_counts_do_not_depend_on_how_many_masks_are_counted_at_once() -> None:
    masks = segmentation().train.labels.repeat(5, 1, 1)
    expected = F.one_hot(masks.long(), 256).sum((1, 2))[:, :CLASSES]
    assert torch.equal(class_counts(masks, CLASSES), expected)


def test_rare_classes_weigh_more() -> None:
    logits, masks = batch(networks=1)
    weights = median_frequency(class_counts(segmentation().train.labels, CLASSES))
    losses = segmenting(class_weights="median-frequency").losses(logits, masks)
    reference = nn.CrossEntropyLoss(weights, ignore_index=IGNORED)
    torch.testing.assert_close(losses[0, 0], reference(logits[:, 0], masks[:, 0]))
    assert weights.unique().numel() == CLASSES


# --- metrics of segmentation ---------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 6), st.sampled_from([0.0, 0.3, 0.97]))
def test_mean_iou_is_that_of_torchmetrics(seed: int, classes: int, ignored: float) -> None:
    logits, masks = batch(seed, images=6, classes=classes, ignored=ignored)
    masks[masks == 1] = 0
    logits[:, :, 0] += 3  # some classes are nowhere
    data = made(SEGMENTATION.name)
    object.__setattr__(data, "class_names", tuple(map(str, range(classes))))
    criterion = CRITERIA[SEGMENTATION.name](data, Recipe())
    tally = criterion.no_tally(2)
    metrics = [MulticlassJaccardIndex(classes, ignore_index=IGNORED) for _ in range(2)]
    for part in (slice(0, 4), slice(4, 6)):
        tally += criterion.tally(logits[part], masks[part]).sum(0)
        for k, metric in enumerate(metrics):
            metric.update(logits[part, k], masks[part, k])
    for score, metric in zip(criterion.scores(tally, 6), metrics, strict=True):
        expected = metric.compute().item()
        assert score == pytest.approx(0.0 if math.isnan(expected) else expected, abs=1e-6)


def test_figures_of_each_class_are_those_of_torchmetrics() -> None:
    logits, masks = batch(networks=1)
    criterion = segmenting()
    found = criterion.figures(criterion.tally(logits, masks, complete=True).sum(0)[0], 5)
    asked: dict[str, Any] = {"ignore_index": IGNORED, "average": None}
    for name, metric in (
        ("iou", MulticlassJaccardIndex(CLASSES, **asked)),
        ("dice", MulticlassF1Score(CLASSES, **asked)),
    ):
        expected = metric(logits[:, 0], masks[:, 0]).tolist()
        assert list(found.classes[name]) == list(NAMES)
        assert list(found.classes[name].values()) == pytest.approx(expected)
    right = (logits[:, 0].argmax(1) == masks[:, 0]).sum() / (masks != IGNORED).sum()
    assert found.whole["pixel_accuracy"] == pytest.approx(right.item())
    assert found.whole["mean_dice"] == pytest.approx(sum(found.classes["dice"].values()) / CLASSES)


def test_an_absent_class_has_no_figure_and_is_left_out_of_the_mean() -> None:
    criterion = segmenting()
    truth = torch.zeros(1, 1, 2, 2, dtype=torch.int64)
    logits = F.one_hot(torch.tensor([[[[0, 0], [0, 1]]]]), CLASSES).movedim(-1, 2).float()
    tally = criterion.tally(logits, truth).sum(0)
    assert criterion.scores(tally, 1) == [pytest.approx((0.75 + 0.0) / 2)]
    figures = criterion.figures(tally[0], 1)
    assert math.isnan(figures.classes["iou"]["bright"])


# --- metrics of denoising ------------------------------------------------------------------------


def pictures(seed: int, height: int = 20, width: int = 17) -> tuple[Tensor, Tensor]:
    truth = torch.rand(4, 3, height, width, generator=seeded(seed))
    found = truth + 0.1 * torch.randn(truth.shape, generator=seeded(seed + 1))
    return found.clamp(0, 1), truth


def test_psnr_is_that_of_torchmetrics() -> None:
    found, truth = pictures(0)
    expected = peak_signal_noise_ratio(
        found, truth, data_range=1.0, dim=(1, 2, 3), reduction="none"
    )
    torch.testing.assert_close(psnr(found, truth), expected)
    assert psnr(truth, truth).tolist() == [100.0] * 4
    assert psnr(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 0.0


@pytest.mark.parametrize("size", [(20, 17), (11, 12), (8, 8), (6, 6)])
def test_ssim_is_that_of_torchmetrics(size: tuple[int, int]) -> None:
    found, truth = pictures(3, *size)
    expected = structural_similarity_index_measure(
        found, truth, gaussian_kernel=True, sigma=1.5, data_range=1.0, reduction="none"
    )
    torch.testing.assert_close(ssim(found, truth), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(5, 30), (1, 1)])
def test_small_images_have_a_similarity_too(size: tuple[int, int]) -> None:
    found, truth = pictures(3, *size)
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 4)
    assert (ssim(found, truth) < 1).all()


@pytest.mark.parametrize("sigma", [15.0, 50.0])
def test_inputs_have_the_noise_that_was_asked_for(sigma: float) -> None:
    data = made(DENOISING.name, sigma, train=400)
    criterion = CRITERIA[DENOISING.name](data, Recipe())
    images = torch.zeros(400, 3, 12, 10)
    inputs, target = criterion.pose(images, data.train.labels, torch.arange(400))
    assert target is images
    levels = 255 * (inputs - target) * torch.tensor(data.std)[:, None, None]
    assert levels.mean().item() == pytest.approx(0, abs=sigma / 50)
    assert levels.std().item() == pytest.approx(sigma, rel=0.01)


def test_denoising_is_the_squared_error_and_the_clipped_ratio() -> None:
    data = denoising()
    criterion = CRITERIA[DENOISING.name](data, Recipe())
    target = torch.randn(6, 2, 3, 12, 10, generator=seeded(0))
    outputs = target + 0.5 * torch.randn(target.shape, generator=seeded(1))
    losses = criterion.losses(outputs, target)
    torch.testing.assert_close(losses[3, 1], F.mse_loss(outputs[3, 1], target[3, 1]))
    mean, std = (torch.tensor(each)[:, None, None] for each in (data.mean, data.std))
    found, truth = (outputs * std + mean).clamp(0, 1), target * std + mean
    tally = criterion.tally(outputs, target, complete=True)
    for k, score in enumerate(criterion.scores(tally.sum(0), 6)):
        assert score == pytest.approx(psnr(found[:, k], truth[:, k]).mean().item(), rel=1e-6)
    figures = criterion.figures(tally[:, 0].sum(0), 6)
    assert figures.whole == {"ssim": pytest.approx(ssim(found[:, 0], truth[:, 0]).mean().item())}
    short = criterion.no_tally(2) + criterion.tally(outputs, target).sum(0)
    assert criterion.scores(short, 6) == criterion.scores(tally.sum(0), 6)
