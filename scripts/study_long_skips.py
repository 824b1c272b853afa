"""Study of long skips: none, added, concatenated or gated, and at which levels, with several seeds.

    python scripts/study_long_skips.py CAMVID links-camvid.csv --image-size 60x80
    python scripts/study_long_skips.py cifar10.npz links-cifar10.csv --denoise 25 --images 2000

Every design is the base of a ready space (``search_spaces/unet.yaml``) with other long skips, and
all are trained with the same recipe. After an interruption, run the script again to resume: the CSV
has one row for each training. All designs are trained with one seed before the next seed starts, so
the table is fair whenever the script is stopped; ``--report`` prints it without any training.

Scores are of the validation split after the last epoch: nothing is selected, and the test split is
not read. Differences are taken within a seed, with which every design sees the same order of images
and the same augmentation. Intervals are Student's 95 % intervals over seeds, without correction for
multiple comparisons. Variants are compared by paired t-tests, with Holm's correction to 5 % over
all comparisons.
"""

import argparse
import csv
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import nct
from scipy.stats import t as student

import skipsearch as ss
from skipsearch.data import Split
from skipsearch.errors import DivergedError, counted
from skipsearch.metric import Metric
from skipsearch.training import do_nothing, tune_process

SPACE = "unet"  # ready space with the base and recipe of all designs
POWER = 0.8  # probability of detecting a real difference
MOST_SEEDS = 1000
COLUMNS = (
    *("date", "data", "task", "image_size", "train_images", "validation_images", "fingerprint"),
    *("variant", "design", "recipe", "epochs", "seed", "params", "macs", "score", "train_score"),
    *("do_nothing", "seconds"),
)
SEGNET = """\
Published (SegNet, arXiv:1511.00561, Table 1; mean IoU of the test set of CamVid at 360 x 480, its
own encoder, class-balanced loss: another encoder, size and split, so only the order can be
compared): without long skips 43.3 (fixed bilinear), 44.1 and 45.9 (learned upsampling); with
max-pooling indices 47.7, with indices and addition 48.5; with addition 47.3 and 50.1."""


class Variant(NamedTuple):
    """One row of the table: long skips and their merge."""

    name: str
    links: tuple[str, ...]
    link_merge: str = "cat"


NONE = "none"
VARIANTS = (
    Variant(NONE, ()),
    Variant("every level, add", ("mirror",), "add"),
    Variant("every level, cat", ("mirror",), "cat"),
    Variant("every level, attention", ("mirror",), "attention"),
    Variant("coarsest level, cat", ("3>5",)),
    Variant("fine levels, cat", ("2>6", "1>7")),
)
PAIRS = (
    *((variant.name, NONE) for variant in VARIANTS[1:]),
    ("every level, cat", "every level, add"),
    ("every level, attention", "every level, cat"),
    ("every level, cat", "coarsest level, cat"),
    ("every level, cat", "fine levels, cat"),
)


def main() -> None:
    """Run the trainings missing in the CSV, and print the table."""
    parser = argparse.ArgumentParser(description="Study which long skips pay.")
    parser.add_argument("data", help="folder or .npz file, or the name of a data set")
    parser.add_argument("csv", type=Path, help="table of trainings to write, or to resume")
    parser.add_argument("--data-root", help="folder of the files of a data set with a name")
    parser.add_argument("--image-size", metavar="HxW", help="for a folder, such as 60x80")
    parser.add_argument("--denoise", type=float, metavar="SIGMA", help="restore noisy images")
    parser.add_argument("--images", type=int, metavar="N", help="use the first N of a split")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--peak-lr", type=float, help="instead of that of the ready space")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", action="store_true", help="print the table, train nothing")
    options = parser.parse_args()
    tune_process(options.threads)
    data = load(options)
    recipe = recipe_for(data, options.epochs, options.peak_lr)
    for row in [] if options.report else missing(data, recipe, options.seeds, options.csv):
        append(row, options.csv)
        print(f"{row['variant']}, seed {row['seed']}: {row['score']} in {row['seconds']} s")
        sys.stdout.flush()
    rows = [row for row in read(options.csv) if is_of(row, data, recipe)]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n    python {shlex.join(sys.argv)}\n")
    print(report(rows, data.task.metric))
    if "camvid" in data.name.lower() and data.task.name == "segmentation":
        print(f"\n{SEGNET}")


# --- trainings -----------------------------------------------------------------------------------


def load(options: argparse.Namespace) -> ss.Data:
    """Load the data set without its test split."""
    size = None
    if options.image_size:
        height, _, width = options.image_size.partition("x")
        size = (int(height), int(width))
    data = ss.load_data(
        options.data,
        options.data_root,
        device=options.device,
        image_size=size,
        denoise=options.denoise,
    )
    if options.images is None:
        return data.without_test()
    train, validation = first(data.train, options.images), first(data.validation, options.images)
    return replace(data, train=train, validation=validation).without_test()


def first(split: Split, images: int) -> Split:
    """Return the first images of a split."""
    return Split(split.images[:images], split.labels[:images])


def recipe_for(data: ss.Data, epochs: int, peak_lr: float | None = None) -> ss.Recipe:
    """Return the recipe of the ready space, without fields of other tasks."""
    chosen = dict(ss.Space.load(SPACE).recipe)
    if peak_lr is not None:
        chosen["peak_lr"] = peak_lr
    if data.task.name != "segmentation":
        chosen.pop("class_weights", None)
    return ss.Recipe(**chosen, epochs=epochs).resolve(data.augmentation)


def design_of(variant: Variant) -> ss.Design:
    """Return the base of the ready space with these long skips."""
    base = ss.Space.load(SPACE).base
    return ss.Design(**base, up="up2", links=variant.links, link_merge=variant.link_merge)


def missing(
    data: ss.Data, recipe: ss.Recipe, seeds: int, path: Path
) -> Iterator[dict[str, object]]:
    """Run the missing trainings, seed after seed, and yield a row for each."""
    rows = read(path) if path.exists() else ()
    done = {(row["design"], int(row["seed"])) for row in rows if is_of(row, data, recipe)}
    nothing = do_nothing(data, data.validation)
    for seed in range(seeds):
        for variant in VARIANTS:
            design = design_of(variant)
            if (design.id, seed) not in done:
                yield {
                    **circumstances(data, recipe),
                    "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
                    "variant": variant.name,
                    "design": design.id,
                    "seed": seed,
                    "do_nothing": f"{nothing:.5f}",
                    **train(design, data, recipe, seed),
                }


def train(design: ss.Design, data: ss.Data, recipe: ss.Recipe, seed: int) -> dict[str, object]:
    """Train one design with one seed; the score is empty if the training diverged."""
    model = ss.build(design, data.in_channels, data.outputs, seed=seed)
    spent = ss.cost(design, data.in_channels, data.image_size, data.outputs)
    row: dict[str, object] = {"params": spent.params, "macs": spent.macs, "score": ""}
    try:
        curve = list(ss.train(model, data, recipe, seed))
    except DivergedError:
        return row | {"seconds": ""}
    row |= {"score": f"{curve[-1].validation_score:.5f}"}
    row |= {"train_score": f"{curve[-1].train_score:.5f}"}
    return row | {"seconds": f"{sum(epoch.seconds for epoch in curve):.1f}"}


def circumstances(data: ss.Data, recipe: ss.Recipe) -> dict[str, object]:
    """Return the fields in which two rows must agree to be comparable."""
    height, width = data.train.images.shape[2:]
    return {
        "data": data.name,
        "task": data.task.name,
        "image_size": f"{height}x{width}",
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "fingerprint": data.fingerprint,
        "recipe": recipe.id,
        "epochs": recipe.epochs,
    }


def is_of(row: Mapping[str, str], data: ss.Data, recipe: ss.Recipe) -> bool:
    """Return whether a row is of these images and this recipe, regardless of the data's name."""
    here = circumstances(data, recipe)
    return all(row[name] == str(value) for name, value in here.items() if name != "data")


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(row: Mapping[str, object], path: Path) -> None:
    """Append a row to a table, which is created if it does not exist."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


# --- report --------------------------------------------------------------------------------------


def report(rows: Sequence[Mapping[str, str]], metric: Metric) -> str:
    """Return the table of the variants, and the conclusions from the seeds in words.

    Args:
        rows: Rows of one data set and recipe.
        metric: Metric of the scores.
    """
    scores: dict[str, dict[int, float]] = {variant.name: {} for variant in VARIANTS}
    for row in rows:
        if row["score"]:
            scores[row["variant"]][int(row["seed"])] = metric.in_unit(float(row["score"]))
    if not any(scores.values()):
        return "No training has been recorded yet."
    row = rows[0]
    nothing = metric.in_unit(float(row["do_nothing"]))
    params = {row["variant"]: f"{int(row['params']):,}" for row in rows}
    lines = [
        f"{metric.named(f'Validation {metric.title}')}: {row['data']}, {row['task']},"
        f" {row['image_size']} pixels, {row['train_images']} training and"
        f" {row['validation_images']} validation images, {counted(int(row['epochs']), 'epoch')}.\n",
        f"| long skips | parameters | n | {metric.title} (95 %) | do nothing"
        f" | minus none, {metric.difference_unit} (95 %) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for variant, seeds in scores.items():
        shown = within(list(seeds.values())) if seeds else "-"
        differences = paired(seeds, scores[NONE]) if variant != NONE else []
        change = within(differences, "+") if differences else "-"
        lines.append(
            f"| {variant} | {params.get(variant, '-')} | {len(seeds)} | {shown} | {nothing:.2f}"
            f" | {change} |"
        )
    diverged = sum(not row["score"] for row in rows)
    if diverged:
        verb = "is" if diverged == 1 else "are"
        lines.append(f"\n{counted(diverged, 'training')} diverged and {verb} left out.")
    apart = told_apart([paired(scores[one], scores[other]) for one, other in PAIRS])
    sentences = [
        verdict(one, other, scores, metric, is_told)
        for (one, other), is_told in zip(PAIRS, apart, strict=True)
    ]
    return "\n".join([*lines, "", *sentences])


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return the differences over the seeds that both variants have."""
    return [one[seed] - other[seed] for seed in one if seed in other]


def half_width(values: Sequence[float]) -> float:
    """Return half the width of Student's 95 % interval of a mean; infinity for a single value."""
    if len(values) < 2:
        return math.inf
    return float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def within(values: Sequence[float], sign: str = "") -> str:
    """Return a mean and its interval as text."""
    middle, half = mean(values), half_width(values)
    if math.isinf(half):
        return f"{middle:{sign}.2f} (unknown)"
    return f"{middle:{sign}.2f} ({middle - half:{sign}.2f} to {middle + half:{sign}.2f})"


def told_apart(samples: Sequence[Sequence[float]]) -> list[bool]:
    """Return for each sample of differences whether its mean is significantly different from 0.

    This is the paired t-test with Holm's correction (1979, jstor:4615733) to 5 % over all samples.
    """
    p = [p_value(values) for values in samples]
    told = [False] * len(p)
    for left, i in zip(range(len(p), 0, -1), sorted(range(len(p)), key=p.__getitem__), strict=True):
        if p[i] > 0.05 / left:
            break
        told[i] = True
    return told


def p_value(differences: Sequence[float]) -> float:
    """Return the p-value of the two-sided paired t-test; 1 if the differences do not vary."""
    if len(differences) < 2 or stdev(differences) == 0:
        return 1.0
    error = stdev(differences) / math.sqrt(len(differences))
    return 2 * float(student.sf(abs(mean(differences)) / error, len(differences) - 1))


def seeds_to_tell(difference: float, deviation: float) -> int | None:
    """Return the number of pairs for which a t-test at 5 % has a power of 80 %.

    The power of the two-sided test is from the noncentral t distribution (Cohen 1988, section 2.2).

    Args:
        difference: Mean of the differences, not 0.
        deviation: Their standard deviation.

    Returns:
        At least 2; None for more than 1000.
    """
    if deviation == 0:
        return 2
    for n in range(2, MOST_SEEDS + 1):
        bound = student.ppf(0.975, n - 1)
        if nct.sf(bound, n - 1, abs(difference) / deviation * math.sqrt(n)) >= POWER:
            return n
    return None


def verdict(
    one: str,
    other: str,
    scores: Mapping[str, Mapping[int, float]],
    metric: Metric,
    is_told: bool,
) -> str:
    """Describe whether the seeds distinguish two variants, and if not, how many seeds would.

    Args:
        one: Name of a variant.
        other: Name of another variant.
        scores: Score of each seed of each variant, in the unit of the metric.
        metric: Metric of the scores.
        is_told: Whether the seeds distinguish them.
    """
    differences, unit = paired(scores[one], scores[other]), metric.difference_unit
    name = f"- {one} against {other}"
    if len(differences) < 2:
        return f"{name}: fewer than two seeds, nothing can be said."
    text = f"{name} (n = {len(differences)}): {within(differences, '+')} {unit}"
    if is_told:
        return f"{text}: the seeds tell them apart."
    margin = metric.in_unit(metric.margin)
    size = max(abs(mean(differences)), margin)
    enough = seeds_to_tell(size, stdev(differences))
    number = f"more than {MOST_SEEDS}" if enough is None else f"about {enough}"
    trainings = "" if enough is None else f", {2 * enough} trainings,"
    return (
        f"{text}: the seeds do not tell them apart. A difference of {size:.2f} {unit} would need"
        f" {number} seeds of each{trainings} to be found by one test in {POWER:.0%} of such"
        " studies."
    )


if __name__ == "__main__":
    main()
