"""Photographs that scikit-image and scikit-learn carry in their wheels, cut into images with known answers.

    crops       which photograph is this a piece of: six classes, in colour
    textures    brick, grass or gravel: three classes, in grey
    mosaics     a patch of grass or gravel on bricks: the class is that of the patch, and its box is exact

Crops to train on come from the left two thirds of a photograph, crops to test on from the right third.
"""

from functools import cache

import numpy as np

__all__ = ["OBJECTS", "PHOTOGRAPHS", "TEXTURES", "crops", "mosaics", "photograph", "texture_crops"]

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
TEXTURES = ("brick", "grass", "gravel")
OBJECTS, GROUND = TEXTURES[1:], TEXTURES[0]  # of mosaics
SHRINK = 2  # a crop shows this many pixels of the photograph in one
SCALE = 255


@cache
def photograph(name):
    """One photograph, (3, h, w) or (h, w), in 0 … 1.

    Raises
        ImportError  scikit-image or scikit-learn is not installed.
    """
    try:
        if name in ("china", "flower"):
            from sklearn.datasets import load_sample_image

            pixels = load_sample_image(f"{name}.jpg")
        else:
            from skimage import data

            pixels = getattr(data, name)()
    except ImportError as error:
        raise ImportError(f"the photographs come with {error.name}: pip install relprop[data]") from error
    return np.moveaxis(pixels, -1, 0) / SCALE if pixels.ndim == 3 else pixels / SCALE


def crops(count, part, seed=0, size=32):
    """`count` crops of each photograph: images (6 · count, 3, size, size), labels; classes take turns.

    part  "train" from the left two thirds, "test" from the right third
    """
    return _cut([_shrunk(photograph(name)) for name in PHOTOGRAPHS], count, part, seed, size)


def texture_crops(count, part, seed=0, size=24):
    """`count` crops of each texture: images (3 · count, 1, size, size), labels; classes take turns."""
    return _cut([photograph(name)[None] for name in TEXTURES], count, part, seed, size)


def mosaics(count, part, seed=0, size=40):
    """Patches of grass or gravel on bricks: images (count, 1, size, size), labels of the patch, masks of its place.

    A patch has half the side of the image, so its box takes a quarter of it. masks (count, size, size)
    """
    random = np.random.default_rng([seed, part == "test", 1])
    ground, patches = photograph(GROUND)[None], [photograph(name)[None] for name in OBJECTS]
    images, labels, boxes = [], np.arange(count) % len(OBJECTS), np.zeros((count, size, size), dtype=bool)
    half = size // 2
    for label, box in zip(labels, boxes, strict=True):
        image = _crop(ground, part, random, size).copy()
        top, left = random.integers(0, size - half + 1, 2)
        place = slice(top, top + half), slice(left, left + half)
        image[:, *place] = _crop(patches[label], part, random, half)
        box[place] = True
        images.append(image)
    return np.stack(images), labels, boxes


def _shrunk(pixels):
    """Means over squares of SHRINK × SHRINK pixels."""
    c, h, w = pixels.shape
    h, w = h // SHRINK, w // SHRINK
    return pixels[:, : h * SHRINK, : w * SHRINK].reshape(c, h, SHRINK, w, SHRINK).mean(axis=(2, 4))


def _cut(grounds, count, part, seed, size):
    random = np.random.default_rng([seed, part == "test"])
    images = [_crop(ground, part, random, size) for _ in range(count) for ground in grounds]
    return np.stack(images), np.tile(np.arange(len(grounds)), count)


def _crop(ground, part, random, size):
    _, h, w = ground.shape
    split = 2 * w // 3
    first, last = (0, split - size) if part == "train" else (split, w - size)
    top, left = random.integers(0, h - size + 1), random.integers(first, last + 1)
    return ground[:, top : top + size, left : left + size]
