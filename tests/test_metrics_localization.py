"""Localisation by boxes and the pointing game, on maps that are written down."""

import numpy as np
import pytest
from exact import assert_equal, fractions

import pyref


def test_a_constant_map_scores_the_area():
    maps = {"constant": fractions(np.full((2, 3, 4, 5), 2)), "negative": fractions(np.full((2, 4, 5), -1))}
    boxes = [(0, 0, 2, 5), [(1, 1, 3, 3), (1, 2, 3, 4)]]
    got = pyref.localization(None, None, maps, boxes=boxes)
    for name in maps:
        assert_equal(got[name], fractions(["1/2", "3/10"]))
        assert got.notes["area"][name].tolist() == [0.5, 0.3]
    points = pyref.pointing_game(None, None, maps, boxes=boxes)
    assert points["constant"].tolist() == [0.5, 0.3]
    assert points.notes["places at the maximum"]["constant"].tolist() == [20, 20]


def test_a_map_inside_the_box_scores_one():
    R = fractions(np.zeros((1, 2, 6, 6), dtype=int))
    R[0, :, 2:4, 3:5] = -3
    R[0, 0, 2, 3] = 7
    for channels in ("sum", "absolute", "largest", "positive"):
        assert_equal(
            pyref.localization(None, None, R, boxes=[(2, 3, 4, 5)], channels=channels)["attribution"], fractions([1])
        )
    half = pyref.localization(None, None, R[:, 1], boxes=[(2, 3, 4, 4)])
    assert_equal(half["attribution"], fractions(["1/2"]))
    assert_equal(
        pyref.localization(None, None, 5 * R, boxes=[(0, 3, 3, 6)])["attribution"],
        pyref.localization(None, None, R, boxes=[(0, 3, 3, 6)])["attribution"],
    )


def test_negative_relevance_counts_by_its_size():
    R = fractions([[[[-3, 1]], [[0, 0]]]])
    for channels, want in (("sum", "3/4"), ("absolute", "3/4"), ("positive", 0)):
        got = pyref.localization(None, None, R, boxes=[(0, 0, 1, 1)], channels=channels)
        assert_equal(got["attribution"], fractions([want]))


def test_channels():
    R = fractions([[[[1, -2]], [[-4, 1]]]])
    ways = {way: pyref.saliency_maps(R, way)[0, 0].tolist() for way in ("sum", "absolute", "largest", "positive")}
    assert ways == {"sum": [-3, -1], "absolute": [5, 3], "largest": [4, 2], "positive": [0, 0]}
    assert pyref.saliency_maps(R[:, 0]).tolist() == [[[1, -2]]]


def test_the_point_and_its_tolerance():
    R = np.zeros((1, 9, 9))
    R[0, 4, 4] = 1.0
    inside = (7, 7, 9, 9)
    for tolerance, hit in ((0, 0), (4, 0), (4.2, 0), (4.25, 1), (5, 1)):  # the nearest place is √18 = 4.243 away
        assert pyref.pointing_game(None, None, R, boxes=[inside], tolerance=tolerance)["attribution"].tolist() == [hit]
    R[0, 8, 8] = 1.0
    assert pyref.pointing_game(None, None, R, boxes=[inside])["attribution"].tolist() == [0.5]
    first = np.argmax(R[0])  # what taking the first maximum would say
    assert not (first // 9 >= 7 and first % 9 >= 7)
    assert pyref.pointing_game(None, None, np.exp(R) - 5, boxes=[inside])["attribution"].tolist() == [0.5]


def test_an_empty_map_is_said():
    got = pyref.localization(None, None, np.zeros((1, 2, 2)), boxes=[(0, 0, 1, 1)])
    assert np.isnan(got["attribution"][0]) and got.notes["no attribution"]["attribution"].tolist() == [True]


def test_boxes_are_half_open_masks_are_taken_and_wrong_ones_refused():
    assert np.argwhere(pyref.box_mask([(1, 0, 3, 2)], (1, 4, 4))[0]).tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    mask = np.eye(4, dtype=bool)[None]
    assert (pyref.box_mask(mask, (1, 4, 4)) == mask).all()

    def refused(match, boxes, shape=(1, 4, 4)):
        with pytest.raises(ValueError, match=match):
            pyref.box_mask(boxes, shape)

    refused("there are boxes for 2 samples, expected 1", [(0, 0, 1, 1)] * 2)
    refused(r"box \(0, 0, 5, 1\) of sample 0 does not lie in an image of 4 × 4", [(0, 0, 5, 1)])
    refused(r"box \(2, 0, 2, 1\)", [(2, 0, 2, 1)])
    refused(r"the samples \[0\] have no box", np.zeros((1, 4, 4), dtype=bool))
    refused(r"boxes have shape \(1, 3, 3\)", np.zeros((1, 3, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"attributions have shape \(2, 3\), expected images"):
        pyref.localization(None, None, np.ones((2, 3)), boxes=[])
    with pytest.raises(ValueError, match="tolerance is -1"):
        pyref.pointing_game(None, None, np.ones((1, 3, 3)), boxes=[(0, 0, 1, 1)], tolerance=-1)
