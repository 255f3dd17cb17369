"""The table of metrics: one row, one file, one interface."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from models import linear, mixed

import pyref

FOLDER = Path(pyref.__file__).parent / "metrics"
ROWS = list(pyref.METRICS.values())


@pytest.mark.parametrize("row", ROWS, ids=list(pyref.METRICS))
def test_every_row_has_its_file_and_says_what_it_is(row):
    assert (FOLDER / f"{row.name}.py").exists()
    assert row.function is getattr(pyref, row.name) and row.what.endswith((".", "!"))
    assert row.equation and row.better and "[" in row.source
    assert row.takes in ("attributions", "methods", "nothing")
    keys = {key.strip("[]") for key in row.source.split() if key.startswith("[")}
    assert all(f"[{key}]" in (inspect.getdoc(row.function) or "") for key in keys)


@pytest.mark.parametrize("row", ROWS, ids=list(pyref.METRICS))
def test_the_interface_is_the_same(row):
    """metric(network, x, attributions, *, …): options by name, progress wherever there is a loop."""
    parameters = inspect.signature(row.function).parameters
    places = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if row.takes == "attributions":
        assert places[1:] == ["x", "attributions"] and places[0] in ("network", "train")
        assert {"target", "labels"} & set(parameters) or {"source", "goal"} <= set(parameters) or "boxes" in parameters
    if row.takes == "methods":
        assert places == ["network", "x", "methods"]
    if "batch" in parameters:
        assert "progress" in parameters


def test_results_print_as_tables():
    network, x, _, R = linear()
    for metric in (pyref.completeness, pyref.sensitivity_n, pyref.morf_lerf):
        text = str(metric(network, x, {"right": R, "half": R / 2}))
        assert text.startswith(metric.__name__) and "right" in text and "samples" in text
        assert "nan" not in text and len({len(line) for line in text.splitlines()[1:2]}) == 1
    one = pyref.completeness(network, x[:1], R[:1])
    assert "–" in str(one)  # no standard error of one sample
    assert all(isinstance(v, float | int | str) for row in one.rows() for v in row.values())
    with pytest.raises(AttributeError):
        one.values = {}


def test_parts_of_a_data_set_are_joined():
    network, x = mixed()
    R = pyref.gradient_times_input(network, x, 1).values
    for metric, options in ((pyref.completeness, {}), (pyref.sensitivity_n, {"sizes": [2]}), (pyref.morf_lerf, {})):
        whole = metric(network, x, R, target=1, **options)
        parts = []
        for which in (slice(0, 1), slice(1, 4)):
            indices = {} if metric is pyref.completeness else {"indices": range(4)[which]}
            parts.append(metric(network, x[which], R[which], target=1, **options, **indices))
        got = pyref.joined(parts)
        assert type(got) is type(whole) and str(got) == str(whole)
        assert all((got[name] == whole[name]).all() for name in whole.series)
    assert (got.output == whole.output).all() and (got.statistics["AOPC"]["MoRF"].shape) == (4,)
    with pytest.raises(ValueError, match=r"parts differ: morf_lerf of .* and morf_lerf of"):
        pyref.joined([whole, pyref.morf_lerf(network, x, R, orders=0)])
    with pytest.raises(ValueError, match="parts differ"):
        pyref.joined([whole, pyref.morf_lerf(network, x, R, step=2)])
    with pytest.raises(ValueError, match="nothing to join"):
        pyref.joined([])


def test_some_series_of_a_measurement():
    network, x, _, R = linear()
    whole = pyref.morf_lerf(network, x, {"a": R, "b": -R}, orders=2)
    some = whole.only("random", "a LeRF")
    assert some.series == ("random", "a LeRF") and (some["random"] == whole["random"]).all()
    assert set(some.statistics["AOPC"]) == {"random", "a LeRF"} and set(some.notes["ties"]) == {"a LeRF"}
    assert type(some) is type(whole) and "b MoRF" not in str(some)
    with pytest.raises(ValueError, match="morf_lerf has no series 'a MRF'; did you mean 'a MoRF'"):
        whole.only("a MRF")


def test_a_value_that_is_missing_is_left_out_and_counted():
    curves = pyref.Curves("m", {"a": np.array([[1.0, np.nan], [3.0, 5.0]])}, at=np.arange(2), axis="k")
    s = curves.summary("a")
    assert s.mean.tolist() == [2, 5] and s.count.tolist() == [2, 1]
    assert np.isnan(s.standard_error[1]) and s.standard_error[0] == 1
