"""Table of kinds of data against verbs: each cell is tried, with two small designs and one epoch.

    python scripts/kinds_of_data.py                       # all kinds, in a temporary folder
    python scripts/kinds_of_data.py --only sensors folds  # some of them

Each kind is made (or read from scikit-learn's pictures) as a user would have it, and goes the whole
way: ``search``, the same search again (which trains nothing), ``rank``, ``effects``, ``confirm``,
``explain``, ``report``, ``export`` (readable source and ONNX, checked against the module), and
``predict`` on a file of the same kind. A cell shows its seconds, or the error. The exit status is 1
if a cell has an error.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from sklearn.datasets import load_sample_images

import skipsearch as ss
from skipsearch.searching.cluster import ray_session
from skipsearch.searching.options import Resources

RNG = np.random.default_rng(0)
SPACE = """
name: two
base: {widths: [4, 8], depths: [1, 1]}
recipe: {batch_size: 16}
axes:
  layout: [conv3-bn-relu, bn-relu-conv3 +]
"""
DENSE_SPACE = """
name: two-u-nets
base: {layout: conv3-bn-relu, widths: [4, 8], depths: [1, 1], ups: 1, links: mirror, head: map}
recipe: {batch_size: 8}
axes:
  link_merge: [add, cat]
"""


@dataclass(frozen=True)
class Kind:
    """Data as a user has them.

    Attributes:
        data: Path, name, or data given in Python.
        file: File of the same kind for ``predict``.
        options: Further arguments of ``search``.
        space: YAML of the space.
    """

    data: str | Path | ss.Data
    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    space: str = SPACE


def pixels(shape: tuple[int, ...], count: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return images in 0..1 whose mean depends on their class, and the classes."""
    labels = np.arange(count) % classes
    level = labels.reshape(count, *[1] * len(shape)) / classes
    return RNG.random((count, *shape)) / 2 + level / 2, labels


def write_classes(folder: Path, images: np.ndarray, labels: np.ndarray, suffix: str) -> Path:
    """Write each image into the folder of its class, and return the first file."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / f"class{label}" / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(path, image)
        elif suffix == ".tif":
            tifffile.imwrite(path, image, photometric="minisblack")
        else:
            Image.fromarray(image).save(path)
    return next(iter(sorted(folder.rglob(f"*{suffix}"))))


# --- kinds ---------------------------------------------------------------------------------------


def pictures(folder: Path) -> Kind:
    """JPEG tiles of the two photographs that scikit-learn ships, of various sizes."""
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        for number in range(30):
            top, left = RNG.integers(0, photo.shape[0] - 60), RNG.integers(0, photo.shape[1] - 60)
            path = folder / name / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            side = int(RNG.integers(40, 60))
            Image.fromarray(photo[top : top + side, left : left + 60]).save(path)
    return Kind(folder, folder / "china" / "0.jpg", {"image_size": 24})


def deep_tiff(folder: Path) -> Kind:
    """Grey TIFF files of 16 bits."""
    images, labels = pixels((20, 24), 60)
    return Kind(folder, write_classes(folder, (images * 65535).astype("uint16"), labels, ".tif"))


def bands(folder: Path) -> Kind:
    """TIFF files of 13 float bands, as from a satellite."""
    images, labels = pixels((13, 16, 16), 60)
    return Kind(folder, write_classes(folder, images.astype("float32"), labels, ".tif"))


def arrays(folder: Path) -> Kind:
    """An .npz file of grey bytes with its own test split."""
    images, labels = pixels((12, 12), 80)
    images = (images * 255).astype("uint8")
    np.savez(
        folder / "grey.npz",
        train_images=images[:60],
        train_labels=labels[:60],
        test_images=images[60:],
        test_labels=labels[60:],
    )
    Image.fromarray(images[0]).save(folder / "one.png")
    return Kind(folder / "grey.npz", folder / "one.png")


def sensors(folder: Path) -> Kind:
    """Series of 500 samples from 6 sensors, given in Python."""
    images, labels = pixels((6, 1, 500), 60)
    images = images.astype("float32")
    np.save(folder / "one.npy", images[0])
    return Kind(ss.Data.from_arrays(images, labels, axes="NCHW"), folder / "one.npy")


def dataset(folder: Path) -> Kind:
    """A data set of torchvision."""
    from torchvision.datasets import FakeData

    made = FakeData(60, (3, 16, 16), num_classes=2)
    made[0][0].save(folder / "one.png")
    return Kind(ss.Data.from_dataset(made), folder / "one.png")


def unbalanced(folder: Path) -> Kind:
    """300 images, 40 of the frequent class for one of the rare class."""
    images, _ = pixels((10, 10), 300)
    labels = np.where(np.arange(300) % 41 == 0, "rare", "frequent")
    images[labels == "rare"] /= 2
    images = (images * 255).astype("uint8")
    Image.fromarray(images[0]).save(folder / "one.png")
    return Kind(
        ss.Data.from_arrays(images, labels),
        folder / "one.png",
        {
            "metric": "balanced_accuracy",
            "recipe": ss.Recipe(class_weights="balanced", epochs=1),
        },
    )


def folds(folder: Path) -> Kind:
    """60 images of 20 patients, in three folds."""
    images, labels = pixels((10, 10), 60)
    images = (images * 255).astype("uint8")
    Image.fromarray(images[0]).save(folder / "one.png")
    data = ss.Data.from_arrays(images, labels, groups=np.arange(60) // 3)
    return Kind(data, folder / "one.png", {"folds": 3, "trials": 6})


def masks(folder: Path) -> Kind:
    """A folder of images and masks."""
    images, _ = pixels((16, 24, 3), 40)
    for number, image in enumerate(images):
        for name, content in (("images", image * 255), ("masks", image[..., 0] > image.mean())):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(content.astype("uint8")).save(path)
    return Kind(folder, folder / "images" / "0.png", space=DENSE_SPACE)


def noisy(folder: Path) -> Kind:
    """Pictures without classes, from which noise is removed."""
    images, _ = pixels((16, 16), 40)
    for number, image in enumerate(images):
        Image.fromarray((image * 255).astype("uint8")).save(folder / f"{number}.png")
    return Kind(folder, folder / "0.png", {"denoise": 25}, DENSE_SPACE)


def labels(folder: Path) -> Kind:
    """Images with any of three labels, judged by the AUROC."""
    images, _ = pixels((12, 12), 80)
    matrix = RNG.integers(0, 2, (80, 3))
    images[:, :4, :4] *= matrix[:, :1, None]
    images = (images * 255).astype("uint8")
    Image.fromarray(images[0]).save(folder / "one.png")
    data = ss.Data.from_arrays(images, matrix, class_names=("corner", "a", "b"))
    return Kind(data, folder / "one.png", {"metric": "auroc"})


def numbers(folder: Path) -> Kind:
    """Images with two numbers to predict."""
    images, _ = pixels((12, 12), 80)
    targets = np.stack([images.mean((1, 2)) * 100, images[:, 0].mean(1)], axis=1)
    images = (images * 255).astype("uint8")
    Image.fromarray(images[0]).save(folder / "one.png")
    data = ss.Data.from_arrays(images, targets, target_names=("brightness", "edge"))
    return Kind(data, folder / "one.png")


def mapped(folder: Path) -> Kind:
    """A folder of .npy files that are read during training."""
    images, of_class = pixels((12, 12), 80)
    np.save(folder / "images.npy", (images * 255).astype("uint8"))
    np.save(folder / "labels.npy", of_class)
    np.save(folder.parent / "one.npy", (images[0] * 255).astype("uint8"))
    return Kind(ss.load_data(folder, in_memory=False), folder.parent / "one.npy")


KINDS: Mapping[str, Callable[[Path], Kind]] = {
    "pictures": pictures,
    "16-bit tiff": deep_tiff,
    "13 bands": bands,
    "npz": arrays,
    "sensors": sensors,
    "dataset": dataset,
    "unbalanced": unbalanced,
    "folds": folds,
    "masks": masks,
    "denoising": noisy,
    "labels": labels,
    "numbers": numbers,
    "mapped": mapped,
}


# --- verbs ---------------------------------------------------------------------------------------


def verbs(kind: Kind, out: Path) -> Mapping[str, Callable[[], object]]:
    """Return what is tried with a kind of data, in this order."""
    given = {"data": kind.data} if isinstance(kind.data, ss.Data) else {}

    def search(trials: int) -> ss.Run:
        how = {"trials": trials, "epochs": 1} | dict(kind.options)
        if "recipe" in how:
            del how["epochs"]
        return ss.search(ss.Space.from_yaml(kind.space), kind.data, out=out / "run", **how)

    def resume() -> None:
        before = ss.Run.open(out / "run").trials()
        assert search(2).trials() == before, "the search trained again"

    def run() -> ss.Run:
        return ss.Run.open(out / "run")

    def predict() -> None:
        where = {} if kind.space == SPACE else {"out": out / "predicted.png"}
        assert len(ss.predict(out / "winner", kind.file, **where)), "no prediction"

    return {
        "search": lambda: search(2),
        "resume": resume,
        "rank": lambda: run().rank(),
        "effects": lambda: run().effects(),
        "confirm": lambda: ss.confirm(run(), top=1, seeds=2, **given),
        "explain": lambda: run().explain("best", epochs=1, **given),
        "report": lambda: run().report(),
        "export": lambda: ss.export(
            run(), "best", out / "winner", formats=("source", "onnx"), **given
        ),
        "predict": predict,
    }


def main() -> int:
    """Try every cell, print the table, and return the number of kinds with an error."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="kinds (default: all)")
    options = parser.parse_args()
    failed = 0
    names = options.only or list(KINDS)
    with tempfile.TemporaryDirectory() as scratch, ray_session(Resources(), verbose=False):
        os.environ["XDG_CACHE_HOME"] = scratch
        for number, name in enumerate(names):
            place, out = Path(scratch, name, "data"), Path(scratch, name, "out")
            place.mkdir(parents=True)
            out.mkdir()
            cells = []
            errors = []
            for verb, call in verbs(KINDS[name](place), out).items():
                start = time.monotonic()
                try:
                    call()
                    cells.append(f"{time.monotonic() - start:8.1f}")
                except Exception as error:  # any: it is a cell of the table
                    cells.append("   error")
                    errors.append(f"  {name}, {verb}: {type(error).__name__}: {error}")
            if not number:
                heads = verbs(KINDS[name](Path(tempfile.mkdtemp(dir=scratch))), out)
                print(f"{'seconds':<14}", *(f"{verb:>8}" for verb in heads), flush=True)
            print(f"{name:<14}", *cells, flush=True)
            print(*errors, sep="\n", end="\n" * bool(errors), flush=True)
            failed += bool(errors)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
