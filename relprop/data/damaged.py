"""How a damaged file is refused: which file, at which byte, what stood there and what was expected."""

import gzip
import zlib
from pathlib import Path

__all__ = ["damaged", "read_bytes", "the_file"]


def damaged(path, offset, problem):
    """The error to raise, with the place in the file."""
    return ValueError(f"{path}: at byte {offset}: {problem}")


def the_file(folder, *names):
    """The first of the names that is a file in the folder.

    Raises
        ValueError  there is none.
    """
    folder = Path(folder)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{folder} has no {names[0]}" + (f" (nor {', '.join(names[1:])})" if names[1:] else ""))


def read_bytes(path):
    """A file's bytes, unpacked where its name ends in .gz.

    Raises
        ValueError  the packing is damaged.
    """
    data = Path(path).read_bytes()
    if Path(path).suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, 0, f"the gzip packing cannot be undone: {error}") from error
