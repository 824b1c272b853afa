"""Tasks that networks are trained for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from skipsearch.errors import DesignError, RecipeError, RunError, not_one_of, shown_value
from skipsearch.kinds import MAPS
from skipsearch.metric import (
    ACCURACY,
    AUROC,
    BALANCED_ACCURACY,
    MACRO_F1,
    MAE,
    MEAN_AVERAGE_PRECISION,
    MEAN_IOU,
    PSNR,
    R2,
    RMSE,
    Metric,
)
from skipsearch.table import Table

NO_WEIGHTS = "none"  # value of the field ``class_weights`` of a recipe without them


@dataclass(frozen=True, slots=True)
class Task:
    """A task that networks are trained for.

    ``training.criteria`` computes the loss and the metric from a network's outputs.

    Attributes:
        name: Name of the task.
        metric: Metric by which networks are judged.
        other_metrics: Metrics that may be chosen in its place, see ``judged_by``.
        loss: Name of its only loss; empty if the recipe chooses one.
        default_baseline: Prediction of the trivial baseline, which learns nothing from images.
        other_baselines: Names of metrics of which another constant is the best, and these.
        fields: Fields of the recipe that have an effect on some tasks only, including this one.
        class_weights: Words for its class weights in a recipe; after the first, those of earlier
            versions, with the same meaning.
        float32_values: Function from the loss of the recipe to the number of float32 values that
            training holds for each output at the peak of a step, gradients included.
        per_pixel: Whether a network outputs values for each pixel, not for the whole image.
        restores: Whether the outputs are an image with the channels of the input, not classes.
        classifies: Whether each image has one class.
        output: What an output of the network stands for.
        outputs: The same in the plural.
        changes: What each later version of the trainings changed. Results of different versions are
            not comparable, so that no search is continued with another one.
    """

    name: str
    metric: Metric
    default_baseline: str
    fields: tuple[str, ...] = ()
    class_weights: tuple[str, ...] = ()
    float32_values: Callable[[str], int] = lambda loss: 4
    per_pixel: bool = False
    restores: bool = False
    classifies: bool = False
    output: str = "class"
    outputs: str = "classes"
    loss: str = ""
    other_metrics: tuple[Metric, ...] = ()
    other_baselines: tuple[tuple[str, str], ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """Number of the version of the trainings, from 1 on."""
        return 1 + len(self.changes)

    def difference(self, there: int, here: int) -> str:
        """Describe how trainings of another version differ.

        Args:
            there: Version of existing trainings.
            here: Another version, of trainings that would be added.
        """
        since = "; ".join(self.changes[there - 1 : here - 1])
        return (
            f"{self.name} was trained in another way there (version {there}, now {here}"
            f"{': ' * bool(since)}{since})"
        )

    @property
    def baseline(self) -> str:
        """Prediction of the trivial baseline for the metric."""
        return dict(self.other_baselines).get(self.metric.name, self.default_baseline)

    def judged_by(self, name: str | None) -> Task:
        """Return the task with another metric.

        Args:
            name: Name of the metric, such as ``balanced_accuracy``; None for the present one.

        Raises:
            RunError: If this task has no such metric.
        """
        metrics = {metric.name: metric for metric in (self.metric, *self.other_metrics)}
        if name is None:
            return self
        if not isinstance(name, str) or name not in metrics:
            raise RunError(f"metric: {not_one_of(name, tuple(metrics))} ({self.name})")
        others = tuple(metric for metric in metrics.values() if metric.name != name)
        return replace(self, metric=metrics[name], other_metrics=others)

    def check_recipe(self, names: Iterable[str], class_weights: Iterable[object] = ()) -> None:
        """Check that fields of the recipe have an effect on this task.

        Args:
            names: Fields that were set, or are searched.
            class_weights: Values of the field ``class_weights``.

        Raises:
            RecipeError: If one is for other tasks.
        """
        for name in names:
            tasks = tasks_with(name)
            if self.name not in tasks:
                raise RecipeError(
                    f"recipe.{name}: is for {', '.join(tasks)}, and the task is {self.name}"
                )
        for word in class_weights:
            if word not in (NO_WEIGHTS, *self.class_weights):
                allowed = (NO_WEIGHTS, *self.class_weights[:1])
                raise RecipeError(
                    f"recipe.class_weights: {not_one_of(word, allowed)} ({self.name})"
                )

    def weights_word(self, word: str) -> str:
        """Return the present word for class weights, for one of this or an earlier version."""
        return self.class_weights[0] if word in self.class_weights else word

    def check_head(self, head: str) -> None:
        """Check that the head of a design has the kind of outputs that this task needs.

        Args:
            head: Field ``head`` of the design.

        Raises:
            DesignError: If it outputs values for each pixel instead of the whole image, or vice
                versa.
        """
        if (head.split("-")[-1] in MAPS) == self.per_pixel:
            return
        given, needed = "one value for the whole image", "values for each pixel"
        words = ", ".join(MAPS)
        if not self.per_pixel:
            given, needed, words = needed, given, "mean"
        raise DesignError(
            f"head: {shown_value(head)} gives {given}, and {self.name},"
            f" {'which denoise sets' if self.restores else 'the task of the data'}, needs {needed}"
            f" ({words})"
        )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The score of the trivial baseline on a split, which every network should beat.

    Attributes:
        task: Task of the networks.
        score: Score of ``task.baseline``.
    """

    task: Task
    score: float

    def sentence(self, split: str = "validation") -> str:
        """Return the baseline in words.

        Args:
            split: Name of the split.
        """
        metric = self.task.metric
        value = metric.text(metric.value(self.score))
        return f"To beat: {self.task.baseline}, with {split} {metric.title} {value}."


CLASSIFICATION = Task(
    name="classification",
    loss="cross-entropy",
    classifies=True,
    metric=ACCURACY,
    other_metrics=(BALANCED_ACCURACY, MACRO_F1, AUROC),
    default_baseline="the most frequent class for every image",
    fields=("label_smoothing", "class_weights"),
    class_weights=("balanced", "median-frequency"),
)
# Cross-entropy holds the outputs, the logarithms of the softmax, and the gradients of both. Dice
# holds the outputs, the softmax, the truth, and three gradients.
VALUES = {"cross-entropy": 4, "dice": 6, "both": 8}
SEGMENTATION = Task(
    name="segmentation",
    float32_values=VALUES.__getitem__,
    metric=MEAN_IOU,
    default_baseline="the most frequent class at every pixel",
    fields=("label_smoothing", "loss", "class_weights"),
    class_weights=("median-frequency",),
    per_pixel=True,
)
DENOISING = Task(
    name="denoising",
    loss="mean squared error",
    metric=PSNR,
    default_baseline="the noisy image itself",
    per_pixel=True,
    restores=True,
)
MULTI_LABEL = Task(
    name="multi-label",
    loss="binary cross-entropy",
    metric=MEAN_AVERAGE_PRECISION,
    other_metrics=(MACRO_F1, AUROC),
    default_baseline="the frequency of each label for every image",
    fields=("class_weights",),
    class_weights=("balanced", "median-frequency"),
    output="label",
    outputs="labels",
)
REGRESSION = Task(
    name="regression",
    loss="Huber loss of standardised targets",
    metric=R2,
    other_metrics=(RMSE, MAE),
    default_baseline="the mean of each target for every image",
    other_baselines=((MAE.name, "the median of each target for every image"),),
    output="target",
    outputs="targets",
    changes=("the Huber loss replaced the squared error",),
)
TASKS = Table(
    "task",
    {
        task.name: task
        for task in (CLASSIFICATION, SEGMENTATION, DENOISING, MULTI_LABEL, REGRESSION)
    },
)


def all_metrics() -> list[Metric]:
    """Return the metrics of all tasks, the default of each task first."""
    tasks = TASKS.values()
    metrics = [*(t.metric for t in tasks), *(m for t in tasks for m in t.other_metrics)]
    return list(dict.fromkeys(metrics))


def metric_words() -> str:
    """Return the names of the metrics of each task, the default first, as text."""
    named = [
        f"{task.name}: {', '.join(metric.name for metric in (task.metric, *task.other_metrics))}"
        for task in TASKS.values()
    ]
    return "; ".join(named)


def tasks_with(field: str) -> list[str]:
    """Return the names of the tasks on which a field of the recipe has an effect."""
    return [task.name for task in TASKS.values() if field in task.fields] or list(TASKS)
