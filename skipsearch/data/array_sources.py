"""Files of arrays, an .npz file or a folder of .npy files, which are read or mapped."""

import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skipsearch.data.array_files import NPY, is_of_objects, npy_array, of_objects
from skipsearch.data.arrays import GROUPS, KEYS, PREFIXES, REQUIRED, read_arrays
from skipsearch.data.load_options import LoadOptions
from skipsearch.data.looking import IMAGE_SUFFIXES, look_into
from skipsearch.data.mapped import ArrayFile, array_of
from skipsearch.data.memory import is_resident, placed, require_memory
from skipsearch.data.npy_headers import array_in, arrays_in
from skipsearch.data.source import Array, Read
from skipsearch.errors import DataError, not_one_of, reason

# Arrays that can be mapped; those of labels are small.
LARGE = ("_images", "_masks")
# Files of a folder of training arrays alone, and the names of their arrays.
ALONE = {"images": "train_images", "labels": "train_labels", "masks": "train_masks"}


def read_npz(path: Path, options: LoadOptions) -> Read:
    """Read an .npz file of train and test images, and of validation images if it has some.

    Args:
        path: Path of the file.
        options: How the data are to be loaded. For denoising, images suffice: labels are then read
            if all splits have some, and masks are not read.

    Raises:
        DataError: If it is another kind of file, or its arrays are not as `load_data` requires.
    """
    source = _Source(
        path=path,
        sizes=_members(path),
        read=lambda names: _arrays(path, names),
        places=lambda names: _places(path, names),
    )
    return _read(source, options, REQUIRED)


def is_array_folder(path: Path, *, images_only: bool) -> bool:
    """Return whether a path is a folder of .npy files that each have all images or labels.

    It is one if the files of the training images are there. Otherwise it is taken for one, which
    lacks them, if it cannot be a folder of images.

    Args:
        path: Path of a file or folder.
        images_only: Whether images without labels suffice, so that each file can be an image.
    """
    if not path.is_dir():
        return False
    inside = look_into(path, (NPY,))
    names = {file.stem for file in inside.images}
    if "train_images" in names or ("images" in names and bool({"labels", "masks"} & names)):
        return True
    if images_only:
        return any(name in KEYS and name.endswith("_images") for name in names)
    has_pictures = any(suffix in IMAGE_SUFFIXES for suffix in inside.others)
    return bool(names) and not inside.folders and not has_pictures


def read_array_folder(folder: Path, options: LoadOptions) -> Read:
    """Read a folder of .npy files, of the names of the arrays in an .npz file.

    Args:
        folder: Folder with train_images.npy, or with images.npy and labels.npy or masks.npy.
        options: How the data are to be loaded.

    Raises:
        DataError: If its arrays are not as `load_data` requires.
    """
    files: dict[str, Path] = {}
    for path in look_into(folder, (NPY,)).images:
        _check_name(folder, path.stem, (*KEYS, *ALONE))
        name = ALONE.get(path.stem, path.stem)
        if name in files:
            raise DataError(f"{folder}: both {files[name].name} and {path.name}, expected one")
        files[name] = path
    source = _Source(
        path=folder,
        sizes={name: path.stat().st_size for name, path in files.items()},
        read=lambda names: {name: npy_array(files[name], name) for name in names},
        places=lambda names: {name: array_in(files[name]) for name in names},
    )
    required = {
        kind: tuple(name for name in names if name.startswith("train"))
        for kind, names in REQUIRED.items()
    }
    return _read(source, options, required)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Arrays in files.

    Attributes:
        path: Path of the file or folder.
        sizes: Number of bytes of each array, by name.
        read: Function that reads arrays of some names.
        places: Function that finds arrays of some names in files, or the reasons why they cannot be
            mapped.
    """

    path: Path
    sizes: Mapping[str, int]
    read: Callable[[list[str]], dict[str, Array]]
    places: Callable[[list[str]], dict[str, ArrayFile | str]]


def _read(source: _Source, options: LoadOptions, required: Mapping[str, tuple[str, ...]]) -> Read:
    """Read or map the arrays, and check them."""
    path = source.path
    names, kind = _choose(
        path, list(source.sizes), required, images_only=options.denoise is not None
    )
    mapped: dict[str, ArrayFile] = {}
    remedy = "write fewer or smaller images"
    if not is_resident(sum(source.sizes[name] for name in names), options.in_memory):
        places = source.places([name for name in names if name.endswith(LARGE)])
        for name, found in places.items():
            place = _mappable(name, found)
            if isinstance(place, ArrayFile):
                mapped[name] = place
            elif options.in_memory is False:
                raise DataError(f"{path}: {name} cannot be read from a file: {place}")
            else:
                remedy += f"; {name} cannot stay in the file: {place}"
    rest = [name for name in names if name not in mapped]
    require_memory(
        2 * sum(source.sizes[name] for name in rest),  # twice, for the division into splits
        f"{path}: its arrays",
        remedy,
    )
    arrays = source.read(rest) | {name: array_of(file) for name, file in mapped.items()}
    size = sum(source.sizes[name] for name in mapped)
    where = placed(size, path, options.in_memory) if mapped else ""
    holder = "folder" if path.is_dir() else "file"
    return read_arrays(str(path), arrays, mapped, kind, f"the arrays in {path}", where, holder)


def _mappable(name: str, place: ArrayFile | str) -> ArrayFile | str:
    """Return the place of an array that needs no conversion, or the reason why it cannot stay."""
    masks = np.dtype(np.uint8)
    if isinstance(place, str) or not name.endswith("_masks") or place.dtype == masks.str:
        return place
    return f"it is {np.dtype(place.dtype)}, and masks are converted to {masks}: write them as such"


# --- the file ------------------------------------------------------------------------------------


def _members(path: Path) -> dict[str, int]:
    """Return the names of the arrays in an .npz file, and their numbers of bytes.

    Raises:
        DataError: If it is another kind of file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises errors of many kinds
        raise _unreadable(path, _what_else(path, error)) from None
    if not all(member.filename.endswith(".npy") for member in members):
        raise _unreadable(path, "an archive of other files: unpack it and name its folder")
    sizes = {member.filename.removesuffix(".npy"): member.file_size for member in members}
    for name in sizes:
        _check_name(path, name, KEYS)
    return sizes


def _check_name(path: Path, name: str, allowed: tuple[str, ...]) -> None:
    """Check that the name of an array is known.

    Raises:
        DataError: If it is unknown.
    """
    if name not in allowed:
        raise DataError(f"{path}: array {not_one_of(name, allowed)}")


def _choose(
    path: Path, names: list[str], required: Mapping[str, tuple[str, ...]], *, images_only: bool
) -> tuple[list[str], str | None]:
    """Return the names of the arrays to read, and the kind of targets among them.

    Raises:
        DataError: If an array is missing, or there are too many.
    """
    if {"val_images", "validation_images"} <= set(names):
        raise DataError(f"{path}: both val_images and validation_images, expected one of them")
    kinds = [kind for kind in required if any(name.endswith(f"_{kind}") for name in names)]
    of_images = [name.removesuffix("_images") for name in names if name.endswith("_images")]
    if images_only:
        labels = [f"{prefix}_labels" for prefix in of_images]
        if "train" not in of_images:
            raise DataError(
                f"{path}: no train_images in it, expected train_images, and optionally test_images"
                " and val_images"
            )
        if not set(labels) <= set(names):
            images = [f"{prefix}_images" for prefix in of_images]
            return [*images, *(name for name in names if name == GROUPS)], None
        return [name for name in names if not name.endswith("_masks")], "labels"
    if len(kinds) > 1:
        raise DataError(f"{path}: both labels and masks, expected one of them")
    if not kinds:
        ways = "; or ".join(", ".join(names) for names in required.values())
        raise DataError(
            f"{path}: no labels or masks in it, expected {ways} (images alone are for denoising)"
        )
    (kind,) = kinds
    prefixes = [p for p in PREFIXES if p in of_images or f"{p}_{kind}" in names]
    pairs = [f"{prefix}_{what}" for prefix in prefixes for what in ("images", kind)]
    expected = list(dict.fromkeys((*required[kind], *pairs)))
    for key in expected:
        if key not in names:
            raise DataError(f"{path}: no {key} in it, expected {', '.join(expected)}")
    return names, kind


def _what_else(path: Path, error: Exception) -> str:
    """Describe a file that is not an .npz file."""
    with path.open("rb") as stream:
        start = stream.read(6)
    if not start:
        return "an empty file"
    if start == b"\x93NUMPY":
        return "one array alone: write several by their names with numpy.savez"
    if tarfile.is_tarfile(path):
        return "an archive of other files: unpack it and name its folder"
    return reason(error)


def _places(path: Path, names: list[str]) -> dict[str, ArrayFile | str]:
    """Find arrays in the file, or the reasons why they cannot be mapped."""
    try:
        return arrays_in(path, names)
    except Exception as error:  # zipfile raises errors of many kinds
        raise _unreadable(path, reason(error)) from None


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{path}: unreadable as an .npz file ({why})")


def _arrays(path: Path, names: list[str]) -> dict[str, Array]:
    """Read the arrays."""
    arrays: dict[str, Array] = {}
    try:
        # If numpy opens a file but cannot read it, the file stays open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            for name in names:
                arrays[name] = np.asarray(file[name])
    except Exception as error:  # zipfile, zlib and numpy raise errors of many kinds
        if is_of_objects(error):
            raise DataError(f"{path}: {of_objects(name)}, and the others in the same way") from None
        raise _unreadable(path, reason(error)) from None
    return arrays
