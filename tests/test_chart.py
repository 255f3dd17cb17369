"""Charts: every number drawn is one that was measured, axes have names and units, what is left out is said."""

import numpy as np
import pytest
from cases import NETWORK, X
from matplotlib.colors import to_rgb

import pyref
import relprop
from pyref import metrics
from relprop.view import (
    Curve,
    bars_figure,
    convergence_figure,
    curves_figure,
    measurement_figure,
    panels_figure,
    saturation_figure,
    save_figure,
    scores_figure,
)
from relprop.view.chart import COLORS, style
from relprop.view.heatmap import DIVERGING

RNG = np.random.default_rng(5)


def texts(figure):
    own = [t.get_text() for t in figure.texts]
    axes = [a.get_xlabel() for a in figure.axes] + [a.get_ylabel() for a in figure.axes]
    return " ".join("\n".join([*own, *axes]).split())


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_a_curve_and_its_band_are_the_numbers_given():
    curve = Curve([1, 2, 4], [1.0, 3, 2], error=[0.5, 1, 0])
    figure = curves_figure({"panel": {"a": curve}}, "features removed", "output", zero=True, note="Band: s.e.")
    axes = figure.axes[0]
    assert lines(axes)["a"].get_xydata().tolist() == [[1, 1], [2, 3], [4, 2]]
    corners = axes.collections[0].get_paths()[0].vertices.tolist()
    assert all([x, y] in corners for x, y in zip([1, 2, 4, 1, 2, 4], [0.5, 2, 2, 1.5, 4, 2], strict=True))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("features removed", "output")
    assert "Band: s.e." in texts(figure)
    assert Curve([1], [2.0]).band is None


def test_a_curve_under_others_is_seen_beside_them():
    x, y = np.arange(10.0), RNG.normal(size=10)
    far = np.array([*y[:6], *(y[6:] + 1)])
    curves = {"under": Curve(x, y), "apart": Curve(x, far), "over": Curve(x, y + 1e-6), "shorter": Curve(x[:5], y[:5])}
    figure = curves_figure({"": curves}, "x", "y")
    drawn = lines(figure.axes[0])
    assert {line.get_linewidth() for line in figure.legends[0].get_lines()} == {1.5}
    assert [drawn[name].get_linewidth() for name in curves] == [2.5, 1.5, 1.5, 1.5]
    unnamed = lines(curves_figure({"": curves}, "x", "y", legend=False).axes[0])
    assert {line.get_linewidth() for line in unnamed.values()} == {1.5}


def test_a_short_logarithmic_axis_has_its_numbers():
    short, long = (
        curves_figure({"": {"a": Curve([1, top], [1.0, 2])}}, "n", "y", log=("x",)).axes[0] for top in (60, 10_000)
    )
    short.figure.canvas.draw()
    assert {"1", "2", "5", "10", "20", "50"} <= {t.get_text() for t in short.get_xticklabels()}
    assert "1" not in {t.get_text() for t in long.get_xticklabels()}


def test_what_has_no_place_on_a_logarithmic_axis_is_said():
    figure = curves_figure({"": {"a": Curve([0, 1, 2], [1.0, 0.0, 2.0])}}, "x", "y", log=("x", "y"))
    assert "2 points that are not positive" in texts(figure)
    assert "not positive" not in texts(curves_figure({"": {"a": Curve([1], [1.0])}}, "x", "y", log=("x", "y")))


def test_curves_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="panels is empty"):
        curves_figure({}, "x", "y")
    with pytest.raises(ValueError, match="curve 'a' has 3 values at 2 places"):
        curves_figure({"": {"a": Curve([1, 2], [1.0, 2, 3])}}, "x", "y")
    with pytest.raises(ValueError, match="the band of curve 'a' has shapes"):
        curves_figure({"": {"a": Curve([1, 2], [1.0, 2], low=[0.0], high=[1.0])}}, "x", "y")
    with pytest.raises(ValueError, match="log is 'z'"):
        curves_figure({"": {"a": Curve([1], [1.0])}}, "x", "y", log=("z",))


def test_names_that_share_a_chart_look_different():
    names = [f"method {k}" for k in range(20)]
    looks = style([*names, "random"])
    assert len(set(looks.values())) == 21
    assert looks["random"] == ("#7a7a7a", ":")


# How colours are seen without the cones for red, green and blue: Machado, Oliveira, Fernandes 2009, table 1, severity 1
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SEEN = 10  # CIE 1976 distance: a glance tells such colours apart; 2.3 is the least that is seen at all


def seen(colors, blindness):
    """Colours (n, 3) as L*a*b* of what is left of them."""
    colors = np.asarray(colors, float)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(BLIND[blindness]), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / np.sum(to_xyz, axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("blindness", BLIND)
def test_the_colour_blind_tell_signs_and_curves_apart(blindness):
    sizes = np.linspace(0.2, 1, 9)
    positive, negative = (seen(DIVERGING((1 + s * sizes) / 2)[:, :3], blindness) for s in (1, -1))
    assert np.linalg.norm(positive - negative, axis=1).min() > SEEN
    assert np.all(np.diff(positive[:, 0]) < 0) and np.all(np.diff(negative[:, 0]) < 0), "the larger, the darker"
    curves = seen([to_rgb(c) for c in COLORS[:7]], blindness)
    between = np.linalg.norm(curves[:, None] - curves, axis=2)[np.triu_indices(7, 1)]
    assert between.min() > SEEN


@pytest.fixture(scope="module")
def measured():
    maps = {name: pyref.METHODS[name](NETWORK, X, 0) for name in ("saliency", "gradient_times_input")}
    return {
        "sensitivity": metrics.sensitivity_n(NETWORK, X, maps, target=0, subsets=20),
        "morf": metrics.morf_lerf(NETWORK, X, maps, target=0),
        "completeness": metrics.completeness(NETWORK, X, maps, target=0),
        "csc": metrics.cosine_convergence(NETWORK, X, {"gradient": "gradient"}),
    }


@pytest.mark.parametrize("name", ["sensitivity", "morf"])
def test_curves_of_a_metric_are_its_means_and_intervals(measured, name):
    m = measured[name]
    figure = measurement_figure(m)
    axes = figure.axes[0]
    drawn = lines(axes)
    assert set(drawn) == set(m.series)
    for series in m.series:
        s = m.summary(series)
        np.testing.assert_array_equal(drawn[series].get_ydata(), np.asarray(s.mean, float))
        np.testing.assert_array_equal(drawn[series].get_xdata(), np.asarray(m.at, float))
    heights = np.concatenate([p.vertices[:, 1] for c in axes.collections for p in c.get_paths()])
    assert {float(v) for v in np.asarray(m.summary(m.series[0]).low, float)} <= set(heights.tolist())
    assert (axes.get_xlabel(), axes.get_ylabel()) == (m.axis, m.unit)
    assert f"bootstrap interval of the mean over {len(X)} samples" in texts(figure)


def test_a_single_sample_has_no_band():
    m = metrics.morf_lerf(NETWORK, X[:1], pyref.gradient(NETWORK, X[:1], 0), target=0)
    figure = measurement_figure(m)
    assert not figure.axes[0].collections
    assert "One sample: no band" in texts(figure)


def test_convergence_is_drawn_by_layer_with_chance(measured):
    csc = measured["csc"]
    axes = convergence_figure(csc).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == list(csc.at)
    np.testing.assert_array_equal(lines(axes)["gradient"].get_ydata(), csc.median["gradient"])
    np.testing.assert_array_equal(lines(axes)["chance"].get_ydata(), [csc.chance[name] for name in csc.at])
    far = convergence_figure(csc, distance=True).axes[0]
    assert far.get_yscale() == "log" and far.get_ylabel() == "1 − |cos|"
    chain = metrics.matrix_chain("positive", widths=(4, 5, 6), vectors=3)
    assert convergence_figure(chain).axes[0].get_xlabel() == "products"


def test_scores_are_drawn_sample_by_sample(measured):
    scores = measured["completeness"]
    figure = scores_figure(scores)
    axes = figure.axes[0]
    for k, name in enumerate(scores.series):
        dots, interval, mean = axes.lines[3 * k : 3 * k + 3]
        assert dots.get_xdata().tolist() == list(scores[name])
        s = scores.summary(name)
        assert interval.get_xdata().tolist() == [s.low, s.high] and mean.get_xdata().tolist() == [s.mean]
    assert axes.get_xlabel() == "completeness (output)"
    with pytest.raises(TypeError, match="Scores holds no curves: scores_figure draws numbers"):
        measurement_figure(scores)


def test_saturation_is_the_output_and_the_gradient_on_the_way():
    a = relprop.explain(NETWORK, X, "interior_gradients", 0, alphas=(0.0, 0.5, 1.0))
    output, size = saturation_figure(a).axes
    outputs = np.asarray(a.settings["outputs"], float)
    np.testing.assert_array_equal(output.lines[0].get_ydata(), outputs.mean(axis=1))
    np.testing.assert_array_equal(size.lines[0].get_ydata(), np.abs(a.values).sum(axis=2).mean(axis=1))
    with pytest.raises(ValueError, match="lrp has no α"):
        saturation_figure(relprop.explain(NETWORK, X))


def test_bars_are_the_numbers_given():
    figure = bars_figure(
        {"g": {"a": 1.0, "b": -2.0}, "h": {"a": 3.0}}, "output", errors={"g": {"a": 0.1, "b": 0.2}, "h": {"a": 0.3}}
    )
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [-2, 1, 3]
    assert [t.get_text() for t in bars_figure({"g": {"a": np.nan}}, "output").axes[0].texts] == ["no value"]
    many = bars_figure({f"a group of name {k}": {"a": k, "b": np.nan if k else 1} for k in range(7)}, "output")
    axes = many.axes[0]
    assert sorted(bar.get_width() for bar in axes.patches[:7]) == list(range(7)), "many bars lie"
    assert [t.get_text() for t in axes.texts] == [" no value"] * 6 and axes.get_xlabel() == "output"
    first, last = (axes.transData.transform((0, at))[1] for at in (0, 6))
    assert first > last, "from top to bottom"
    assert many.legends and not bars_figure({"g": {"a": 1.0}}, "output").legends


# ---- tables of pictures ----

VALUES = np.array([[1.0, -2], [0, 4]])


def clims(figure):
    return [image.get_clim() for axes in figure.axes for image in axes.images]


def test_scales_are_each_their_own_or_shared():
    rows = {"one": [VALUES, 2 * VALUES], "two": [10 * VALUES, None]}
    assert clims(panels_figure(rows)) == [(-4, 4), (-8, 8), (-40, 40)]
    assert clims(panels_figure(rows, shared="row")) == [(-8, 8), (-8, 8), (-40, 40)]
    together = panels_figure(rows, shared="all", unit="relevance")
    assert clims(together)[:3] == [(-40, 40)] * 3
    assert together.axes[-1].get_xlabel() == "relevance"
    assert [a.get_xlabel() for a in panels_figure(rows).axes] == ["± 4", "± 8", "± 40"]


def test_pictures_that_are_clipped_say_so():
    figure = panels_figure({"one": [VALUES, VALUES]}, clip=50)
    assert clims(figure) == [(-1.5, 1.5)] * 2
    assert "2 of 4 values clipped" in texts(figure), "one picture that is drawn twice counts once"
    assert "clipped" not in texts(panels_figure({"one": [VALUES]}))


def test_an_overlay_shows_the_heatmap_where_it_is_strong_and_the_input_elsewhere():
    x = np.array([[0.0, 1], [0, 1]])
    figure = panels_figure({"one": [("input", x), ("overlay", VALUES, x), ("overlay", VALUES, np.stack([x, x, x]))]})
    for axes in figure.axes[1:]:
        picture = axes.images[0].get_array()
        assert picture[1, 1, 0] > picture[1, 1, 2], "red"
        assert picture[0, 1, 2] > picture[0, 1, 0], "blue"
        assert np.ptp(picture[1, 0]) == 0, "grey where the value is 0"
    with pytest.raises(ValueError, match=r"x has shape \(3, 2\), expected the values' \(2, 2\)"):
        panels_figure({"one": [("overlay", VALUES, np.ones((3, 2)))]})


def test_tables_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="rows is empty"):
        panels_figure({})
    with pytest.raises(ValueError, match="row 'a' has 2 pictures, expected at most 1"):
        panels_figure({"a": [VALUES, VALUES]}, 1)
    with pytest.raises(ValueError, match="shared is 'none'"):
        panels_figure({"a": [VALUES]}, shared="none")


def test_figures_have_the_same_bytes_each_time(measured, tmp_path):
    for suffix in (".png", ".svg"):
        files = [save_figure(measurement_figure(measured["morf"]), tmp_path / f"{k}{suffix}") for k in range(2)]
        assert files[0].read_bytes() == files[1].read_bytes()
