"""Pages that need nothing else: one HTML file with its pictures, tables, numbers and program in it.

A page is a list of blocks. It works by double click and offline, on a narrow screen, in light and dark, and by
keyboard; the values that an interactive heatmap shows are those of its array, float for float. Every word is escaped,
and the page's own policy lets a browser run its one program and load nothing.
"""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyref.check import check_choice
from relprop.view.figure import figure_bytes
from relprop.view.heatmap import DIVERGING, aggregate, scale
from relprop.view.token import token_colors, token_relevance, visible

__all__ = [
    "Text",
    "Heading",
    "Verdict",
    "Link",
    "Table",
    "Drawing",
    "Heatmap",
    "Heatmaps",
    "Tokens",
    "page_text",
    "write_page",
]

STYLES = {"plain": "p", "quiet": 'p class="quiet"', "quote": "blockquote", "code": "pre"}
GOOD, BAD = ("holds",), ("does not hold", "differs", "fails")
FOLDED = 24  # rows from which a table is folded away
LARGE = 600_000  # bytes from which a drawing is shown as its bitmap


@dataclass(frozen=True)
class Text:
    """A paragraph.

    style  "plain", "quiet", "quote" (what someone else says) or "code"
    """

    words: str
    style: str = "plain"

    def __post_init__(self):
        check_choice("style", self.style, tuple(STYLES))

    def html(self):
        tag = STYLES[self.style]
        return f"<{tag}>{escape(self.words)}</{tag.split()[0]}>"


@dataclass(frozen=True)
class Heading:
    """The heading of a section."""

    words: str

    def html(self):
        return f"<h2>{escape(self.words)}</h2>"


@dataclass(frozen=True)
class Verdict:
    """What a test came to, as a block or in a table: marked where it begins with holds, does not hold, or differs."""

    words: str

    def html(self):
        kind, sign = ("good", "✓") if self.words.startswith(GOOD) else ("", "?")
        kind, sign = ("bad", "✗") if self.words.startswith(BAD) else (kind, sign)
        return f'<span class="verdict {kind}"><span aria-hidden="true">{sign} </span>{escape(self.words)}</span>'


@dataclass(frozen=True)
class Link:
    """A link to a page beside this one, as a block or in a table.

    Raises
        ValueError  a target that is no relative path: a page that needs nothing else does not lead elsewhere.
    """

    words: str
    target: str

    def __post_init__(self):
        if ":" in self.target or self.target.startswith(("/", "\\")):
            raise ValueError(f"target is {self.target!r}, expected a relative path")

    def html(self):
        return f'<a href="{escape(self.target)}">{escape(self.words)}</a>'


@dataclass(frozen=True)
class Table:
    """Rows of plain values, `Verdict`s and `Link`s. Floats are shown to four digits and carry all in their title.

    A table of more than 24 rows is folded away until it is asked for. One without a column of numbers has its cells
    below each other where the screen is narrow.

    most  rows that are shown; the page says how many more there are, and that they are in `file` if that is given

    Raises
        ValueError  a row whose length is not that of the head.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    most: int = 60
    file: str = ""

    def __post_init__(self):
        for k, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise ValueError(f"row {k} has {len(row)} cells, expected {len(self.head)} as the head")

    def html(self):
        shown = self.rows[: self.most]
        numeric = [_all_numbers([row[k] for row in shown]) for k in range(len(self.head))]
        top = "".join(
            f'<th scope="col"{_number_class(n)}>{escape(str(h))}</th>' for h, n in zip(self.head, numeric, strict=True)
        )
        wordy = not any(numeric)
        heads = [str(h) if wordy else "" for h in self.head]
        body = "\n".join(
            f"<tr>{''.join(_cell(*cell) for cell in zip(row, numeric, heads, strict=True))}</tr>" for row in shown
        )
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        kind = ' class="wordy"' if wordy else ""
        text = f"<table{kind}>{caption}<thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"
        hidden = len(self.rows) - len(shown)
        where = f" in {self.file}" if self.file else ""
        more = f'<p class="quiet">{hidden} more rows{escape(where)}</p>' if hidden else ""
        text = _scrolled(text, self.caption or "table") + more
        if len(shown) <= FOLDED:
            return text
        return f"<details><summary>{len(shown)} rows</summary>{text}</details>"


@dataclass(frozen=True)
class Drawing:
    """A matplotlib figure, or the path of a .svg or .png file, with its caption.

    A figure, or an .svg file of more than 600 kB that has a .png beside it, is embedded as a bitmap when it is large.

    Raises
        ValueError  a file that is neither .svg nor .png.
    """

    source: Any
    caption: str

    def html(self):
        kind, data, width = _image(self.source)
        caption = escape(self.caption)
        image = (
            f'<img alt="{caption}" style="width:{width}px;max-width:max(100%,min({width}px,34rem))" '
            f'src="data:{kind};base64,{base64.b64encode(data).decode("ascii")}">'
        )
        return f'<figure class="drawing">{_scrolled(image, self.caption)}<figcaption>{caption}</figcaption></figure>'


@dataclass(frozen=True)
class Heatmap:
    """One picture of `Heatmaps`.

    values    an array of one sample: (h, w), (c, h, w), (t, c), or any shape, which becomes a row
    title     above it
    note      under the title
    kind      "signed": blue negative, white zero, red positive; "input": dark on light, (3, h, w) in colour
    channels  how the channels of (c, h, w) become one picture: "sum", "abs", "max" or "l2"
    limit     where both sides of a signed scale end; by default at the largest |value|
    clip      in its place, end the scale at this percentile of |value|: the page says how many values are beyond

    float32 and float64 are embedded as they are, everything else as float64.

    Raises
        ValueError  kind, channels, limit or clip out of range; no values at all.
        TypeError   values that are no numbers.
    """

    values: Any
    title: str
    note: str = ""
    kind: str = "signed"
    channels: str = "sum"
    limit: float | None = None
    clip: float | None = None

    def __post_init__(self):
        check_choice("kind", self.kind, ("signed", "input"))
        values = np.asarray(self.values)
        if values.dtype == object or values.dtype.kind in "biu" or values.dtype == np.float16:
            values = values.astype(np.float64)
        if values.dtype not in (np.float32, np.float64):
            raise TypeError(f"values of {self.title!r} are {values.dtype}, expected real numbers")
        if values.size == 0:
            raise ValueError(f"values of {self.title!r} have shape {values.shape}: there is nothing to show")
        if self.limit is not None and not (np.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"limit is {self.limit}, expected a positive number")
        object.__setattr__(self, "values", values)

    @property
    def picture(self):
        """What is drawn and read out: (h, w)."""
        if self.values.ndim == 3 and len(self.values) > 1:
            return aggregate(self.values, self.channels)
        if self.values.ndim == 3 and self.channels == "sum":
            return self.values[0]
        return self.values if self.values.ndim == 2 else aggregate(self.values, self.channels)

    def html(self, limit=None):
        """As a part of `Heatmaps`; `limit` is that of a shared scale."""
        picture = self.picture
        single = self.values.dtype == np.float32
        exact = picture.astype(self.values.dtype)
        if np.array_equal(exact, picture, equal_nan=True):
            picture = exact
        h, w = picture.shape
        data = {"kind": self.kind, "title": self.title, "shape": f"{h},{w}", "type": str(picture.dtype)}
        data["values"] = _encoded(picture)
        if self.values.ndim == 3 and len(self.values) > 1:
            data |= {"parts": _encoded(self.values), "part-type": "float32" if single else "float64"}
        if self.kind == "signed":
            found = scale(picture, self.clip, self.limit or limit)
            data["limit"] = repr(found.limit)
            legend = _scale(f"-{found.limit:.3g}", "0", f"+{found.limit:.3g}", DIVERGING_STRIP)
            clipped = found.says
        else:
            data["kind"] = "color" if self.values.ndim == 3 and len(self.values) == 3 else "input"
            drawn = self.values if data["kind"] == "color" else picture
            finite = drawn[np.isfinite(drawn)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
            data |= {"low": repr(low), "high": repr(high)}
            strip = "linear-gradient(90deg,#000,#fff)" if data["kind"] == "color" else GREY_STRIP
            legend, clipped = _scale(f"{low:.3g}", "", f"{high:.3g}", strip), ""
        attributes = " ".join(f'data-{name}="{escape(value)}"' for name, value in data.items())
        note = " · ".join(words for words in (self.note, clipped) if words)
        below = f"<small>{escape(note)}</small>" if note else ""
        ratio = f"{w}/{h}" if max(h, w) <= 3 * min(h, w) else "1/1" if h > 1 else "auto;height:3rem"
        label = f"{self.title}: {h} × {w} values" if h > 1 else f"{self.title}: {w} values"
        view = (
            'class="view" tabindex="0" role="application" aria-roledescription="heatmap" '
            f'aria-label="{escape(label)}; arrow keys read them one by one" style="aspect-ratio:{ratio}"'
        )
        title = escape(self.title).replace("_", "_<wbr>")
        return (
            f'<figure class="map"><figcaption>{title}{below}</figcaption>'
            f'<div {view} {attributes}><canvas></canvas><i></i></div>{legend}<span class="value"></span></figure>'
        )


@dataclass(frozen=True)
class Heatmaps:
    """Heatmaps side by side that are read together: a cell that is pointed at is read out in all of the same size.

    maps    `Heatmap`s
    caption above them
    names   what a row and what a column is
    shared  whether the signed ones have one scale, that of the largest
    size    the least width of one, in rem
    """

    maps: Sequence[Heatmap]
    caption: str = ""
    names: tuple[str, str] = ("row", "column")
    shared: bool = False
    size: float = 9

    def html(self):
        limit = None
        if self.shared:
            limits = [scale(m.picture, m.clip).limit for m in self.maps if m.kind == "signed"]
            limit = max(limits, default=None)
        body = "\n".join(m.html(limit) for m in self.maps)
        caption = f'<p class="group">{escape(self.caption)}</p>' if self.caption else ""
        return (
            f'<section class="heatmaps" data-names="{escape(chr(10).join(self.names))}">{caption}'
            f'<div class="maps" style="--size:{self.size:g}rem">\n{body}\n</div>'
            f'<p class="readout" role="status">{HINT}</p></section>'
        )


SWITCHED_OFF = "The heatmaps are drawn by this page's program, which is switched off."


@dataclass(frozen=True)
class Tokens:
    """Words on the colour of their relevance, read by pointer or arrow keys.

    tokens, values, clip, limit  as `relprop.view.tokens_figure` takes them
    """

    tokens: Sequence[str]
    values: Any
    caption: str = ""
    clip: float | None = None
    limit: float | None = None

    def html(self):
        relevance = token_relevance(self.tokens, self.values)
        found = scale(relevance, self.clip, self.limit)
        words = []
        for k, (token, value) in enumerate(zip(self.tokens, relevance, strict=True)):
            ground, ink = token_colors(value, found.limit)
            words.append(
                f'<span class="token" role="listitem" tabindex="{0 if k == 0 else -1}" data-value="{float(value)!r}" '
                f'style="background:{ground};color:{ink}">{escape(visible(token))}</span>'
            )
        caption = f'<p class="group">{escape(self.caption)}</p>' if self.caption else ""
        legend = _scale(f"-{found.limit:.3g}", "0", f"+{found.limit:.3g}", DIVERGING_STRIP)
        clipped = f'<p class="quiet">{found.says}</p>' if found.says else ""
        return (
            f'<section class="words">{caption}<div class="tokens" role="list">{" ".join(words)}</div>{legend}{clipped}'
            f'<p class="readout" role="status">{WORDS_HINT}</p></section>'
        )


WORDS_HINT = "Point at a word to read its value; or focus one: arrow keys move."
HINT = "Point at a cell to read its value; or focus a map: arrow keys move, Enter finds the largest."
GREY_STRIP = "linear-gradient(90deg,#fff,#000)"
DIVERGING_STRIP = "linear-gradient(90deg,{})".format(
    ",".join("#{:02x}{:02x}{:02x}".format(*DIVERGING(k / 8, bytes=True)[:3]) for k in range(9))
)


def page_text(title, blocks, about=""):
    """The page as text.

    title   of the page
    blocks  anything with `html()`: Text, Heading, Verdict, Link, Table, Drawing, Heatmaps, Tokens
    about   a quiet line above the title
    """
    body = "\n".join(f"<p>{b.html()}</p>" if isinstance(b, Verdict | Link) else b.html() for b in blocks)
    above = f'<p class="quiet">{escape(about)}</p>\n' if about else ""
    script, colors, allowed = "", "", "'none'"
    if any(isinstance(b, Heatmaps | Tokens) for b in blocks):
        program = _part("page.js")
        script = f"\n<noscript><p>{SWITCHED_OFF}</p></noscript>\n<script>{program}</script>"
        colors = f' data-colors="{_colors()}"'
        digest = hashlib.sha256(program.encode()).digest()
        allowed = f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<title>{escape(title)}</title><link rel="icon" href="data:,">
<style>{_part("page.css")}</style></head>
<body{colors}>
<main>
{above}<h1>{escape(title)}</h1>
{body}
</main>{script}
</body></html>
"""
    return text.encode("utf-8", "replace").decode("utf-8")  # file names may hold what is no text


def write_page(path, title, blocks, about=""):
    """Write `page_text` to a .html file and return its path; the same blocks give the same bytes.

    Raises
        ValueError  another suffix.
    """
    path = Path(path)
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"{path.name} ends in {path.suffix!r}, expected .html")
    path.write_text(page_text(title, blocks, about), encoding="utf-8", newline="\n")
    return path


# ---- parts ----


@cache
def _part(name):
    return files("relprop.view").joinpath(name).read_text(encoding="utf-8")


@cache
def _colors():
    steps = DIVERGING(np.arange(DIVERGING.N), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(steps).tobytes()).decode("ascii")


def _encoded(array):
    """The array's floats, little end first."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def _image(source):
    """(media type, bytes, width in CSS pixels) of a figure or a file."""
    if hasattr(source, "savefig"):
        data, kind, width = figure_bytes(source, ".svg"), "image/svg+xml", round(96 * source.get_figwidth())
        return (kind, data, width) if len(data) <= LARGE else ("image/png", figure_bytes(source, ".png"), width)
    path = Path(source)
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"{path.name} ends in {path.suffix!r}, expected .svg or .png")
    bitmap = path.with_suffix(".png")
    if path.suffix == ".svg" and path.stat().st_size > LARGE and bitmap.exists():
        path = bitmap
    data = path.read_bytes()
    return ("image/png", data, _png_width(data)) if path.suffix == ".png" else ("image/svg+xml", data, _svg_width(data))


def _png_width(data):
    """Of a bitmap, from its resolution where it has one."""
    with Image.open(io.BytesIO(data)) as image:
        return round(image.width * 96 / image.info.get("dpi", (96, 96))[0])


def _svg_width(data):
    """Of matplotlib's drawings, which say it in points; a page's width for any other."""
    found = re.search(rb'<svg[^>]*?\swidth="([0-9.]+)(pt|px)?"', data[:4000], re.S)
    if found is None:
        return 960
    return round(float(found.group(1)) * (4 / 3 if found.group(2) == b"pt" else 1))


def _scrolled(body, label):
    """A part that is wider than a narrow screen scrolls by itself, also by keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{body}</div>'


def _scale(low, middle, high, strip):
    return (
        f'<div class="scale" aria-hidden="true"><b style="background:{strip}"></b><span>{low}</span>'
        f"<span>{middle}</span><span>{high}</span></div>"
    )


def _all_numbers(values):
    numbers = [isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values if v is not None]
    return bool(numbers) and all(numbers)


def _number_class(numeric):
    return ' class="number"' if numeric else ""


def _cell(value, numeric, head):
    """A cell; `head` where it can come to stand under no head of its column."""
    named = f' data-head="{escape(head)}"' if head else ""
    if isinstance(value, Verdict | Link):
        return f"<td>{value.html()}</td>"
    if isinstance(value, float | np.floating):
        return f'<td{_number_class(numeric)}{named} title="{float(value)!r}">{value:.4g}</td>'
    return f"<td{_number_class(numeric)}{named}>{'' if value is None else escape(str(value))}</td>"
