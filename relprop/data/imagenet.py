"""ImageNet as folders: one folder of JPEGs for each class, and the boxes of the localisation challenge as XML.

FOLDER/val/n01440764/ILSVRC2012_val_00000293.JPEG
FOLDER/Annotations/…/ILSVRC2012_val_00000293.xml          anywhere below
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from relprop.data.damaged import damaged, the_file

__all__ = ["Photo", "imagenet", "read_boxes", "read_photo"]

WNID = re.compile(r"n\d{8}")
SUFFIXES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class Photo:
    """One image: its file, its class, and the boxes (left, top, right, bottom) around the object, in its own pixels."""

    path: Path
    label: int
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def imagenet(folder, split="val"):
    """(photos, names of the classes); a class is the place of its folder in alphabetical order, as torchvision counts.

    A file classes.txt, one name a line in that order, gives names to print.

    Raises
        ValueError  no such folder, a folder that is no class, a class without images, or damaged boxes.
    """
    root = Path(folder) / split if (Path(folder) / split).is_dir() else Path(folder)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    classes = sorted(p for p in root.iterdir() if p.is_dir() and WNID.fullmatch(p.name))
    if not classes:
        raise ValueError(f"{root} has no folders called as ImageNet's classes, such as n01440764")
    boxes = {p.stem: p for p in sorted(Path(folder).glob("Annotations/**/*.xml"))}
    photos = []
    for label, place in enumerate(classes):
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{place} has no images ({', '.join(SUFFIXES)})")
        for path in files:
            found = read_boxes(boxes[path.stem]) if path.stem in boxes else ()
            photos.append(Photo(path, label, found))
    names = tuple(p.name for p in classes)
    if (Path(folder) / "classes.txt").is_file():
        names = tuple(the_file(folder, "classes.txt").read_text(encoding="utf-8").splitlines())
        if len(names) != len(classes):
            raise ValueError(f"{Path(folder) / 'classes.txt'} has {len(names)} lines, for {len(classes)} classes")
    return photos, names


def read_boxes(path):
    """The boxes (left, top, right, bottom) of an annotation, in pixels of the image.

    Raises
        ValueError  no XML, no box, or a box that is empty or leaves the image.
    """
    data = Path(path).read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        at = min(k for k in (data.find(b"<!DOCTYPE"), data.find(b"<!ENTITY")) if k >= 0)
        raise damaged(path, at, "declares entities, which annotations do not need")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        line, column = error.position
        offset = sum(len(row) for row in data.splitlines(keepends=True)[: line - 1]) + column
        raise damaged(path, offset, f"is no XML: {error}") from error
    size = max(0, data.find(b"<size"))
    width, height = (_number(path, data, size, root, f"size/{side}") for side in ("width", "height"))
    boxes = []
    for k, box in enumerate(root.iterfind("object/bndbox")):
        at = _nth(data, b"<bndbox", k)
        sides = (_number(path, data, at, box, side) for side in ("xmin", "ymin", "xmax", "ymax"))
        left, top, right, bottom = sides
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise damaged(
                path, at, f"box ({left}, {top}, {right}, {bottom}) is no part of an image of {width} × {height}"
            )
        boxes.append((left, top, right, bottom))
    if not boxes:
        raise damaged(path, 0, "has no object/bndbox")
    return tuple(boxes)


def _nth(data, word, n):
    at = -1
    for _ in range(n + 1):
        at = data.find(word, at + 1)
    return at


def _number(path, data, at, element, name):
    """A number inside the element that stands at a byte of the data."""
    text = element.findtext(name)
    try:
        return int(text)
    except (TypeError, ValueError):
        place = max(at, data.find(f"<{name.rpartition('/')[2]}>".encode(), at))
        raise damaged(path, place, f"{name} is {text!r}, expected a number of pixels") from None


def read_photo(photo, size):
    """((3, size, size) float64 in 0 … 255, mask (size, size) of its boxes): scaled by its shorter side, middle cut out.

    Raises
        ValueError  a file that is no image, or ends early.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(photo.path) as file:
            image = file.convert("RGB")
    except UnidentifiedImageError:
        raise damaged(photo.path, 0, "the file begins like no image") from None
    except (OSError, SyntaxError) as error:  # it begins like one: what there is ends early
        raise damaged(photo.path, photo.path.stat().st_size, f"cannot be decoded: {error}") from error
    scale = size / min(image.size)
    width, height = (max(size, round(scale * side)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)
    mask = np.zeros((height, width), dtype=bool)
    across, down = width / image.width, height / image.height
    for x0, y0, x1, y1 in photo.boxes:
        mask[round(y0 * down) : round(y1 * down), round(x0 * across) : round(x1 * across)] = True
    cut = slice(top, top + size), slice(left, left + size)
    return np.moveaxis(pixels[cut], -1, 0), mask[cut]
