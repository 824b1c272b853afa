"""Arrays in .npy files, and in .npz files that are not compressed, as places in these files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skipsearch.data.mapped import ArrayFile, Stamp

LOCAL_HEADER = 30  # bytes of a member of a zip file before its name
LENGTHS = slice(26, 30)  # of these, the lengths of the name and of an extra field


def array_in(path: Path) -> ArrayFile | None:
    """Return the array in an .npy file; None if it cannot be mapped.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as stream:
        return _array_at(path, stream)


def arrays_in(path: Path) -> dict[str, ArrayFile]:
    """Return the arrays by name in an .npz file that can be mapped: those not compressed.

    Raises:
        OSError: If the file cannot be read.
        BadZipFile: If it is no .npz file.
    """
    found = {}
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                continue
            stream.seek(member.header_offset)
            header = stream.read(LOCAL_HEADER)
            lengths = np.frombuffer(header[LENGTHS], "<u2").tolist()
            start = stream.seek(sum(lengths), os.SEEK_CUR)
            array = _array_at(path, stream)
            if array is not None and array.end == start + member.file_size:
                found[member.filename.removesuffix(".npy")] = array
    return found


def _array_at(path: Path, stream: BinaryIO) -> ArrayFile | None:
    """Return the array whose header follows in a stream; None if it cannot be mapped.

    Only complete arrays of numbers in C order and in the byte order of this machine can be mapped.
    """
    stamp = Stamp.of(stream.fileno())
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(stream)
    except ValueError:
        return None
    if is_fortran or dtype.hasobject or not dtype.isnative or not shape or 0 in shape:
        return None
    array = ArrayFile(
        path=path,
        stamp=stamp,
        offset=stream.tell(),
        dtype=dtype.str,
        shape=shape,
        form=shape[1:],
    )
    return array if array.end <= stamp.size else None  # None if it is truncated
