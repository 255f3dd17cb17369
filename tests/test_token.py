"""Words and moving pictures: the colours of the values, nothing invisible, the same bytes each time."""

import numpy as np
import pytest
from cases import NETWORK, X
from matplotlib.colors import to_hex
from PIL import Image

import relprop
from relprop.view import interior_frames, save_animation, save_figure, tokens_figure
from relprop.view.heatmap import DIVERGING
from relprop.view.token import token_colors, token_relevance, visible

WORDS = ["not", "", "$x$", "a b", "\n", "long" * 40, "\x1b"]
VALUES = np.array([-2.0, 0, 1, 4, 0.5, -4, np.nan])


def test_each_word_has_the_colour_of_its_value():
    figure = tokens_figure(WORDS, VALUES, title="review")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts] == [visible(w) for w in WORDS]
    for box, value in zip(axes.patches, VALUES[:-1], strict=False):
        assert to_hex(box.get_facecolor()) == to_hex(DIVERGING((value / 4 + 1) / 2))
    assert "± 4" in figure.texts[-1].get_text()
    tops = [box.get_bbox().y0 for box in axes.patches]
    assert len(set(tops)) > 1, "a line that is full is followed by another"
    assert max(box.get_bbox().x1 for box in axes.patches[:5]) <= 6.5


def test_what_cannot_be_seen_has_a_sign():
    shown = {"": "∅", " ": "␣", "\n": "↵", "\t": "→", "a\x00b": "a�b", " a b  ": "␣a b␣␣"}
    assert {word: visible(word) for word in shown} == shown


def test_embeddings_are_summed():
    assert token_relevance(["a", "b"], [[1, 2, 3], [0, -1, 0]]).tolist() == [6, -1]
    with pytest.raises(ValueError, match="there are 1 tokens and 2 values"):
        token_relevance(["a"], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"values have shape \(1, 1, 1\)"):
        token_relevance(["a"], [[[1.0]]])
    with pytest.raises(TypeError, match="a token is int 7, expected a string"):
        token_relevance([7], [1.0])


def test_zero_is_white_and_ink_can_be_read():
    assert token_colors(0, 1) == ("#ffffff", "#222222")
    assert token_colors(5, 1)[1] == token_colors(-5, 1)[1] == "#ffffff"
    assert token_colors(np.nan, 1)[0] == "#d9d9d9"


def test_clipped_words_are_counted(tmp_path):
    figure = tokens_figure(["a", "b", "c"], [1.0, 2, 9], clip=50)
    assert "1 of 3 values clipped" in figure.texts[-1].get_text()
    files = [save_figure(tokens_figure(["a"], [1.0]), tmp_path / f"{k}.svg").read_bytes() for k in range(2)]
    assert files[0] == files[1]


# ---- animation ----


@pytest.fixture(scope="module")
def interior():
    return relprop.explain(NETWORK, X, "interior_gradients", 0, alphas=(0.1, 0.5, 1.0))


def test_there_is_a_frame_for_each_alpha_with_its_map(interior):
    frames = interior_frames(interior, sample=1)
    for k, figure in enumerate(frames):
        picture = figure.axes[1].images[0]
        np.testing.assert_array_equal(picture.get_array()[0], interior.values[k, 1])
        assert picture.get_clim()[1] == np.abs(interior.values[k, 1]).max()
        assert figure.axes[1].get_title() == f"gradient at α = {interior.alphas[k]:.3g}"
    limits = {f.axes[1].images[0].get_clim() for f in interior_frames(interior, shared=True)}
    assert len(limits) == 1
    clipped = [f.axes[1].get_xlabel() for f in interior_frames(interior, clip=50)]
    assert all("values clipped" in words for words in clipped)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_moving_pictures_hold_every_frame_and_white_is_white(interior, tmp_path, suffix):
    frames = interior_frames(interior)
    path = save_animation(frames, tmp_path / f"a{suffix}", seconds=0.2, dpi=40)
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.info.get("loop") == 0
        times = []
        for k in range(3):
            image.seek(k)
            times.append(image.info["duration"])
            assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert times == [200, 200, 600]
    again = save_animation(interior_frames(interior), tmp_path / f"b{suffix}", seconds=0.2, dpi=40)
    assert again.read_bytes() == path.read_bytes()


def test_what_cannot_move_is_refused(interior, tmp_path):
    with pytest.raises(ValueError, match="lrp has no α"):
        interior_frames(relprop.explain(NETWORK, X))
    with pytest.raises(ValueError, match="sample is 99"):
        interior_frames(interior, 99)
    with pytest.raises(ValueError, match="figures is empty"):
        save_animation([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"a\.mp4 ends in '\.mp4', expected one of"):
        save_animation(interior_frames(interior), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="seconds is 0"):
        save_animation(interior_frames(interior), tmp_path / "a.gif", seconds=0)
