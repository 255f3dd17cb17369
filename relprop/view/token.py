"""Words coloured by relevance: red speaks for the output, blue against it, white says nothing."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import TextPath

from relprop.view.figure import add_note, new_figure, note_room
from relprop.view.heatmap import DIVERGING, scale

__all__ = ["token_colors", "token_relevance", "tokens_figure", "visible"]

SIGNS = {"\n": "↵", "\r": "↵", "\t": "→"}
LINE, SIZE = 0.34, 10  # inches of a line, points of a letter


def token_relevance(tokens, values):
    """One number for each token: values (t,), or (t, c) of embeddings, summed over c.

    Raises
        ValueError  another shape; another number of tokens.
        TypeError   a token that is no string.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (1, 2):
        raise ValueError(f"values have shape {values.shape}, expected (t,) or (t, c): those of one sample")
    if len(tokens) != len(values):
        raise ValueError(f"there are {len(tokens)} tokens and {len(values)} values, expected one for each")
    for token in tokens:
        if not isinstance(token, str):
            raise TypeError(f"a token is {type(token).__name__} {token!r}, expected a string")
    return values if values.ndim == 1 else values.sum(axis=1)


def tokens_figure(tokens, values, *, title="", width=6.5, clip=None, limit=None, unit="relevance"):
    """The tokens as running text, each on the colour of its relevance, with the scale below.

    tokens  strings; what cannot be seen has a sign: ↵ a line's end, ␣ a space at the ends, ∅ nothing
    values  as `token_relevance` takes them
    width   of the figure, in inches
    clip    a percentile of |value| at which the scale ends; the figure says how many values that clips
    limit   the end of the scale, where several figures share one
    """
    relevance = token_relevance(tokens, values)
    found = scale(relevance, clip, limit)
    lines = _lines([visible(t) for t in tokens], width - 0.3)
    note = f"{unit}: ± {found.limit:.3g} at the ends of the scale" + (f"; {found.says}" if found.says else "")
    room, head = note_room(note, width), 0.42 if title else 0.15
    height = head + LINE * len(lines) + 0.15 + room
    figure = new_figure(width, height)
    if title:
        figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=10, va="top")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    at = 0
    for row, line in enumerate(lines):
        for token, left, long in line:
            color, ink = token_colors(relevance[at], found.limit)
            top = head + row * LINE
            box = FancyBboxPatch(
                (0.15 + left, top + 0.04), long, LINE - 0.1, boxstyle="round,pad=0,rounding_size=0.04",
                facecolor=color, edgecolor="#d0d0d0", linewidth=0.5,
            )  # fmt: skip
            axes.add_patch(box)
            middle = 0.15 + left + long / 2, top + LINE / 2
            axes.text(*middle, token, fontsize=SIZE, ha="center", va="center_baseline", color=ink, parse_math=False)
            at += 1
    add_note(figure, note)
    return figure


def visible(token):
    """A token whose spaces at its ends, line ends and other characters that cannot be seen are shown by signs."""
    inner = token.strip(" ")
    before = len(token) - len(token.lstrip(" ")) if inner else len(token)
    after = len(token) - len(token.rstrip(" ")) if inner else 0
    shown = "".join(SIGNS.get(c, c if c == " " or c.isprintable() else "�") for c in inner)
    return "␣" * before + shown + "␣" * after or "∅"


def _lines(tokens, room):
    """[[(token, left, width), …] a line], in inches."""
    lines, left = [[]], 0.0
    for token in tokens:
        box = TextPath((0, 0), token.replace("$", r"\$"), size=SIZE).get_extents()
        long = max(box.width, 0) / 72 + 0.12
        if left and left + long > room:
            lines.append([])
            left = 0.0
        lines[-1].append((token, left, long))
        left += long + 0.05
    return lines


def token_colors(value, limit):
    """(ground, ink) of a value, as #rrggbb: the ink is white on what is dark."""
    if not np.isfinite(value):
        return "#d9d9d9", "#222222"
    red, green, blue, _ = DIVERGING(min(1.0, max(0.0, (float(value) / limit + 1) / 2)))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    return to_hex((red, green, blue)), "#ffffff" if dark else "#222222"
