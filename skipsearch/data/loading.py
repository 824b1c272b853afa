"""Loading data by name or path onto a device: checked, resized, and divided into splits."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from skipsearch.data.array_sources import is_array_folder, read_array_folder, read_npz
from skipsearch.data.cache import read_folder_once
from skipsearch.data.dataset import Data
from skipsearch.data.device import find_device
from skipsearch.data.folders import read_folder
from skipsearch.data.known import DATASETS, read_known
from skipsearch.data.load_options import LoadOptions
from skipsearch.data.pairing import find_pairs
from skipsearch.data.pairs import read_pairs
from skipsearch.data.paths import check_name, path_of
from skipsearch.data.pixels import pixel_type
from skipsearch.data.plain import read_plain_folder
from skipsearch.data.source import Read
from skipsearch.errors import DataError, not_one_of
from skipsearch.plan import ImageSize, Size, check_image_size

LONGEST_SHOWN = 300  # characters of a path
MOST_NOISE = 255  # grey levels


def load_data(
    name: str | Path,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    image_size: ImageSize | None = None,
    split_seed: int = 0,
    validation_fraction: float | None = None,
    download: bool = True,
    denoise: float | None = None,
    *,
    cache: bool = True,
    skip_damaged: bool = False,
    group_folders: bool = False,
    in_memory: bool | None = None,
) -> Data:
    """Load a data set onto a device and split it.

    The test images of a source are the test split, unchanged. Without them it is 20 % of all
    images, the same ones for every `split_seed`. Validation images are drawn from the rest, unless
    the source has some. Both are stratified by class for classification.

    Args:
        name: Word of `DATASETS`, or path to one of the following. A text that is such a word is
            never a path, even if a file of that name exists (write ./digits, or pass a `Path`), and
            a `Path` is always a path.

            - a folder of images, ROOT/CLASS/*.png, or ROOT/train/CLASS/*.png with ROOT/test and
              ROOT/val, both optional and in any usual spelling (Training, test_set, validation).
              8-bit pictures are converted to RGB; `image_size` is required. Grey PNG and TIFF files
              of 16 bits, float and multi-channel TIFF files, and .npy files (H, W), (H, W, C) or
              (C, H, W) keep their type and channels, which all images must share; `image_size` is
              optional if they have one size.
            - an .npz file of train_images, train_labels, test_images, test_labels and optionally
              val_images, val_labels, class_names, axes (NHWC or NCHW): images (N, H, W),
              (N, H, W, C) or (N, C, H, W) of uint8, uint16, float16 or float32, labels integers
              from 0 on, or texts, (N,) or (N, 1). For several labels, a matrix (N, K) of 0 and 1
              with K > 1; for regression, numbers with target_names, any other matrix (N, K) of
              floats with K > 1, or (N,) or (N, 1) with fractions. See `Data.from_arrays`.
              If it is not compressed (numpy.savez), it can be larger than memory.
            - a folder of such arrays, each in its own file such as train_images.npy, where only the
              training arrays are required, or of images.npy and labels.npy or masks.npy alone. It
              can be larger than memory.
            - for segmentation, a folder of images and masks of the same names, ROOT/images/*.png
              and ROOT/masks/*.png, or both in ROOT/train, ROOT/val and ROOT/test; or an .npz file
              of train_images and train_masks (N, H, W). Splits other than train are optional. A
              mask holds class numbers from 0 on, and 255 for ignored pixels; the names of the
              classes may be given in ROOT/classes.txt, one per line, or in class_names. If all
              images have one size, `image_size` is optional; if all 8-bit pictures are grey, they
              have one channel.
            - with `denoise`, also a folder of images without classes. Sizes and channels are those
              of segmentation.
        root: Folder of torchvision's data sets, by default ~/.cache/skipsearch/data, or
            skipsearch/data in XDG_CACHE_HOME if that is an absolute path. Only downloads write to
            it: existing archives are unpacked to a temporary folder.
        device: Device of the tensors.
        image_size: Side of square images in pixels, or (height, width): an image is resized
            (bilinear, antialiased) to cover it, and cropped at the centre; a mask is resized in
            the same way, but by the nearest pixel.
        split_seed: Seed of the division into train and validation, in 0..2**32 - 1.
        validation_fraction: Share of validation images: by default 0.1 of the training images
            if the source has test images, and otherwise 0.2 of all images.
        download: Whether torchvision may download missing files.
        denoise: Standard deviation of Gaussian noise in grey levels of 0..255, which networks are
            to remove from the images; None for the task of the source. Labels are not used, and
            masks are not read.
        cache: Whether a folder is decoded once, into ``decoded`` in ~/.cache/skipsearch (or
            skipsearch in XDG_CACHE_HOME), or in `root` if that is given. The names, sizes and times
            of its files are checked whenever it is loaded. Small folders are not cached.
        skip_damaged: Whether image files that cannot be read are left out and reported, instead
            of an error.
        group_folders: Whether the folders inside the folder of a class are groups, such as
            patients, of which all images stay in one split. A group may be in several classes.
        in_memory: Whether the images are held in memory, or stay in a memory-mapped file that
            training reads batch by batch; None to hold them in memory if they fit into a share of
            it, see ``memory_share``. Folders in the cache, folders of arrays and uncompressed .npz
            files can be mapped.

    Returns:
        Data with images (N, C, H, W) and labels (N,) int64, several labels (N, K) uint8, targets
        (N, K) float64, or masks (N, H, W) uint8, on `device`.

    Raises:
        DataError: If the name, the device, a number, or the data are not as described above.
    """
    options = LoadOptions(
        root=None if root is None else Path(root).absolute(),
        image_size=image_size,
        split_seed=split_seed,
        validation_fraction=validation_fraction,
        download=download,
        denoise=denoise,
        cache=cache,
        skip_damaged=skip_damaged,
        group_folders=group_folders,
        in_memory=in_memory,
    )
    find_device(device)
    size = None if image_size is None else check_image_size(image_size, DataError)
    if denoise is not None and not (_is_number(denoise) and 0 < denoise <= MOST_NOISE):
        raise DataError(f"denoise {denoise!r} is not a number of grey levels, up to {MOST_NOISE}")
    for word, value in (
        ("cache", cache),
        ("skip_damaged", skip_damaged),
        ("group_folders", group_folders),
        ("in_memory", in_memory),
    ):
        if not (isinstance(value, bool) or (value is None and word == "in_memory")):
            raise DataError(f"{word}: {value!r} is not True or False")
    if not (_is_whole(split_seed) and 0 <= split_seed < 2**32):
        raise DataError(f"split_seed {split_seed!r} is not in 0..{2**32 - 1}")

    check_name(name)
    known = isinstance(name, str) and name in DATASETS
    path = None if known else path_of(name, "data")
    name = str(name)
    try:
        read = _read(name, path, size, options)
    except OSError as error:
        where = str(error.filename or name)
        where = where if len(where) <= LONGEST_SHOWN else f"{where[:LONGEST_SHOWN]}..."
        raise DataError(f"{where}: {error.strerror or error}") from None
    if group_folders and read.groups is None:
        raise DataError(f"{name}: group_folders has no effect, expected a folder of classes")
    of_images = denoise is not None
    if skip_damaged and (
        path is None or not path.is_dir() or is_array_folder(path, images_only=of_images)
    ):
        raise DataError(f"{name}: skip_damaged has no effect, expected a folder of image files")
    if denoise is not None:
        kind = pixel_type(read.parts["train"].images)
        if kind != "uint8":
            raise DataError(f"{name}: pixels of {kind}, and denoising is of uint8 (grey levels)")
        read = read.for_denoising()

    sigma = 0.0 if denoise is None else float(denoise)
    data = Data.of(
        name,
        read,
        path=path,
        size=size,
        split_seed=split_seed,
        validation_fraction=validation_fraction,
        sigma=sigma,
    )
    if in_memory is False and not data.train.is_mapped:
        why = (
            ", expected a folder of images, of .npy files or an uncompressed .npz file"
            if path is None
            else f" on arrays that are resized: leave out image_size, or save them as {size}"
        )
        raise DataError(f"{name}: in_memory=False has no effect{why}")
    return replace(data, options=options).to(device)


def on_this_machine(data: Data) -> Data:
    """Return data whose mapped files exist on this machine, for a worker of a cluster.

    A missing file is made again, from the same source at the same path.

    Args:
        data: Data from another process.

    Raises:
        DataError: If the source is missing here, or its content is another one.
    """
    if all(file.is_unchanged for file in data.files()):
        return data
    if data.options is None:
        return data  # reading it raises an error
    options = replace(data.options, in_memory=False)
    source = data.name if data.path is None else data.path
    again = load_data(source, **options.arguments())
    if again.fingerprint != data.fingerprint:
        raise DataError(
            f"{source}: has other images or labels on this machine than where the data were loaded"
            f" (fingerprint {again.fingerprint}, {data.fingerprint} there)"
        )
    return data.in_files(again.files())


def _read(
    name: str,
    path: Path | None,
    size: Size | None,
    options: LoadOptions,
) -> Read:
    """Read the source of a name or a path."""
    if path is None:
        return read_known(name, options.root, options.download)
    if is_array_folder(path, images_only=options.denoise is not None):
        return read_array_folder(path, options)
    if path.is_dir():
        if options.denoise is not None:
            images = partial(read_plain_folder, size=size)
            return read_folder_once(path, size, "images", images, options)
        layout = find_pairs(path)
        if layout is None:
            read = partial(read_folder, size=size, group_folders=options.group_folders)
            what = "classes and groups" if options.group_folders else "classes"
            return read_folder_once(path, size, what, read, options)
        pairs = partial(read_pairs, layout=layout, size=size)
        return read_folder_once(path, size, "pairs", pairs, options)
    if path.is_file():
        return read_npz(path, options)
    unknown = not_one_of(name, DATASETS)
    raise DataError(f"data {unknown}, and there is no folder or .npz file {path}")


def _is_number(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
