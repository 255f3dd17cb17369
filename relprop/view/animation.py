"""Moving pictures: interior gradients along the way from the baseline, as GIF or APNG."""

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from relprop.view.figure import QUIET, new_figure
from relprop.view.heatmap import DIVERGING, aggregate, draw_heatmap, draw_input, scale

__all__ = ["interior_frames", "save_animation"]

LINE, POINT = "#0072b2", "#d55e00"
SUFFIXES = (".gif", ".png", ".apng")


def interior_frames(attribution, sample=0, channels="sum", shared=False, clip=None):
    """A figure for each α of `relprop.explain(…, method="interior_gradients")`: the scaled input and its gradient map.

    shared  whether all frames have the scale of the largest: then they fade where the network saturates; else each has
            its own, which stands under it
    clip    a percentile of |value| at which the scales end; each frame says how many of its values that clips

    Raises
        ValueError  an attribution without α; several inputs; a sample that is not there.
    """
    alphas = attribution.alphas
    if alphas is None:
        raise ValueError(f"{attribution.method} has no α: an animation is of interior_gradients")
    values, x = attribution.in_numpy.result.values, attribution.in_numpy.x
    if isinstance(values, dict) or isinstance(x, dict):
        raise ValueError("the network has several inputs: an animation shows one")
    if not 0 <= sample < len(x):
        raise ValueError(f"sample is {sample}, expected 0 to {len(x) - 1}")
    pictures = [aggregate(v[sample], channels) for v in values]
    together = scale(np.concatenate([p.ravel() for p in pictures]), clip).limit if shared else None
    outputs = [float(np.asarray(o)[sample]) for o in attribution.settings["outputs"]]
    curves = {"output": outputs, "Σ |gradient|": [float(np.abs(p).sum()) for p in pictures]}
    return [
        _frame(x[sample], picture, k, [float(a) for a in alphas], curves, scale(picture, clip, together))
        for k, picture in enumerate(pictures)
    ]


def _frame(x, picture, k, alphas, curves, found):
    figure = new_figure(5.6, 2.5)
    left, middle = (figure.add_axes((a, 0.2, 0.28, 0.65)) for a in (0.02, 0.33))
    draw_input(left, x)
    left.set_title("input x", fontsize=9)
    draw_heatmap(middle, picture, limit=found.limit)
    middle.set_title(f"gradient at α = {alphas[k]:.3g}", fontsize=9)
    middle.set_xlabel(str(found), fontsize=7, color=QUIET)
    for (name, values), bottom in zip(curves.items(), (0.62, 0.22), strict=True):
        axes = figure.add_axes((0.73, bottom, 0.25, 0.23))
        axes.plot(alphas, values, "-", color="#b0b0b0", linewidth=1)
        axes.plot(alphas[: k + 1], values[: k + 1], "-", color=LINE, linewidth=1.5)
        axes.plot(alphas[k], values[k], "o", color=POINT, markersize=4)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6.5, labelbottom=bottom < 0.5)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    axes.set_xlabel("α", fontsize=8, labelpad=1)
    words = "At x̄ + α (x − x̄), from the baseline x̄ to the input. Blue negative, white zero, red positive."
    figure.text(0.02, 0.025, words, fontsize=7, color=QUIET)
    return figure


def save_animation(figures, path, seconds=0.4, dpi=100):
    """Write figures of one size as .gif, .png or .apng, repeated without end; the same figures give the same bytes.

    seconds  for each figure, and three times as long for the last

    Raises
        ValueError  no figure; another suffix; a time that is not positive.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path.name} ends in {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    if not figures:
        raise ValueError("there is nothing to write: figures is empty")
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}, expected a positive number")
    frames = [_pixels(figure, dpi) for figure in figures]
    times = [round(1000 * seconds)] * (len(frames) - 1) + [round(3000 * seconds)]
    if path.suffix == ".gif":
        palette = _palette()
        frames = [_indexed(frame, palette) for frame in frames]
        options = {"disposal": 1, "optimize": False}
    else:
        options = {"default_image": False}
    kind = "GIF" if path.suffix == ".gif" else "PNG"
    first, *rest = frames
    first.save(path, kind, save_all=True, append_images=rest, duration=times, loop=0, **options)
    return path


def _pixels(figure, dpi):
    figure.set_dpi(dpi)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


def _palette():
    """One palette for every frame, so that a colour means the same in each: those of heatmaps, greys, the curves'."""
    signed = DIVERGING(np.linspace(0, 1, 161), bytes=True)[:, :3]  # an odd number: white is among them
    greys = np.repeat(np.linspace(0, 255, 65).round().astype(np.uint8)[:, None], 3, axis=1)
    mixed = [np.linspace(np.array(to_rgb(c)) * 255, (255, 255, 255), 15).astype(np.uint8) for c in (LINE, POINT)]
    return np.concatenate([signed, greys, *mixed])


def _indexed(frame, palette):
    """The frame in the nearest colours of the palette, exactly: Pillow's own search is not exact, and white is."""
    pixels = np.asarray(frame)
    colors, which = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    away = colors[:, None].astype(np.int32) - palette.astype(np.int32)
    nearest = (away * away).sum(axis=2).argmin(axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[which].reshape(pixels.shape[:2]), "P")
    image.putpalette(palette.tobytes())
    return image
