"""The parity harness must fail: a kernel with a fault, run through the same comparison, is told from a sound one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bound import relevance_bound
from parity import assert_relevance, values

import pyref
from pyref.layers.dense import dense_terms

RULES = [rule() for name, rule in pyref.RULES.items() if name != "pass_"]
RULES += [pyref.Gamma(form="weight"), pyref.Epsilon(bias="uniform"), pyref.Norm(mode="abs")]
SIZES = {"n": 5, "i": 13, "o": 7}


def case(seed=0):
    rng = np.random.default_rng(seed)
    x = values("positive", (SIZES["n"], SIZES["i"]), np.float64, rng)
    w = values("normal", (SIZES["i"], SIZES["o"]), np.float64, rng)
    b = values("normal", (SIZES["o"],), np.float64, rng)
    R = values("normal", (SIZES["n"], SIZES["o"]), np.float64, rng)
    return x, w, b, R


def judge(backend, rule):
    """The comparison of test_parity, on one case."""
    x, w, b, R = case()
    terms = dense_terms(x.astype(np.longdouble), w.astype(np.longdouble))
    arguments = {"x": x, "w": w, "b": b, "R": R, "rule": rule}
    exact = (a.astype(np.longdouble) for a in (b, R))
    assert_relevance("dense_relevance", backend, arguments, terms, *exact, rule, np.float64, "harness")


class Faulty:
    """pyref with a fault: how it changes what is asked, and what is answered."""

    def __init__(self, ask=lambda arguments: arguments, answer=lambda r: r):
        self.ask, self.answer = ask, answer

    def dense_relevance(self, **arguments):
        return self.answer(pyref.dense_relevance(**self.ask(arguments)))


def without_last(name):
    """The last element along the last axis of an argument counts as zero."""

    def ask(arguments):
        v = np.copy(arguments[name])
        v[..., -1] = 0
        return arguments | {name: v}

    return ask


def first_only_twice(r):
    """The second element overwrites the first: an index is off by one."""
    r = np.copy(r)
    r[..., 0] = r[..., 1]
    return r


FAULTS = {
    "relative error of 1e-9": Faulty(answer=lambda r: r * (1 + 1e-9)),
    "dropped input": Faulty(answer=lambda r: r * (np.arange(SIZES["i"]) != SIZES["i"] - 1)),
    "dropped output": Faulty(without_last("R")),
    "index off by one": Faulty(answer=first_only_twice),
    "a sample too few": Faulty(answer=lambda r: r * (np.arange(SIZES["n"]) != 0)[:, None]),
    "swapped samples": Faulty(answer=lambda r: r[::-1]),
    "dropped weights": Faulty(without_last("w")),
}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_sound_one_passes(rule):
    judge(pyref, rule)


# The flat rule gives every input the same, whatever its weights.
UNSEEN = {("flat", "dropped weights"), ("flat", "index off by one")}


@pytest.mark.parametrize(
    ("rule", "fault"), [(r, f) for r in RULES for f in FAULTS if (r.name, f) not in UNSEEN], ids=str
)
def test_a_fault_is_seen(rule, fault):
    with pytest.raises(AssertionError, match="harness"):
        judge(FAULTS[fault], rule)


class _Swapped(pyref.AlphaBeta):
    """α on the negative and β on the positive contributions."""

    def split(self, R, z):
        return super().split(R, z)[::-1]


class _OnBothParts(pyref.AlphaBeta):
    """The whole bias with either sign."""

    def bias_part(self, p, b):
        return b * 1 if p in (0, 2) else b * 0


class _PlainEpsilon(pyref.Epsilon):
    """z + ε, on the wrong side of zero for negative z."""

    def split(self, R, z):
        return (R / (z[0] + self.epsilon),)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (pyref.AlphaBeta(), _Swapped()),
        (pyref.AlphaBeta(), _OnBothParts()),
        (pyref.Epsilon(1e-3), _PlainEpsilon(1e-3)),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_wrong_rule_is_seen(right, wrong):
    judge(pyref, right)
    with pytest.raises(AssertionError, match="harness"):
        judge(Faulty(lambda arguments: arguments | {"rule": wrong}), right)


def test_what_the_account_keeps_is_judged():
    class Forgetful:
        @staticmethod
        def dense_relevance(account, **arguments):
            return pyref.dense_relevance(**arguments, account=pyref.Account())

    with pytest.raises(AssertionError, match="harness"):
        judge(Forgetful, pyref.Epsilon(bias="ignore"))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_hardly_any_bound_is_infinite(rule):
    """Where the bound is infinite nothing is judged: on ordinary numbers that is next to nowhere."""
    judged = total = 0
    for seed in range(20):
        x, w, b, R = (a.astype(np.longdouble) for a in case(seed))
        bound = relevance_bound(dense_terms(x - (0 if hasattr(rule, "low") else 0.5), w), b, R, rule, np.float32)
        judged, total = judged + np.isfinite(bound.r[0]).sum(), total + x.size
    assert judged > 0.99 * total


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_run_says_how_near_to_its_bound_each_kernel_came(processes):
    if processes:
        pytest.importorskip("xdist")
    here = Path(__file__)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *processes, str(here), "-k", "sound"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=here.parent.parent, env=environment)
    assert run.returncode == 0, run.stdout
    _, said = run.stdout.split("worst error / bound")
    assert any(line.split()[1:2] == ["harness"] and 0 < float(line.split()[0]) <= 1 for line in said.splitlines())
