"""What the command line calls a model and an input: names, files, and one of the shipped digits."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pyref import fit_patterns
from pyref.check import check_choice, check_shape, nearest
from relprop.backends import resolve
from relprop.progress import bar

__all__ = [
    "PREPROCESSING",
    "Preprocessing",
    "learn_patterns",
    "open_input",
    "open_model",
    "preprocessing",
    "read_labels",
]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


@dataclass(frozen=True)
class Preprocessing:
    """What an image becomes before a network reads it: (pixel / 255 - mean) / std, resized and cut out of the middle.

    size    length of the shorter side before the middle is cut out; None for what the model reads
    mean    per channel, or one for all; std likewise
    order   "rgb" or "bgr"
    layout  "nchw" or "nhwc"; None for what the model's shape looks like
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: str = "rgb"
    layout: str | None = None


PREPROCESSING = {
    "imagenet": Preprocessing(256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "inception": Preprocessing(342, mean=(0.5,), std=(0.5,)),
    "unit": Preprocessing(),
    "mnist": Preprocessing(mean=(0.1307,), std=(0.3081,)),
}


def preprocessing(words):
    """A Preprocessing from what was said: a name of PREPROCESSING, and settings such as order=bgr or mean=0.5,0.5,0.5.

    Raises
        ValueError  an unknown name, setting or value.
    """
    chosen = Preprocessing()
    for word in sorted(words, key=lambda w: "=" in w):
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            if name not in PREPROCESSING:
                raise ValueError(f"there is no preprocessing {name!r}; {nearest(name, PREPROCESSING)}")
            chosen = PREPROCESSING[name]
        elif name in ("order", "layout"):
            check_choice(name, value, ("rgb", "bgr") if name == "order" else ("nchw", "nhwc"))
            chosen = replace(chosen, **{name: value})
        elif name in ("size", "mean", "std"):
            chosen = replace(chosen, **{name: _numbers(name, value)})
        else:
            raise ValueError(
                f"there is no setting {name!r}; {nearest(name, ('size', 'mean', 'std', 'order', 'layout'))}"
            )
    return chosen


def _numbers(name, text):
    """A length for `size`, else a tuple of numbers."""
    try:
        numbers: tuple = (int(text),) if name == "size" else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name} is {text!r}, expected {'a whole number' if name == 'size' else 'numbers'}") from None
    if (name == "size" and numbers[0] < 1) or (name == "std" and 0 in numbers):
        raise ValueError(f"{name} is {text!r}, expected a number above 0")
    return numbers[0] if name == "size" else numbers


def read_labels(path):
    """Names of classes: a line each, or JSON, as a list or {number: name}. Returns {class: name}.

    Raises
        ValueError  no such file, or another kind of JSON.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    text = Path(path).read_text(encoding="utf-8")
    if Path(path).suffix != ".json":
        return dict(enumerate(line.strip() for line in text.splitlines()))
    try:
        names = json.loads(text)
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        return {int(k): name if isinstance(name, str) else str(name[-1]) for k, name in pairs}
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f"{path} is no list of names, and no {{number: name}}: {error}") from error


def open_model(name):
    """A shipped model by its name, a model file, or ARCHITECTURE:WEIGHTS, a state dict for what `relprop.build` knows.

    Raises
        ValueError         neither a shipped model nor an existing file; weights that do not fit the architecture
    """
    from relprop.models import load, zoo
    from relprop.models.architectures import ARCHITECTURES, build

    architecture, _, weights = name.partition(":")
    if weights and architecture in ARCHITECTURES:
        if not Path(weights).is_file():
            raise ValueError(f"there is no file {weights} with weights of {architecture}")
        return build(architecture, weights=weights)

    if name in zoo.names():
        return zoo.load(name)
    if Path(name).is_file():
        return load(name)
    if Path(name).suffix:
        raise ValueError(f"there is no model file {name}")
    raise ValueError(f"there is no shipped model {name!r}; {nearest(name, zoo.names())}")


def open_input(text, network, resize=False, invert=False, low=-1.0, high=1.0, prepare=None):
    """A batch for a network: digits:17, digits for all of them, a .npy file (one sample or a batch), or an image.

    An image is scaled to [low, high], or becomes what `prepare`, a Preprocessing, says.

    Raises
        ValueError  no such file or digit, or a shape that the network does not read.
    """
    if len(network.inputs) != 1:
        raise ValueError(f"{network.name} has inputs {', '.join(network.inputs)}; use relprop.explain from Python")
    name, shape = next(iter(network.inputs.items()))
    if text == "digits":
        from relprop.data import digits

        x = digits()[0]
    elif text.startswith("digits:"):
        x = _digit(text.removeprefix("digits:"))
    elif not Path(text).is_file():
        raise ValueError(f"there is no file {text}; INPUT is digits, digits:17, an image, or a .npy file")
    elif Path(text).suffix == ".npy":
        x = np.load(text, allow_pickle=False)
        if shape is not None and x.ndim == len(shape):
            x = x[np.newaxis]
    elif Path(text).suffix.lower() in IMAGES:
        x = (
            _image(text, shape, resize, invert, low, high)
            if prepare is None
            else _prepared(text, shape, prepare, invert)
        )
    else:
        raise ValueError(f"{text} ends in {Path(text).suffix!r}, expected .npy or an image")
    if shape is not None:
        check_shape(name, x, (None, *shape))
    return x


def learn_patterns(text, network, backend="auto"):
    """Patterns of a network from a batch of inputs, named as in `open_input`: `pyref.fit_patterns`.

    Raises
        ValueError  what open_input refuses, or a network for which patterns are not defined
    """
    x = open_input(text, network)
    batches = [x[i : i + 100] for i in range(0, len(x), 100)]
    name, module = resolve(backend)
    if name == "cuda":
        network, batches = module.prepare(network), [module.to_device(batch) for batch in batches]
    return fit_patterns(network, batches, backend=module, progress=partial(bar, label=f"patterns of {network.name}"))


def _digit(text):
    from relprop.data import digits

    images, _ = digits()
    if not text.isdigit() or int(text) >= len(images):
        raise ValueError(f"digits:{text}: expected a number from 0 to {len(images) - 1}")
    return images[[int(text)]]


def _prepared(path, shape, prepare, invert):
    """One image as the network reads it, by a Preprocessing."""
    from PIL import Image

    layout = prepare.layout or ("nhwc" if shape and shape[-1] in (1, 3) and shape[0] not in (1, 3) else "nchw")
    if shape is None or len(shape) != 3:
        raise ValueError(f"an image needs a network that reads (c, h, w) or (h, w, c), not {shape}")
    c, h, w = shape if layout == "nchw" else (shape[2], shape[0], shape[1])
    if c not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, the model reads {c} in the layout {layout}")
    if any(len(v) not in (1, c) for v in (prepare.mean, prepare.std)):
        raise ValueError(f"mean and std are {prepare.mean} and {prepare.std}, expected 1 or {c} numbers")
    image = _open(path, "L" if c == 1 else "RGB")
    scale = (prepare.size or min(h or 0, w or 0) or min(image.size)) / min(image.size)
    scale = max(scale, (w or 1) / image.width, (h or 1) / image.height)
    size = (max(round(image.width * scale), w or 1), max(round(image.height * scale), h or 1))
    image = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    left, upper = ((have - (want or have)) // 2 for have, want in zip(size, (w, h), strict=True))
    image = image.crop((left, upper, left + (w or size[0]), upper + (h or size[1])))
    pixels = np.asarray(image, dtype=np.float64).reshape(image.height, image.width, c) / 255
    pixels = 1 - pixels if invert else pixels
    pixels = pixels[..., ::-1] if prepare.order == "bgr" else pixels
    pixels = (pixels - np.array(prepare.mean)) / np.array(prepare.std)
    return (np.moveaxis(pixels, -1, 0) if layout == "nchw" else pixels)[np.newaxis]


def _open(path, mode):
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return opened.convert(mode)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def _image(path, shape, resize, invert, low, high):
    """One image as (1, c, h, w): grey or colour as the network reads, black → low and white → high."""
    from PIL import Image

    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"an image needs a network that reads (1, h, w) or (3, h, w), not {shape}")
    image = _open(path, "L" if shape[0] == 1 else "RGB")
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
