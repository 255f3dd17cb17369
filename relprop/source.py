"""What the command line calls a model and an input: names, files, and one of the shipped digits."""

from pathlib import Path

import numpy as np

from pyref.check import check_shape, nearest

__all__ = ["open_input", "open_model"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def open_model(name):
    """A shipped model by its name, or a model file.

    Raises
        ValueError         neither a shipped model nor an existing file
    """
    from relprop.models import native, zoo

    if name in zoo.names():
        return zoo.load(name)
    if Path(name).is_file():
        return native.load(name)
    if Path(name).suffix:
        raise ValueError(f"there is no model file {name}")
    raise ValueError(f"there is no shipped model {name!r}; {nearest(name, zoo.names())}")


def open_input(text, network, resize=False, invert=False, low=-1.0, high=1.0):
    """A batch for a network: digits:17, a .npy file (one sample or a batch), or an image scaled to [low, high].

    Raises
        ValueError  no such file or digit, or a shape that the network does not read.
    """
    if len(network.inputs) != 1:
        raise ValueError(f"{network.name} has inputs {', '.join(network.inputs)}; use relprop.explain from Python")
    name, shape = next(iter(network.inputs.items()))
    if text.startswith("digits:"):
        x = _digit(text.removeprefix("digits:"))
    elif not Path(text).is_file():
        raise ValueError(f"there is no file {text}; INPUT is digits:17, an image, or a .npy file")
    elif Path(text).suffix == ".npy":
        x = np.load(text, allow_pickle=False)
        if shape is not None and x.ndim == len(shape):
            x = x[np.newaxis]
    elif Path(text).suffix.lower() in IMAGES:
        x = _image(text, shape, resize, invert, low, high)
    else:
        raise ValueError(f"{text} ends in {Path(text).suffix!r}, expected .npy or an image")
    if shape is not None:
        check_shape(name, x, (None, *shape))
    return x


def _digit(text):
    from relprop.data import digits

    images, _ = digits()
    if not text.isdigit() or int(text) >= len(images):
        raise ValueError(f"digits:{text}: expected a number from 0 to {len(images) - 1}")
    return images[[int(text)]]


def _image(path, shape, resize, invert, low, high):
    """One image as (1, c, h, w): grey or colour as the network reads, black → low and white → high."""
    from PIL import Image, UnidentifiedImageError

    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"an image needs a network that reads (1, h, w) or (3, h, w), not {shape}")
    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if shape[0] == 1 else "RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None
    wanted = (shape[2] or image.width, shape[1] or image.height)
    if image.size != wanted:
        if not resize:
            raise ValueError(
                f"{path} is {image.width} × {image.height} pixels, the model reads {wanted[0]} × {wanted[1]}; "
                "pass --resize to scale it"
            )
        image = image.resize(wanted, Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float64) / 255
    pixels = 1 - pixels if invert else pixels
    pixels = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return (low + (high - low) * pixels)[np.newaxis]
