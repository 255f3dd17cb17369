"""Pages: every word escaped, nothing loaded from elsewhere, every float as it was, the same bytes each time."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from relprop.view import Scale, aggregate, draw_heatmap, new_figure, page_text, save_figure, scale, write_page
from relprop.view.page import Drawing, Heading, Heatmap, Heatmaps, Link, Table, Text, Verdict

HOSTILE = "<script>alert('1')</script>\"'&\udcff\x1b]--><img src=http://x.y/z onerror=alert(1)>"
VALUES = np.random.default_rng(7).normal(size=(3, 4, 5))
EMPTY = {"meta", "link", "img", "br", "wbr", "input"}


class Parsed(HTMLParser):
    """The page's elements as (tag, attributes), its text, and whether every element is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag, of=None):
        return [a for t, a in self.elements if t == tag and (of is None or of in (a.get("class") or "").split())]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def page(*blocks, title="A page"):
    return Parsed(page_text(title, blocks))


def decoded(view):
    array = np.frombuffer(base64.b64decode(view["data-values"]), dtype=np.dtype(view["data-type"]).newbyteorder("<"))
    return array.reshape([int(n) for n in view["data-shape"].split(",")])


def every_block():
    return [
        *(Text(HOSTILE, style) for style in ("plain", "quiet", "quote", "code")),
        Heading(HOSTILE),
        Verdict(HOSTILE),
        Link(HOSTILE.replace(":", ""), HOSTILE.replace(":", "")),
        Table((HOSTILE, "b"), [(HOSTILE, Verdict(HOSTILE))] * 3, HOSTILE, most=1, file=HOSTILE),
        Drawing(new_figure(1, 1), HOSTILE),
        Heatmaps([Heatmap(VALUES, HOSTILE, HOSTILE)], HOSTILE, (HOSTILE, HOSTILE)),
    ]


def test_hostile_words_are_shown_and_do_nothing():
    found = Parsed(page_text(HOSTILE, every_block(), HOSTILE))
    assert len(found.all("script")) == 1, "the page's own"
    shown = " ".join(HOSTILE.replace("\udcff", "?").split())
    assert found.text.count(shown) >= 12
    for tag, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert all(name.isascii() and re.fullmatch(r"[a-z-]+", name) for name in attributes), tag


def test_nothing_is_loaded_and_only_the_one_program_may_run():
    found = page(*every_block())
    for tag, attributes in found.elements:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "data:").startswith("data:"), tag
    assert [a["href"] for a in found.all("link")] == ["data:,"]
    (policy,) = [a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "script" not in [tag for tag, _ in page(Text("no heatmap")).elements], "no program where none is needed"


def test_links_lead_to_what_lies_beside_the_page():
    assert page(Link("there", "a/index.html")).all("a") == [{"href": "a/index.html"}]
    for target in ("http://a.b", "javascript:alert(1)", "/etc", "\\\\host", "//host"):
        with pytest.raises(ValueError, match="expected a relative path"):
            Link("there", target)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_float_is_embedded_as_it_is(dtype):
    special = np.array([[0, -0.0, np.inf, -np.inf, np.nan], [5e-324, 1e-45, 0.1, -1 / 3, 3e38]]).astype(dtype)
    (view,) = page(Heatmaps([Heatmap(special, "special")])).all("div", "view")
    assert decoded(view).tobytes() == special.tobytes()
    assert view["data-type"] == np.dtype(dtype).name


@pytest.mark.parametrize("channels", ["sum", "abs", "max", "l2"])
def test_channels_are_aggregated_as_in_the_figures_and_embedded_too(channels):
    (view,) = page(Heatmaps([Heatmap(VALUES, "map", channels=channels)])).all("div", "view")
    np.testing.assert_array_equal(decoded(view), aggregate(VALUES, channels))
    assert base64.b64decode(view["data-parts"]) == VALUES.tobytes()


@pytest.mark.parametrize(
    ("shape", "rows"), [((1, 4, 5), "4,5"), ((6, 2), "6,2"), ((7,), "1,7"), ((2, 2, 2, 2), "1,16"), ((), "1,1")]
)
def test_any_shape_has_rows_and_columns(shape, rows):
    (view,) = page(Heatmaps([Heatmap(np.ones(shape, np.float32), "map")])).all("div", "view")
    assert view["data-shape"] == rows
    assert view["data-type"] == "float32"


def test_a_heatmap_can_be_reached_by_keyboard_and_says_what_it_is():
    (view,) = page(Heatmaps([Heatmap(VALUES, "the map")])).all("div", "view")
    assert view["tabindex"] == "0"
    assert view["aria-label"].startswith("the map: 4 × 5 values")


def test_clipping_is_said_and_a_shared_scale_is_the_largest():
    values = np.arange(-10.0, 11).reshape(1, 21)
    found = page(Heatmaps([Heatmap(values, "map", clip=50), Heatmap(10 * values, "map")], shared=True))
    assert [float(v["data-limit"]) for v in found.all("div", "view")] == [100, 100]
    found = page(Heatmaps([Heatmap(values, "map", clip=50)]))
    assert "10 of 21 values clipped" in found.text
    assert "clipped" not in page(Heatmaps([Heatmap(values, "map")])).text


def test_a_scale_ends_at_the_largest_or_at_a_percentile_and_counts_what_is_beyond():
    values = np.array([1.0, -2, 3, -4, np.nan, np.inf])
    assert scale(values) == Scale(4, 0, 4)
    assert scale(values, clip=50) == Scale(2.5, 2, 4)
    assert str(scale(values, clip=50)) == "± 2.5, 2 of 4 values clipped"
    assert scale(values, limit=3) == Scale(3, 1, 4)
    assert scale(np.array([0, 0, 0, 1.0]), clip=50) == Scale(1, 0, 4), "no scale of nothing"
    for clip in (0, -1, 101):
        with pytest.raises(ValueError, match="expected a percentile"):
            scale(values, clip)
    axes = new_figure(1, 1).subplots()
    assert draw_heatmap(axes, values.reshape(2, 3), clip=50) == 2.5
    assert axes.images[0].get_clim() == (-2.5, 2.5)


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(TypeError, match="values of 'map' are complex128, expected real numbers"):
        Heatmap(np.ones(3, complex), "map")
    with pytest.raises(ValueError, match=r"values of 'map' have shape \(0, 3\): there is nothing to show"):
        Heatmap(np.ones((0, 3)), "map")
    with pytest.raises(ValueError, match="limit is nan, expected a positive number"):
        Heatmap(VALUES, "map", limit=float("nan"))
    with pytest.raises(ValueError, match="kind is 'heat', expected one of 'signed', 'input'"):
        Heatmap(VALUES, "map", kind="heat")
    with pytest.raises(ValueError, match="style is 'loud'"):
        Text("words", "loud")
    with pytest.raises(ValueError, match="row 1 has 1 cells, expected 2 as the head"):
        Table(("a", "b"), [(1, 2), (1,)])


def test_a_table_shows_four_digits_and_holds_all():
    found = page(Table(("what", "value"), [("a", 1 / 3), ("b", None), ("c", np.float32(0.1)), ("d", 12345678)]))
    assert [a.get("title") for a in found.all("td", "number")] == [
        repr(1 / 3),
        None,
        repr(float(np.float32(0.1))),
        None,
    ]
    assert "0.3333" in found.text and "12345678" in found.text
    rows = [(k,) for k in range(70)]
    assert "10 more rows in all.csv" in page(Table(("n",), rows, file="all.csv")).text
    assert "more rows" not in page(Table(("n",), rows[:60])).text
    assert page(Table(("n",), rows)).all("details") and not page(Table(("n",), rows[:24])).all("details")


def test_cells_of_words_know_the_head_of_their_column():
    found = page(Table(("what", "found"), [("a <b>", "much"), ("c", Verdict("holds"))]))
    assert [cell.get("data-head") for cell in found.all("td")] == ["what", "found", "what", None]
    assert found.all("table", "wordy") and not page(Table(("what", "n"), [("a", 1)])).all("table", "wordy")


@pytest.mark.parametrize(
    ("words", "kind"),
    [("holds", "good"), ("does not hold", "bad"), ("differs because of the data", "bad"), ("not decided", "")],
)
def test_a_verdict_is_marked_by_sign_and_colour(words, kind):
    (classes,) = [a["class"].split() for a in page(Verdict(words)).all("span", "verdict")]
    assert classes == ["verdict", *filter(None, [kind])]
    assert page(Verdict(words)).text.endswith(words)


def test_drawings_are_embedded_from_figures_and_from_files(tmp_path):
    figure = new_figure(2, 1)
    figure.subplots().plot([0, 1])
    sources = [figure, save_figure(figure, tmp_path / "a.svg"), save_figure(figure, tmp_path / "b.png")]
    images = [a for source in sources for a in page(Drawing(source, "caption")).all("img")]
    assert images[0] == images[1]
    assert [re.match(r"data:(.*?);", a["src"]).group(1) for a in images] == ["image/svg+xml"] * 2 + ["image/png"]
    assert {re.match(r"width:(\d+)px", a["style"]).group(1) for a in images} == {"192"}
    assert {a["alt"] for a in images} == {"caption"}
    with pytest.raises(ValueError, match=r"expected \.svg or \.png"):
        page(Drawing(tmp_path / "a.gif", "caption"))


def test_a_large_drawing_is_shown_as_its_bitmap(tmp_path):
    figure = new_figure(2, 1)
    figure.subplots().scatter(*np.random.default_rng(0).normal(size=(2, 12000)))
    save_figure(figure, tmp_path / "a.png")
    for source in (figure, save_figure(figure, tmp_path / "a.svg")):
        (image,) = page(Drawing(source, "caption")).all("img")
        assert image["src"].startswith("data:image/png")


def test_the_same_page_has_the_same_bytes(tmp_path):
    first, again = (write_page(tmp_path / f"{k}.html", "title", every_block()).read_bytes() for k in range(2))
    assert first == again
    assert re.search(rb"\b20\d\d-\d\d-\d\d", first) is None, "no dates"
    with pytest.raises(ValueError, match=r"page.txt ends in '.txt', expected .html"):
        write_page(tmp_path / "page.txt", "title", [])
