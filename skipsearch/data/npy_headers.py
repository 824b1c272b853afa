"""Arrays in .npy files, and in .npz files that are not compressed, as places in these files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skipsearch.data.mapped import CHUNK_BYTES, ArrayFile, Stamp
from skipsearch.errors import reason

LOCAL_HEADER = 30  # bytes of a member of a zip file before its name
LENGTHS = slice(26, 30)  # of these, the lengths of the name and of an extra field


def array_in(path: Path) -> ArrayFile | str:
    """Return the array in an .npy file, or the reason why it cannot be mapped.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as stream:
        return _array_at(path, stream, os.fstat(stream.fileno()).st_size)


def arrays_in(path: Path, names: Iterable[str]) -> dict[str, ArrayFile | str]:
    """Return arrays in an .npz file, or the reason why one cannot be mapped.

    Those that can be are read once, since nothing compares them with their checksums later.

    Args:
        path: Path of the file.
        names: Names of the arrays.

    Raises:
        OSError: If the file cannot be read.
        BadZipFile: If it is no .npz file, or the bytes of an array are not those of its checksum.
        KeyError: If it lacks an array.
    """
    found: dict[str, ArrayFile | str] = {}
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        for name in names:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                found[name] = "it is compressed: write it with numpy.savez"
                continue
            stream.seek(member.header_offset)
            header = stream.read(LOCAL_HEADER)
            lengths = np.frombuffer(header[LENGTHS], "<u2").tolist()
            start = stream.seek(sum(lengths), os.SEEK_CUR)
            end = start + member.file_size
            place = _array_at(path, stream, end)
            if isinstance(place, ArrayFile):
                if place.end < end:
                    place = "it is damaged: the archive gives it more bytes than its shape"
                else:
                    with archive.open(member) as content:
                        while content.read(CHUNK_BYTES):
                            pass  # at the end, it compares the checksum
            found[name] = place
    return found


def _array_at(path: Path, stream: BinaryIO, end: int) -> ArrayFile | str:
    """Return the array whose header follows in a stream, or the reason why it cannot be mapped.

    Only complete arrays of numbers in C order and in the byte order of this machine can be mapped.

    Args:
        path: Path of the file.
        stream: Stream of the file, at the header.
        end: Position of the end of the array.
    """
    stamp = Stamp.of(stream.fileno())
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(stream)
    except ValueError as error:
        return f"it is no array of numpy.save, or damaged ({reason(error)})"
    if dtype.hasobject:
        return "it holds Python objects: write an array of numbers"
    if not shape or 0 in shape:
        return f"its shape is {shape}, expected images"
    if is_fortran:
        return "it is in Fortran order: write numpy.ascontiguousarray of it"
    if not dtype.isnative:
        return f"it is in the byte order of other machines: write its astype('{dtype.name}')"
    array = ArrayFile(
        path=path,
        stamp=stamp,
        offset=stream.tell(),
        dtype=dtype.str,
        shape=shape,
        form=shape[1:],
    )
    if array.end > end:
        return f"it is damaged: {array.end - end:,} bytes at its end are missing"
    return array
