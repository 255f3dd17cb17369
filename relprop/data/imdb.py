"""IMDB film reviews: the folder aclImdb as it is distributed, or Keras's imdb.npz, which is read without pickle.

Both become sequences of word numbers as Keras makes them: 0 pads, 1 starts, 2 is a word outside the vocabulary, and
the k-th most frequent word is k + 3. Long reviews keep their end; short ones are padded in front.
"""

import io
import pickletools
import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from relprop.data.damaged import damaged

__all__ = ["imdb", "imdb_with_words", "pad", "read_folder", "read_keras", "vocabulary"]

PAD, START, UNKNOWN, FIRST = 0, 1, 2, 3
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)*")


def imdb(path, words=5000, length=500):
    """((train, labels), (test, labels)): numbers (n, length) int64 of the `words` most frequent words, labels 0 or 1.

    Parameters
        path  the folder aclImdb, or the file imdb.npz
    Raises
        ValueError  a missing, empty or damaged file.
    """
    return imdb_with_words(path, words, length)[:2]


def imdb_with_words(path, words=5000, length=500):
    """`imdb`, and the word of each number; Keras's file has no words, only their numbers."""
    if Path(path).suffix == ".npz":
        parts, ranked = read_keras(path), [f"#{k}" for k in range(FIRST + 1, words)]
    else:
        texts = _texts(path)
        ranked = _ranked(texts)
        parts = _numbered(texts, ranked)
    return *((pad(_within(reviews, words), length), labels) for reviews, labels in parts), vocabulary(ranked, words)


def vocabulary(ranked, words):
    """The word of each number below `words`, from words ranked by frequency."""
    special = {PAD: "<pad>", START: "<start>", UNKNOWN: "<unk>"}
    return (*(special.get(k, f"#{k}") for k in range(FIRST + 1)), *ranked[: words - FIRST - 1])


def pad(sequences, length):
    """(n, length): the last `length` numbers of each sequence, with 0 in front of shorter ones."""
    out = np.full((len(sequences), length), PAD, dtype=np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        kept = sequence[-length:]
        row[length - len(kept) :] = kept
    return out


def _within(reviews, words):
    return [[number if number < words else UNKNOWN for number in review] for review in reviews]


def read_folder(folder):
    """((train, labels), (test, labels)) of aclImdb/{train,test}/{pos,neg}/*.txt, numbered by frequency in train.

    Raises
        ValueError  a folder without reviews, or a review that is no UTF-8.
    """
    texts = _texts(folder)
    return _numbered(texts, _ranked(texts))


def _texts(folder):
    """{(part, sign): reviews as lists of words}"""
    texts = {}
    for part in ("train", "test"):
        for sign in ("neg", "pos"):
            files = sorted((Path(folder) / part / sign).glob("*.txt"))
            if not files:
                raise ValueError(f"{Path(folder) / part / sign} has no reviews (*.txt)")
            texts[part, sign] = [_words(path) for path in files]
    return texts


def _ranked(texts):
    """The words of the reviews to train on, the most frequent first."""
    counts = Counter(word for (part, _), reviews in texts.items() if part == "train" for r in reviews for word in r)
    return sorted(counts, key=lambda word: (-counts[word], word))


def _numbered(texts, ranked):
    number = {word: FIRST + k for k, word in enumerate(ranked, 1)}
    result = []
    for part in ("train", "test"):
        reviews = [[START, *(number.get(w, UNKNOWN) for w in r)] for s in ("neg", "pos") for r in texts[part, s]]
        labels = np.repeat([0, 1], [len(texts[part, s]) for s in ("neg", "pos")])
        result.append((reviews, labels))
    return tuple(result)


def _words(path):
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, error.start, f"{data[error.start : error.start + 1].hex()} is no UTF-8") from error
    return WORD.findall(text.replace("<br />", " ").lower())


# ── Keras's file: arrays of lists, which NumPy stores as a pickle ───────────────────────────────────────


def read_keras(path):
    """((train, labels), (test, labels)) of imdb.npz: lists of numbers, and labels.

    The lists are pickled in the file. They are read by an interpreter that knows numbers, lists, tuples and the
    frame that NumPy puts around them, and that calls nothing.

    Raises
        ValueError  no such file, a damaged one, or a pickle with anything else in it, with the byte inside the member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                name: _member(path, archive, f"{name}.npy") for name in ("x_train", "y_train", "x_test", "y_test")
            }
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no imdb.npz: {error}") from error
    parts = []
    for part in ("train", "test"):
        reviews = _lists(f"{path}/x_{part}.npy", members[f"x_{part}"])
        parts.append((reviews, _labels(f"{path}/y_{part}.npy", members[f"y_{part}"], len(reviews))))
    return tuple(parts)


def _member(path, archive, name):
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        at = archive.getinfo(name).header_offset
        raise damaged(path, at, f"{name}, which is packed there, cannot be undone: {error}") from error


def _labels(where, data, count):
    """The labels in a .npy file of numbers."""
    file = io.BytesIO(data)
    try:
        labels = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(where, file.tell(), str(error)) from error
    start = len(data) - labels.nbytes
    if labels.shape != (count,):
        raise damaged(where, start, f"labels have shape {labels.shape}, expected ({count},) as there are reviews")
    if (wrong := np.flatnonzero(~np.isin(labels, (0, 1)))).size:
        at = start + int(wrong[0]) * labels.itemsize
        raise damaged(where, at, f"label {labels[wrong[0]]} of review {wrong[0]}, expected 0 or 1")
    return labels.astype(np.int64)


def _lists(where, data):
    """The lists of numbers in a .npy file of objects."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise damaged(where, file.tell(), str(error)) from error
    if len(shape) != 1 or dtype.kind != "O":
        raise damaged(where, 8, f"an array of {dtype} with shape {shape}, expected one axis of lists")
    start = file.tell()
    found = _unpickle(where, data, start)
    rows = found if isinstance(found, list) else None
    if rows is None or len(rows) != shape[0] or not all(_numbers(row) for row in rows):
        raise damaged(where, start, f"the pickle does not hold {shape[0]} lists of numbers from 0 on")
    return rows


def _numbers(row):
    return isinstance(row, list) and all(type(number) is int and number >= 0 for number in row)


class _Mark:
    """Where a list or tuple on the stack begins."""


class _Name(str):
    """Something that a pickle names: it is never looked up."""


class _Built(list):
    """A call that a pickle asks for: it is never made. [what, arguments, state]"""


ALLOWED = {
    "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray", "numpy dtype",
    "_codecs encode",
}  # fmt: skip
CONSTANTS = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (),
}  # fmt: skip
VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG", "SHORT_BINBYTES", "BINBYTES", "BINUNICODE",
    "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "STRING",
}  # fmt: skip


def _unpickle(where, data, start):
    """What a pickle of an object array says, without doing what it asks for: the list that the array is built of."""
    stack: list = []
    memo: dict = {}

    def since_mark():
        at = max(k for k, item in enumerate(stack) if isinstance(item, _Mark))
        items = stack[at + 1 :]
        del stack[at:]
        return items

    place = start
    try:
        for code, argument, place in pickletools.genops(io.BytesIO(data[start:])):
            name = code.name
            if name in ("PROTO", "FRAME"):
                continue
            if name == "MARK":
                stack.append(_Mark())
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name in VALUES:
                stack.append(argument)
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "LIST":
                stack.append(since_mark())
            elif name == "TUPLE":
                stack.append(tuple(since_mark()))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            elif name == "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            elif name == "APPENDS":
                items = since_mark()
                stack[-1].extend(items)
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("GLOBAL", "STACK_GLOBAL"):
                named = argument if name == "GLOBAL" else " ".join(stack[-2:])
                if name == "STACK_GLOBAL":
                    del stack[-2:]
                if named not in ALLOWED:
                    raise damaged(
                        where, start + place, f"the pickle names {named!r}, which numbers in lists do not need"
                    )
                stack.append(_Name(named))
            elif name == "REDUCE":
                arguments = stack.pop()
                stack[-1] = _Built([stack[-1], arguments, None])
            elif name == "BUILD":
                state = stack.pop()
                stack[-1][2] = state
            elif name == "STOP":
                array = stack.pop()
                return array[2][4]  # (version, shape, dtype, Fortran order, items)
            else:
                raise damaged(where, start + place, f"the pickle does {name}, which numbers in lists do not need")
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise damaged(where, start + (place or 0), f"the pickle is damaged: {error!r}") from error
    except ValueError as error:
        if str(error).startswith(str(where)):
            raise
        raise damaged(where, start + (place or 0), f"the pickle is damaged: {error}") from error
    raise damaged(where, len(data), "the pickle ends early")
