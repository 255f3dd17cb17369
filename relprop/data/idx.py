"""MNIST, in the idx files that it is distributed in: http://yann.lecun.com/exdb/mnist, and all that look alike."""

import math
import struct

import numpy as np

from relprop.data.damaged import damaged, read_bytes, the_file

__all__ = ["mnist", "read_idx"]

# the third byte of a file: its element type, most significant byte first
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path):
    """The array in an idx file, plain or packed with gzip.

        0 0 type rank | size of each axis, 4 bytes each | elements; all numbers with the most significant byte first

    Raises
        ValueError  another kind of file, or one that is too short or too long, with the byte where that shows.
    """
    data = read_bytes(path)
    if len(data) < 4:
        raise damaged(path, len(data), f"the file ends within the magic number, after {len(data)} of 4 bytes")
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    if zero:
        raise damaged(path, 0, f"found {data[:2].hex(' ')}, expected 00 00: this is no idx file")
    if kind not in TYPES:
        known = ", ".join(f"{k:02x}" for k in TYPES)
        raise damaged(path, 2, f"unknown element type {kind:02x}, expected one of {known}")
    start = 4 + 4 * rank
    if len(data) < start:
        raise damaged(
            path, len(data), f"the file ends within the {rank} axis lengths, which take bytes 4 to {start - 1}"
        )
    shape = struct.unpack(f">{rank}I", data[4:start])
    dtype = np.dtype(TYPES[kind])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        problem = "ends early" if len(data) < expected else "goes on"
        raise damaged(
            path, min(len(data), expected), f"the file {problem}: shape {shape} takes {expected} bytes, not {len(data)}"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(folder):
    """((train images, labels), (test images, labels)): images (n, 1, 28, 28) uint8, labels (n,) 0 … 9.

    Parameters
        folder  holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
                t10k-labels-idx1-ubyte, with a dot in place of the last dash or not, packed as .gz or not
    Raises
        ValueError  a missing or damaged file; images and labels that do not belong together.
    """
    return tuple(_part(folder, part) for part in ("train", "t10k"))


def _part(folder, part):
    paths = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        dotted = name.replace("-idx", ".idx")
        paths.append(the_file(folder, name, f"{name}.gz", dotted, f"{dotted}.gz"))
    images, labels = (read_idx(path) for path in paths)
    for path, array, rank in zip(paths, (images, labels), (3, 1), strict=True):
        if array.dtype != np.uint8 or array.ndim != rank:
            raise damaged(path, 2, f"holds {array.dtype} with {array.ndim} axes, expected uint8 with {rank}")
    if len(images) != len(labels):
        raise damaged(paths[1], 4, f"{len(labels)} labels, but {len(images)} images in {paths[0].name}")
    if (labels > 9).any():
        first = int(np.argmax(labels > 9))
        raise damaged(paths[1], 8 + first, f"label {labels[first]}, expected 0 … 9")
    return images[:, None], labels.astype(np.int64)
