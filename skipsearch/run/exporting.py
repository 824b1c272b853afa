"""Export: train a design of a run to the full budget, test it once, write it as files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skipsearch.artefacts import FORMATS
from skipsearch.artefacts.card import Card
from skipsearch.artefacts.checking import TOLERANCES
from skipsearch.artefacts.units import in_units
from skipsearch.artefacts.writing import check_request, write_artefacts
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import RunError, escaped, not_one_of
from skipsearch.metric import Metric
from skipsearch.models import build
from skipsearch.record import Epoch, Measurement, Trial
from skipsearch.run.dataset import load_again
from skipsearch.run.folder import Run
from skipsearch.run.places import GALLERIES, check_outside
from skipsearch.run.seeds import check_seed
from skipsearch.training import Trainer, default_device, fitting_threads, versions

TRAIN_ON = ("train", "train+validation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """Result of an export.

    Attributes:
        path: Folder of the export.
        design: Design of the network.
        metric: Metric of the scores.
        search_score: Validation score of the design in the search.
        validation: Measurement of the exported weights on the validation split; None if they were
            trained on it.
        test: Measurement of the exported weights on the test split, which was used once.
        differences: Largest absolute difference of each file's outputs from the module's.
        tolerance: Largest allowed difference, relative to the largest output.
    """

    path: Path
    design: Design
    metric: Metric
    search_score: float
    validation: Measurement | None
    test: Measurement
    differences: Mapping[str, float]
    tolerance: float


def export(
    run: Run | str | Path,
    design: str | Design | Trial = "best",
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = tuple(FORMATS),
    precision: str = "fp32",
    train_on: str = "train",
    seed: int | None = None,
    device: str | None = None,
    data: str | Path | Data | None = None,
    data_root: str | Path | None = None,
    progress: Callable[[Epoch], None] | None = None,
    on_data: Callable[[Data], None] | None = None,
) -> Exported:
    """Train a design of a run to the full budget, test it once, and write it as files.

    The measurements are those of the files in float32, whatever the precision of the training.

    Args:
        run: Run, or its folder.
        design: ``best``, a design, a record of it such as ``Confirmation.best``, or the first
            digits of its id; see ``Run.trial``.
        out: Output folder; ``RUN/export/DESIGN`` if None, followed by the id of the recipe if
            recipes were searched.
        formats: Any of ``source``, ``program``, ``onnx``; weights, design and card are always
            written.
        precision: Precision of the files: ``fp32``, ``fp16``, or ``bf16`` (not for ONNX); see
            ``write_artefacts``. The scores are those of the network before rounding.
        train_on: ``train``, or ``train+validation``.
        seed: Seed of this training; None for the seed used by the search.
        device: Device of the training; if None, CUDA if available, else the CPU.
        data: Current location of the data; None for the location used by the search.
        data_root: Folder of the data set's files; None for the folder used by the search.
        progress: Function that is called after each epoch.
        on_data: Function that is called with the data before the training; see
            ``Data.summary``.

    Raises:
        RunError: If the design is not in the run, the data have changed or have no test split, or
            the folder is inside the data.
        ExportError: If the folder has other content, or an artefact differs from the module.
        TrainingError: If the training diverges.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if train_on not in TRAIN_ON:
        raise RunError(f"train-on {not_one_of(train_on, TRAIN_ON)}")
    trial = run.trial(design)
    if out is None:
        searched = any(name.startswith("recipe.") for name in run.space.axes)
        name = trial.key if searched else trial.design.id
        out = run.path / "export" / name
    out = Path(out)
    check_request(out, formats, precision)
    # The fixed splits, also after a search with folds.
    images = load_again(run.path, run.config.data, device or default_device(), data, data_root)
    check_outside(out, images.path)
    if images.test is None:
        raise RunError(f"{run.path}: the given data have no test split, which export tests on")
    if on_data is not None:
        on_data(images)
    chosen = images if train_on == "train" else images.with_validation_in_training()
    seed = trial.seed if seed is None else seed
    check_seed(seed)
    model = build(trial.design, images.in_channels, images.outputs, seed=seed)
    trainer = Trainer(model, chosen.without_test(), trial.recipe, seed)
    with fitting_threads(trial.design, images, trial.recipe):
        while trainer.epoch < trial.recipe.epochs:
            epoch = trainer.run_epoch()
            if progress is not None:
                progress(epoch)
        test = trainer.measure(images.test, images.test_groups)
        held_out = train_on == "train"
        held = (images.validation, images.validation_groups)
        validation = trainer.measure(*held) if held_out else None
        gallery = trainer.gallery(*held) if held_out and images.task.per_pixel else None
    ranking, metric = run.rank(), images.task.metric
    place = ranking[ranking.trial == trial.number].iloc[0]
    search_score = metric.value(float(place[metric.validation]))
    card = Card(
        task=images.task,
        name=f"{run.space.name}-{trial.design.id}",
        data=escaped(f"{run.config.data.name}: {run.config.data.source}"),
        pixels=images.pixels,
        mean=images.mean,
        std=images.std,
        class_names=() if images.task.restores else images.class_names,
        target_mean=images.target_mean,
        target_std=images.target_std,
        sigma=images.sigma,
        # Noise is added after the resizing, so a noisy picture is not resized for a prediction.
        resized=run.config.data.resized_to is not None and not images.task.restores,
        run=run.path.name,
        space=run.space.name,
        trials=len(run.trials()),
        designs=int(ranking.design.nunique()),
        search_epochs=run.config.recipe.epochs,
        search_seed=run.config.seed,
        search_score=search_score if place.epochs else None,
        folds=run.config.data.folds,
        **_confirmed(run, trial),
        recipe=trial.recipe,
        seed=seed,
        trained_on=train_on,
        train_images=len(chosen.train),
        validation=validation,
        test=test,
        device=trainer.numerics,
        versions=versions(),
    )
    if images.target_mean:
        model = in_units(model, images.target_mean, images.target_std)
    differences = write_artefacts(
        model,
        trial.design,
        out,
        in_channels=images.in_channels,
        image_size=images.image_size,
        classes=images.outputs,
        formats=formats,
        precision=precision,
        card=card,
    )
    if gallery is not None:
        gallery.save(run.path / GALLERIES / f"{trial.key}.npz")
    return Exported(
        path=out,
        design=trial.design,
        metric=metric,
        search_score=search_score,
        validation=validation,
        test=test,
        differences=differences,
        tolerance=TOLERANCES[precision],
    )


def _confirmed(run: Run, trial: Trial) -> dict[str, Any]:
    """Return the values of a card about the confirmation of a design, if there was one."""
    found, _ = run.readable_confirmation()
    scores = found.scores(trial) if found is not None else ()
    if found is None or not found.judged or not scores:
        return {}
    row = found.row(trial)
    return {
        "confirmations": scores,
        "confirmed_interval": found.metric.values((float(row.low), float(row.high))),
        "chance_of_best": float(row.chance),
        "leaders": len(found.table),
    }
