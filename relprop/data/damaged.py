"""How a damaged file is refused: which file, at which byte, what stood there and what was expected."""

import zlib
from pathlib import Path

__all__ = ["damaged", "read_bytes", "the_file"]

BLOCK = 1 << 20  # packed bytes that are unpacked at a time
GZIP = 31  # zlib's number for gzip's header and trailer


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
    return _unpacked(path, data) if Path(path).suffix == ".gz" else data


def _unpacked(path, data):
    """What the members of a gzip file hold; damage is where unpacking comes to a stop."""
    out, at = [], 0
    while at < len(data) or not out:
        member = zlib.decompressobj(GZIP)
        while not member.eof:
            if at >= len(data):
                raise damaged(path, len(data), "the gzip packing ends early")
            block, before = data[at : at + BLOCK], member.copy()
            try:
                out.append(member.decompress(block))
            except zlib.error as error:
                where = at + _first_bad(before, block)
                raise damaged(path, where, f"the gzip packing cannot be undone: {error}") from None
            at += len(block) - len(member.unused_data)
    return b"".join(out)


def _first_bad(member, block):
    """How many bytes of a block can be unpacked."""
    for k in range(len(block)):
        try:
            member.decompress(block[k : k + 1])
        except zlib.error:
            return k
    return len(block)
