"""The bench counts only what is right, and says what was measured."""

import importlib
import json
import os
import sys
import time
from dataclasses import dataclass, fields

import numpy as np
import pytest

from bench import check, cost, ours, report
from bench import measure as bench_measure
from bench import pace as bench_pace
from bench.measure import BURST, _Child, measure
from bench.pace import Pace
from bench.rows import ROWS, Row
from bench.scaling import SERIES

QUICK = ROWS["epsilon_plus digits-cnn-relu b1"]


def test_a_wrong_value_is_not_timed(monkeypatch):
    right = ours.prepare

    def off(row, backend="cpu", dtype="float32"):
        run = right(row, backend, dtype)
        return run if dtype == "float64" else lambda: run() * np.float32(1.001)

    check.check(QUICK, truth="pyref")
    monkeypatch.setattr(ours, "prepare", off)
    with pytest.raises(AssertionError, match="rounding explains"):
        check.check(QUICK, truth="pyref")


def test_a_row_is_measured_in_a_process_of_its_own():
    found = measure(QUICK, ("ours",), runs=3, seconds=0)["ours"]
    assert len(found.seconds) == 3
    assert min(found.seconds) > 0
    assert found.values.shape == (1, 1, 8, 8)


def test_a_contender_that_refuses_says_why():
    found = measure(QUICK, ("onnxruntime_",), runs=1, seconds=0)["onnxruntime_"]
    assert found.refused
    assert not found.seconds


@pytest.mark.parametrize("contender", ["numpy_lstm", "torch_unrolled"])
def test_baselines_of_our_own_answer_the_same_question(contender):
    """They are written apart from the kernels and from pyref, and agree as far as rounding explains."""
    if contender == "torch_unrolled":
        pytest.importorskip("torch")
    row = ROWS["lrp lstm64 b16"].quick()
    got = importlib.import_module(f"bench.{contender}").prepare(row)()
    allowed = check.check(row, truth="pyref")["allowed"]
    assert check.gap(got, ours.prepare(row)()) <= allowed


def test_what_must_be_spent_is_counted_by_hand():
    """Two convolutions and two dense layers; z+ takes a pass each way more than the forward pass, ε one back."""
    network = QUICK.build()
    x = np.abs(QUICK.input(network))  # signs are known: x ≥ 0 everywhere
    conv = 2 * 64 * (9 * 16 + 9 * 16 * 32)
    dense = 2 * (512 * 64 + 64 * 10)
    assert cost.must(QUICK, network, x).flops == 3 * conv + 2 * dense


class Answers:
    """A network that answers four times; then it raises, ends its process, or sleeps."""

    def __init__(self, end):
        self.end, self.calls = end, 0

    def __call__(self, x, backend):
        self.calls += 1
        time.sleep(2 * BURST)  # so that a call is a run
        if self.calls > 4 and self.end == "raises":
            raise ValueError("no more")
        if self.calls > 4 and self.end == "dies":
            os._exit(1)
        if self.calls > 4 and self.end == "hangs":
            time.sleep(60)
        return x


@dataclass(frozen=True)
class Odd(Row):
    def build(self, dtype="float32"):
        return Answers(self.network)

    def input(self, network, dtype="float32"):
        return np.zeros(1)


@pytest.mark.parametrize(
    ("end", "why"),
    [("raises", "ValueError: no more"), ("dies", "its process ended"), ("hangs", "it took more than 20 s"), ("", None)],
)
def test_a_contender_that_fails_or_hangs_refuses(end, why):
    found = measure(Odd("odd", end, "forward", 1), ("ours", "ours_again"), runs=4, seconds=0, limit=20)
    assert "No module named" in found["ours_again"].refused
    assert found["ours"].refused is None if why is None else why in found["ours"].refused
    assert len(found["ours"].seconds) == (4 if why is None else 1)


def test_short_calls_are_repeated_and_their_median_counts(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(bench_measure, "perf_counter", lambda: now[0])

    def run(seconds):
        calls.append(seconds)
        now[0] += seconds

    taken = iter([2**-10, 2**-7, 2**-9, 2**-8, 2**-7])
    assert bench_measure._burst(lambda: run(next(taken))) == 2**-8
    assert len(calls) == 5  # the first four take less than 20 ms
    assert bench_measure._burst(lambda: run(2**-5)) == 2**-5
    assert len(calls) == 6


def test_a_run_waits_until_the_others_have_come_to_rest(monkeypatch):
    """Until what they have computed stands still; one that never rests is not waited for any longer after a while."""
    ticks = [0]
    monkeypatch.setattr(bench_measure, "perf_counter", lambda: ticks[0] / 100)
    monkeypatch.setattr(bench_measure, "sleep", lambda seconds: ticks.__setitem__(0, ticks[0] + 1))

    class Spins:
        def __init__(self, most):
            self.most = most

        def computed(self):
            return 10**7 * min(ticks[0], self.most)

    for busy, waited in ((0, 1), (30, 31), (10**6, 100 * bench_measure.REST)):
        ticks[0] = 0
        bench_measure._rest([Spins(0), Spins(busy)])
        assert ticks[0] == waited


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has computed is read from /proc")
def test_what_a_contender_has_computed_is_known():
    child = _Child("ours", QUICK, {})
    try:
        assert child.hear(60)[0] == "ready"
        before = child.computed()
        child.run(60)
        assert child.computed() > before > 0
    finally:
        child.stop()


def test_what_takes_long_runs_once(monkeypatch):
    assert len(measure(QUICK, ("ours",), runs=3, seconds=0, budget=0)["ours"].seconds) == 1
    monkeypatch.setattr(bench_measure, "ONCE", 0.0)
    found = measure(QUICK, ("ours",), runs=3, seconds=0)["ours"]
    assert len(found.seconds) == 1
    assert found.spread is None


class Paces:
    """A machine that settles where it is said."""

    def __init__(self, *settles):
        self.settles = list(settles)

    def settled(self):
        return self.settles.pop(0)


def test_runs_that_began_on_a_slower_machine_are_counted():
    found = measure(QUICK, ("ours",), runs=4, seconds=0, pace=Paces(True, False, True, False))["ours"]
    assert (len(found.seconds), found.hurried) == (4, 2)


def test_a_machine_is_waited_for_until_it_is_at_its_best(monkeypatch):
    now, took = [0.0], iter([2.0, 1.0] * 10 + [2.0, 1.5, 1.09, 0.5] + [1.0] * 9)

    def work(self):
        seconds = next(took)
        now[0] += seconds / 4
        return seconds

    monkeypatch.setattr(Pace, "_seconds", work)
    monkeypatch.setattr(bench_pace, "perf_counter", lambda: now[0])
    pace = Pace()
    assert pace.settled()  # the third
    assert pace.settled()  # better than ever
    assert not pace.settled()  # slower than that for two seconds
    assert len(list(took)) == 1


def test_results_are_kept_and_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    side = {"name": "relprop", "refused": None, "median": 0.25, "spread": 0.1, "extra": 3 << 20, "seconds": [0.25]}
    peer = side | {"name": "peer", "median": 1.0, "differs": 1e-7}
    row = {"row": "a", "aim": 2, "reached": 0.5, "ours": side, "peers": [peer, {"name": "other", "refused": "no"}]}
    run = {"began": "2026-01-02 03:04:05", "machine": report.machine(), "threads": 2, "sgemm": 1e11, "copy": 1e10}
    path = report.save(run | {"rows": [row]}, "desk")
    assert json.loads(path.read_text())["rows"] == [row]
    assert "| a | 250 ms | 10% | 50% | 3.0 MiB | peer 1 s, 3.0 MiB, 1e-07; other: no | 4.00× | 2× |" in report.page()
    later = run | {"began": "2026-01-02 04:00:00", "rows": [row | {"kept": 2 << 20}, {"row": "b", "wrong": "off"}]}
    later["rows"][0]["ours"] = side | {"spread": None}
    report.save(later, "desk")
    assert "| a | 250 ms | one run | 50% | 3.0 MiB, 1.5× |" in report.page()
    assert "runs began" not in report.page()
    later["rows"][0]["peers"] = [peer | {"hurried": 3}]
    report.save(later, "desk")
    assert "3 runs began though the machine" in report.page()
    assert "| b | **off** |" in report.page()
    grown = [{"name": "steps", "seconds": {"1": 0.5, "2": 1.0}, "slope": 1.0}]
    report.save(later | {"scaling": grown}, "desk")
    assert "| b | **off** |" in report.page()
    assert "| steps | 1: 500 ms, 2: 1 s | 1.00 |" in report.page()


def test_a_row_that_misses_its_aim_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    name = next(row.name for row in ROWS.values() if row.note)
    run = {"began": "2026-01-02 03:04:05", "machine": report.machine(), "threads": 2, "sgemm": 1e11, "copy": 1e10}
    report.save(run | {"rows": [{"row": name, "wrong": "off"}, {"row": "unknown", "wrong": "off"}]}, "desk")
    assert f"- *{name}*: {ROWS[name].note}\n" in report.page()
    assert report.page().count("\n- *") == 1
    side = {"name": "relprop", "refused": None, "median": 0.25, "spread": 0.1, "extra": 0}
    row = {"row": name, "reached": 1, "ours": side, "peers": [side | {"name": "peer", "median": 1.0, "differs": 0}]}
    for day, (aim, says) in enumerate([(4, 0), (4.5, 1), (None, 1)]):
        report.save(run | {"began": f"2026-02-0{day + 1} 03:04:05", "rows": [row | {"aim": aim}]}, "desk")
        assert report.page().count("\n- *") == says


def test_a_row_that_holds_more_than_it_must_says_what(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    name = next(row.name for row in ROWS.values() if row.memory)
    run = {"began": "2026-01-02 03:04:05", "machine": report.machine(), "threads": 2, "sgemm": 1e11, "copy": 1e10}
    side = {"name": "relprop", "refused": None, "median": 0.25, "spread": 0.1, "extra": 30 << 20}
    slow = side | {"name": "slow", "median": 2.0, "differs": 0, "extra": 0}

    def says(peer, kept):
        peers = [slow, slow | {"name": "fast", "median": 1.0, "extra": peer}]
        row = {"row": name, "reached": 1, "aim": 2, "ours": side, "peers": peers, "kept": kept}
        report.save(run | {"rows": [row]}, "desk")
        return f"- *{name}*: {ROWS[name].memory}\n" in report.page()

    assert not says(30 << 20, 20 << 20)
    assert says((30 << 20) - 1, 20 << 20)
    assert says(30 << 20, (20 << 20) - 1)
    assert not says(None, None)
    assert all(row.memory for row in ROWS.values() if row.against and row.network in ("mnist_mlp", "lstm"))


@pytest.mark.parametrize("series", SERIES, ids=[s.name for s in SERIES])
def test_a_series_varies_one_size(series):
    rows = [series.at(size) for size in series.sizes]
    assert len(set(map(repr, rows))) == len(rows) >= 4
    differing = [f.name for f in fields(Row) if len({repr(getattr(row, f.name)) for row in rows}) > 1]
    assert len(differing) == 1
