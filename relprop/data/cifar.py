"""CIFAR-10 and CIFAR-100 in their binary files: https://www.cs.toronto.edu/~kriz/cifar.html."""

import numpy as np

from relprop.data.damaged import damaged, read_bytes, the_file

__all__ = ["CIFAR10_CLASSES", "cifar10", "cifar100", "read_cifar"]

SIDE, CHANNELS = 32, 3
PIXELS = CHANNELS * SIDE * SIDE
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar(path, classes):
    """(images (n, 3, 32, 32) uint8, labels (n, k)) of one file: k label bytes, then 3072 of red, green and blue.

    classes  how many of each label there are: (10,), or (20, 100) for the coarse and the fine label of CIFAR-100
    Raises
        ValueError  a file that does not consist of whole records, or a label out of range, with its byte.
    """
    data = np.frombuffer(read_bytes(path), np.uint8)
    record = len(classes) + PIXELS
    if data.size == 0 or data.size % record:
        whole = data.size // record * record
        raise damaged(
            path, whole, f"{data.size - whole} bytes are left over after {whole // record} records of {record} bytes"
        )
    rows = data.reshape(-1, record)
    for k, count in enumerate(classes):
        if (rows[:, k] >= count).any():
            first = int(np.argmax(rows[:, k] >= count))
            raise damaged(
                path, first * record + k, f"label {rows[first, k]} of record {first}, expected 0 … {count - 1}"
            )
    images = rows[:, len(classes) :].reshape(-1, CHANNELS, SIDE, SIDE).copy()
    return images, rows[:, : len(classes)].astype(np.int64)


def cifar10(folder):
    """((train images, labels), (test images, labels)) from data_batch_1.bin … data_batch_5.bin and test_batch.bin.

    Raises
        ValueError  a missing or damaged file.
    """
    names = [f"data_batch_{k}.bin" for k in range(1, 6)]
    parts = [read_cifar(the_file(folder, name), (10,)) for name in names]
    train = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test = read_cifar(the_file(folder, "test_batch.bin"), (10,))
    return tuple((images, labels[:, 0]) for images, labels in (train, test))


def cifar100(folder):
    """((train images, fine labels), (test images, fine labels)) from train.bin and test.bin.

    Raises
        ValueError  a missing or damaged file.
    """
    parts = (read_cifar(the_file(folder, f"{name}.bin"), (20, 100)) for name in ("train", "test"))
    return tuple((images, labels[:, 1]) for images, labels in parts)
