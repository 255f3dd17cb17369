"""What an image becomes on the command line, and the names of classes."""

import json

import numpy as np
import pytest
from PIL import Image

import pyref
import relprop
from relprop import cli
from relprop.source import PREPROCESSING, open_input, preprocessing, read_labels


def network(*shape, classes=3):
    w = np.random.default_rng(0).normal(size=(int(np.prod(shape)), classes))
    return pyref.Network.sequential([pyref.Flatten(), pyref.Dense(w)], shape=shape)


@pytest.fixture
def picture(tmp_path):
    """(path, pixels (4, 6, 3) / 255)."""
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return str(tmp_path / "a.png"), pixels / 255


def test_mean_deviation_order_and_layout(picture):
    path, pixels = picture
    assert (open_input(path, network(3, 4, 6), prepare=preprocessing(["unit"]))[0] == np.moveaxis(pixels, -1, 0)).all()
    plain = PREPROCESSING["imagenet"]
    expected = (pixels - np.array(plain.mean)) / np.array(plain.std)
    said = preprocessing(["imagenet", "size=4", "layout=nhwc"])
    assert (open_input(path, network(4, 6, 3), prepare=said)[0] == expected).all()
    said = preprocessing(["order=bgr", "mean=0.5", "std=0.1,0.2,0.4"])  # the layout is seen from the shape
    expected = (pixels[..., ::-1] - 0.5) / np.array([0.1, 0.2, 0.4])
    assert (open_input(path, network(4, 6, 3), prepare=said)[0] == expected).all()
    assert (open_input(path, network(3, 4, 6), prepare=preprocessing(["inception", "size=4"])) <= 1).all()


def test_the_middle_is_cut_out(picture):
    path, pixels = picture
    x = open_input(path, network(3, 4, 4), prepare=preprocessing(["unit"]))
    assert (x[0] == np.moveaxis(pixels[:, 1:5], -1, 0)).all()
    assert open_input(path, network(3, 9, 5), prepare=preprocessing(["unit"])).shape == (1, 3, 9, 5)
    assert open_input(path, network(1, 4, 6), prepare=preprocessing(["mnist"])).shape == (1, 1, 4, 6)


def test_lengths_that_the_model_leaves_open_are_those_of_the_image(picture):
    open_lengths = pyref.Network.sequential([pyref.GlobalAvgPool(), pyref.Flatten()], shape=(3, None, None))
    assert open_input(picture[0], open_lengths, prepare=preprocessing(["unit"])).shape == (1, 3, 4, 6)
    assert open_input(picture[0], open_lengths, prepare=preprocessing(["size=8"])).shape == (1, 3, 8, 12)


@pytest.mark.parametrize(
    "words, said",
    [
        (["imagnet"], "there is no preprocessing 'imagnet'; did you mean 'imagenet'"),
        (["scale=2"], "there is no setting 'scale'"),
        (["mean=a,b"], "mean is 'a,b', expected numbers"),
        (["size=0"], "size is '0', expected a number above 0"),
        (["std=0"], "std is '0', expected a number above 0"),
        (["order=gbr"], "order is 'gbr'"),
    ],
)
def test_what_is_not_understood_is_named(words, said):
    with pytest.raises(ValueError, match=said):
        preprocessing(words)


def test_channels_must_fit(picture):
    with pytest.raises(ValueError, match="expected 1 or 1 numbers"):
        open_input(picture[0], network(1, 4, 6), prepare=preprocessing(["imagenet"]))
    with pytest.raises(ValueError, match="the model reads 4 in the layout nchw"):
        open_input(picture[0], network(4, 4, 6), prepare=preprocessing(["unit"]))


def test_labels_are_read_from_lines_and_json(tmp_path):
    (tmp_path / "a.txt").write_text("cat\ndog\n")
    (tmp_path / "b.json").write_text('["cat", "dog"]')
    (tmp_path / "c.json").write_text('{"0": ["n01", "cat"], "1": "dog"}')
    assert [read_labels(tmp_path / n) for n in ("a.txt", "b.json", "c.json")] == [{0: "cat", 1: "dog"}] * 3
    (tmp_path / "d.json").write_text("3")
    with pytest.raises(ValueError, match="is no list of names"):
        read_labels(tmp_path / "d.json")
    with pytest.raises(ValueError, match="there is no file"):
        read_labels(tmp_path / "e.txt")


def test_the_command_line_prints_the_names(picture, tmp_path, capsys):
    relprop.save(network(3, 4, 6), tmp_path / "m.safetensors")
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\n")
    argv = ["explain", str(tmp_path / "m.safetensors"), picture[0], "--preprocess", "unit"]
    assert cli.run([*argv, "--labels", str(tmp_path / "names.txt"), "--target", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["samples"]
    assert row["explained class name"] == "dog"
    assert row["predicts name"] == ["cat", "dog", "bird"][row["predicts"]]
    assert cli.run([*argv, "--low", "0"]) == 2
    assert "no meaning beside --preprocess" in capsys.readouterr().err
