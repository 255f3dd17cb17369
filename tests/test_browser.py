"""Pages in a browser: no console error, values as in the arrays by pointer and by keys, and nothing wider than a phone.

They run where Chromium, its driver and the extra `browser` are installed.
"""

import shutil

import numpy as np
import pytest

import relprop
from relprop.view import new_figure, write_page
from relprop.view.explanation import explanation_blocks
from relprop.view.page import Drawing, Heading, Heatmap, Heatmaps, Link, Table, Text, Tokens, Verdict

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no browser: needs chromium and chromedriver", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install -e '.[browser]'")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync"
).split()
RNG = np.random.default_rng(11)
MAP = RNG.normal(size=(4, 5)).astype(np.float32)
SPECIAL = np.array([[0.0, -0.0, np.nan, np.inf, -np.inf], [5e-324, 0.1, -1 / 3, 1e300, -123456789.125]])
COLOR = RNG.normal(size=(3, 4, 5))
LONG = "a_very_long_name_without_a_space_" * 8
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\"'&"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")  # whatever it is asked for, no other machine
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, tmp_path):
    """Show blocks as a page in a window of this width; at the end there must be no line in the console."""

    def shown(*blocks, title="A page", width=1000, height=800):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(write_page(tmp_path / "page.html", title, blocks).as_uri())
        return browser

    browser.get_log("browser")
    yield shown
    assert browser.get_log("browser") == []


def views(browser):
    return browser.find_elements("css selector", ".view")


def read(browser, k=0):
    """What is shown under the k-th map."""
    return browser.find_elements("css selector", ".value")[k].text


def readout(browser, k=0):
    return browser.find_elements("css selector", ".readout")[k].text


def same(text, value):
    """Whether what is shown is read back as this very float."""
    return np.array_equal(type(value)(text.replace("Infinity", "inf")).tobytes(), value.tobytes())


def walk(browser, view, shape):
    """Every (row, column) of a map, by the arrow keys alone."""
    view.send_keys(Keys.PAGE_UP + Keys.HOME)
    rows, columns = shape
    for r in range(rows):
        for c in range(columns):
            yield r, c
            view.send_keys(Keys.ARROW_RIGHT)  # stays at the end of a row
        view.send_keys(Keys.HOME + Keys.ARROW_DOWN)


@pytest.mark.parametrize("values", [MAP, SPECIAL], ids=["float32", "special float64"])
def test_arrow_keys_read_every_value_of_the_array(show, values):
    browser = show(Heatmaps([Heatmap(values, "map")]))
    for r, c in walk(browser, views(browser)[0], values.shape):
        text = read(browser)
        assert np.isnan(values[r, c]) if text == "NaN" else same(text, values[r, c]), (r, c)
        assert readout(browser) == f"row {r}, column {c}: {text} (map)"


def test_the_pointer_reads_the_value_under_it(show):
    browser = show(Heatmaps([Heatmap(MAP, "one"), Heatmap(2 * MAP, "two"), Heatmap(MAP[:2], "another size")]))
    view = views(browser)[0]
    width, height = view.size["width"], view.size["height"]
    for r, c in np.ndindex(MAP.shape):
        x, y = (c + 0.5) / 5 * width - width / 2, (r + 0.5) / 4 * height - height / 2
        ActionChains(browser, duration=0).move_to_element_with_offset(view, round(x), round(y)).perform()
        assert same(read(browser, 0), MAP[r, c])
        assert same(read(browser, 1), 2 * MAP[r, c]), "maps of one size are read together"
        assert read(browser, 2) == ""


def test_the_channels_of_a_cell_are_read_out(show):
    browser = show(Heatmaps([Heatmap(COLOR, "input", kind="input"), Heatmap(COLOR, "map")]))
    for r, c in walk(browser, views(browser)[0], (4, 5)):
        assert all(same(t, v) for t, v in zip(read(browser, 0).split(), COLOR[:, r, c], strict=True))
        total, channels = read(browser, 1).rstrip(")").split(" (channels ")
        assert same(total, COLOR.sum(axis=0)[r, c])
        assert all(same(t, v) for t, v in zip(channels.split(", "), COLOR[:, r, c], strict=True))


def test_tab_reaches_the_map_and_begins_at_the_largest(show):
    browser = show(Heatmaps([Heatmap(MAP, "map")]))
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element == views(browser)[0]
    r, c = np.unravel_index(np.abs(MAP).argmax(), MAP.shape)
    assert readout(browser).startswith(f"row {r}, column {c}:")
    views(browser)[0].send_keys(Keys.END + Keys.PAGE_DOWN)
    assert readout(browser).startswith("row 3, column 4:")
    views(browser)[0].send_keys(Keys.ENTER)
    assert readout(browser).startswith(f"row {r}, column {c}:")


def test_zero_is_white_and_signs_have_their_colours(show):
    browser = show(Heatmaps([Heatmap(np.array([[0.0, 1, -1, np.nan]]), "map")]))
    data = "arguments[0].querySelector('canvas').getContext('2d').getImageData(0, 0, 4, 1).data"
    pixels = np.reshape(browser.execute_script(f"return Array.from({data})", views(browser)[0]), (4, 4))
    assert pixels[0].tolist() == [255, 255, 255, 255]
    assert pixels[1][0] > pixels[1][2]
    assert pixels[2][0] < pixels[2][2]
    assert pixels[3].tolist() == [217, 217, 217, 255]


def test_words_are_read_by_pointer_and_by_arrows(show):
    values = np.array([0.1, -1 / 3, 1e-300])
    browser = show(Tokens(["one", "two", "three"], values))
    words = browser.find_elements("css selector", ".token")
    browser.switch_to.active_element.send_keys(Keys.TAB)
    for k, key in enumerate([Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT]):
        name, value = readout(browser).split(": ")
        assert name == ("one", "two", "three")[k] and same(value, values[k])
        browser.switch_to.active_element.send_keys(key)
    ActionChains(browser, duration=0).move_to_element(words[1]).perform()
    assert same(readout(browser).removeprefix("two: "), values[1])


def everything():
    figure = new_figure(12, 3)
    figure.subplots().plot([0, 1])
    return [
        *(Text(words, style) for words in (LONG, HOSTILE) for style in ("plain", "quiet", "quote", "code")),
        Heading(LONG),
        Verdict(f"differs because {LONG}"),
        Link(LONG, "index.html"),
        Table([f"column {k}" for k in range(12)], [[LONG, HOSTILE, *range(10)]] * 3, LONG),
        Drawing(figure, LONG),
        Tokens([LONG, HOSTILE, *"a review of a film".split()], RNG.normal(size=7), LONG),
        Heatmaps(
            [Heatmap(MAP, LONG, HOSTILE), Heatmap(COLOR, HOSTILE, kind="input"), Heatmap(RNG.normal(size=300), "row")],
            LONG,
        ),
    ]


@pytest.mark.parametrize("options", [{"rule": "epsilon"}, {"method": "interior_gradients"}], ids=["lrp", "interior"])
def test_the_page_of_an_explanation_reads_what_is_saved(show, tmp_path, options):
    network, x = relprop.zoo("digits-mlp-relu"), relprop.digits()[0][:2].astype(np.float32)
    a = relprop.explain(network, x, **options)
    saved = np.load(a.save(tmp_path / "values.npy"))
    first = saved[0, 0] if a.alphas is not None else saved[0]
    browser = show(*explanation_blocks(a, network), width=360, height=740)
    views(browser)[1].send_keys(Keys.ENTER)
    assert same(read(browser, 1), first.flat[np.abs(first).argmax()])
    needed, there = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert needed <= there == 360


def test_words_in_tables_are_read_without_scrolling_on_a_phone(show):
    rows = [("what is expected " * 4, Verdict("does not hold"), "what was found " * 9)] * 2
    for width, apart in ((360, False), (1000, True)):
        browser = show(Table(("expected", "verdict", "found"), rows), Table(("n", "r"), [(1, 0.5)]), width=width)
        words, numbers = browser.find_elements("css selector", "table")
        assert words.size["width"] <= width and words.find_element("css selector", "thead").is_displayed() == apart
        assert numbers.find_element("css selector", "thead").is_displayed()
        cells = words.find_elements("css selector", "tr:first-child td")
        assert (cells[0].location["y"] == cells[2].location["y"]) == apart
        first = browser.execute_script("return getComputedStyle(arguments[0], '::before').content", cells[0])
        assert first == ("none" if apart else '"expected: "')


@pytest.mark.parametrize("width", [360, 1000])
def test_nothing_is_wider_than_the_screen_or_runs_by_itself(show, width):
    browser = show(*everything(), title=HOSTILE, width=width, height=740)
    assert browser.title == HOSTILE
    needed, there = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert needed <= there == width
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert browser.execute_script("return document.images.length") == 1
    assert browser.execute_script("return document.images[0].naturalWidth") > 0
