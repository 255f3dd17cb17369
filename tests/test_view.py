"""Pictures: zero is white, every scale is symmetric, and matplotlib's global state is left alone."""

import subprocess
import sys

import numpy as np
import pytest
from cases import NETWORK, X
from matplotlib.figure import Figure

import pyref
import relprop
from relprop.view import (
    DIVERGING,
    Row,
    aggregate,
    attribution_figure,
    draw_heatmap,
    grid_figure,
    new_figure,
    save_figure,
    symmetric_limit,
)

RNG = np.random.default_rng(3)


def test_zero_is_white_and_the_ends_are_blue_and_red():
    assert DIVERGING(0.5) == (1, 1, 1, 1)
    assert DIVERGING.N % 2 == 1, "zero has a colour to itself"
    negative, positive = DIVERGING(0.0), DIVERGING(1.0)
    assert negative[2] > negative[0]
    assert positive[0] > positive[2]


@pytest.mark.parametrize("values", [np.array([[3.0, -1.0]]), np.array([[-3.0, 0.0]]), np.array([[np.nan, 3.0]])])
def test_the_scale_is_symmetric_and_reaches_the_largest_value(values):
    axes = new_figure(1, 1).subplots()
    assert draw_heatmap(axes, values) == 3
    (image,) = axes.images
    assert image.get_clim() == (-3, 3)


def test_nothing_has_a_scale_too():
    assert symmetric_limit(np.zeros((2, 2))) == 1
    assert symmetric_limit(np.array([np.nan])) == 1


@pytest.mark.parametrize(("channels", "expected"), [("sum", -1.0), ("abs", 7.0), ("max", 4.0), ("l2", 5.0)])
def test_channels_become_one(channels, expected):
    assert aggregate(np.array([[[3.0]], [[-4.0]]]), channels).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("shape", "picture"), [((1, 8, 8), (8, 8)), ((5, 3), (5, 3)), ((7,), (1, 7)), ((2, 2, 2, 2), (1, 16))]
)
def test_any_shape_becomes_a_picture(shape, picture):
    assert aggregate(RNG.normal(size=shape)).shape == picture


def test_unknown_aggregation():
    with pytest.raises(ValueError, match="channels is 'mean', expected one of 'sum'"):
        aggregate(np.zeros((1, 2, 2)), "mean")


def test_plot_shows_input_and_heatmap_of_each_sample():
    figure = relprop.explain(NETWORK, X).plot()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6
    assert len(relprop.explain(NETWORK, X).plot(samples=1).axes) == 2


def test_plot_shows_images_sequences_and_several_inputs():
    image = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(RNG.normal(size=(48, 2)))], shape=(3, 4, 4))
    assert attribution_figure(relprop.explain(image, RNG.normal(size=(1, 3, 4, 4)))).axes
    rows = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(RNG.normal(size=(40, 2)))], shape=(20, 2))
    assert attribution_figure(relprop.explain(rows, RNG.normal(size=(1, 20, 2)))).axes
    two = pyref.Network([("sum", pyref.Add(), ("a", "b"))], {"a": (2,), "b": (2,)})
    assert len(relprop.explain(two, {"a": X[:1, :2], "b": X[:1, 2:]}, target=0).plot().axes) == 4


def test_plot_says_what_is_clipped_and_draws_over_the_input():
    image = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(RNG.normal(size=(16, 2)))], shape=(1, 4, 4))
    a = relprop.explain(image, RNG.normal(size=(2, 1, 4, 4)))
    for axes in a.plot(clip=75).axes[2:]:
        assert axes.get_xlabel().endswith("4 of 16 values clipped")
    assert all("clipped" not in axes.get_xlabel() for axes in a.plot().axes)
    assert a.plot(overlay=True).axes[2].images[0].get_array().shape == (4, 4, 3)
    with pytest.raises(ValueError, match="clip is 0"):
        a.plot(clip=0)


def test_interior_gradients_have_a_column_for_each_alpha():
    a = relprop.explain(NETWORK, X, "interior_gradients", 0, alphas=(0.5, 1))
    figure = a.plot()
    assert [axes.get_title() for axes in figure.axes][:2] == ["α = 0.5", "α = 1"]
    assert len(figure.axes) == 4
    assert "Σ" not in str(a)


def test_constant_input_has_no_outline():
    axes = new_figure(1, 1).subplots()
    draw_heatmap(axes, np.ones((3, 3)), np.zeros((3, 3)))
    assert not axes.collections


def test_the_table_has_a_panel_per_cell_and_says_how_to_read_it():
    row = Row("name", "formula", [RNG.normal(size=(4, 4))] * 2, ["one", "two"], "a remark", frozenset({1}))
    figure = grid_figure("title", "subtitle", RNG.normal(size=(1, 4, 4)), [("a", ""), ("b", "")], [row, row], "notes")
    assert len(figure.axes) == 1 + 4
    texts = [text.get_text() for text in figure.texts]
    assert any("symmetric about zero" in text for text in texts)
    assert [t.get_color() for t in figure.texts if t.get_text() == "two"] == ["#a4161a"] * 2


def test_a_figure_is_written_alike_each_time(tmp_path):
    figure = relprop.explain(NETWORK, X, target=0).plot()
    for suffix in (".png", ".svg", ".pdf"):
        first = save_figure(figure, tmp_path / f"1{suffix}").read_bytes()
        again = relprop.explain(NETWORK, X, target=0).plot()
        assert save_figure(again, tmp_path / f"2{suffix}").read_bytes() == first
    with pytest.raises(ValueError, match=r"expected one of \.png, \.svg, \.pdf"):
        save_figure(figure, tmp_path / "a.gif")


def test_pyplot_is_never_loaded(tmp_path):
    code = """
import sys, matplotlib, numpy, pyref, relprop, relprop.view
before = matplotlib.rcParams.copy()
network = pyref.Network.sequential([pyref.Dense(numpy.eye(4))], shape=(4,))
relprop.view.save_figure(relprop.explain(network, numpy.ones((1, 4))).plot(), sys.argv[1])
print("matplotlib.pyplot" in sys.modules, matplotlib.rcParams.copy() == before)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.svg")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.strip() == "False True", run.stderr
