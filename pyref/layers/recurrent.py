"""What LSTM and GRU share: time and padding, the split of a product, and the layer of stacks and directions."""

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from pyref.check import check_choice, check_shape
from pyref.layers.affine import Term, affine_relevance
from pyref.layers.layer import Inputs, Layer
from pyref.numerics import ones_like, safe_divide, zeros_like
from pyref.rules import Norm
from pyref.trace import Account

__all__ = ["GATES", "PRODUCTS", "product_relevance", "product_multiplier"]

GATES = ("all", "half", "prop", "abs", "gradient")
PRODUCTS = ("symmetric", "gradient")


# ── products and sums ──────────────────────────────────────────────────────────────────────────────────


def product_relevance(R, p, q, gate="all", account=None):
    """Relevance of the two factors of y = p ⊙ q, a gate p and a signal q: (R_p, R_q).

        gate="all"        0, R                                 the signal takes all
        gate="half"       R / 2, R / 2
        gate="prop"       R p / (p + q), R q / (p + q)         poles where p = -q
        gate="abs"        R |p| / (|p| + |q|), R |q| / (|p| + |q|)
        gate="gradient"   R, R                                 what gradient · input does: relevance doubles

    Source
        [arras2017] for all, [arras2019] sec. 11.3 for the other conserving ones; [ancona2017] for gradient.
    Shapes
        R, p, q alike   →   R_p, R_q alike
    Laws
        R_p + R_q = R, except under "gradient", which is not conserving, and where 0 / 0 drops R (account).
    Raises
        ValueError  an unknown gate.
    """
    check_choice("gate", gate, GATES)
    if gate == "all":
        return zeros_like(R), R
    if gate == "half":
        return R / 2, R / 2
    if gate == "gradient":
        return R, R
    if gate == "abs":
        p, q = np.abs(p), np.abs(q)
    total = p + q
    s = safe_divide(R, total)
    if account is not None:
        account.add_kept(zeros_like(R), np.where(total == 0, R, zeros_like(R)))
    return p * s, q * s


def product_multiplier(p, q, p0, q0, product="symmetric"):
    """DeepLIFT multipliers of the two factors of y = p ⊙ q: (m_p, m_q).

        product="symmetric"   (q + q0) / 2, (p + p0) / 2       m_p Δp + m_q Δq = Δ(p q) exactly
        product="gradient"    q, p                             not complete

    Source
        the symmetric split of Δ(p q); [ancona2017] for gradient.
    Raises
        ValueError  an unknown product.
    """
    check_choice("product", product, PRODUCTS)
    return (q, p) if product == "gradient" else ((q + q0) / 2, (p + p0) / 2)


def elementwise_term(x, weight):
    """x_i · weight as a bilinear map, for the rule algebra; weight is 1 or -1."""
    w = ones_like(x, shape=x.shape[-1:]) * weight
    return Term(x, w, forward=lambda x, w: x * w, transpose=lambda s, w: s * w)


def sum_relevance(parts, R, rule, z, account, constant=None):
    """Relevance of the parts of a sum of states z = Σ ± part (+ constant), by Norm with the rule's ε.

    parts are (value, +1 or -1).
    """
    norm = Norm(epsilon=getattr(rule, "epsilon", 0), stabilizer=getattr(rule, "stabilizer", "add"))
    return affine_relevance([elementwise_term(*part) for part in parts], constant, R, norm, z, account)


def merge_accounts(account, parts, nothing=None):
    """Add up the accounts of blocks or directions; their bias shares (n, ·) come to lie side by side.

    nothing (n, ·) stands for the bias shares of a part that has none.
    """
    for part in parts:
        account.stabilizer = account.stabilizer + part.stabilizer
        account.dropped = account.dropped + part.dropped
        account.state = account.state + part.state
    if any(part.bias is not None for part in parts):
        account.add_bias(np.concatenate([nothing if p.bias is None else p.bias for p in parts], axis=1))


# ── time ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class RecurrentRecord:
    """What a forward pass computed, step by step: arrays (n, t, ·) in the order of the sequence."""

    state: ClassVar[tuple[str, ...]]

    x: Any
    z: Any
    h: Any
    h_prev: Any
    reverse: bool

    def at(self, t):
        """The record of one step: arrays (n, ·)."""
        arrays = [f.name for f in fields(self) if f.name != "reverse"]
        return replace(self, **{name: getattr(self, name)[:, t] for name in arrays})

    @property
    def order(self):
        """The steps in the order in which they were read."""
        return time_order(self.h.shape[1], self.reverse)

    @property
    def h_last(self):
        """h (n, h) after the last step that was read: with `reverse` the first of the sequence."""
        return self.h[:, self.order[-1]]


def time_order(t, reverse):
    return range(t)[::-1] if reverse else range(t)


def is_valid(lengths, t):
    """(n, 1): whether step t lies inside each sequence. None where all sequences are whole."""
    return None if lengths is None else np.reshape(lengths > t, (-1, 1))


def where_valid(valid, v, otherwise):
    return v if valid is None else np.where(valid, v, otherwise)


def mask_padding(v, lengths):
    """v (n, t, ·) with zeros at the padded steps."""
    if lengths is None:
        return v
    steps = [where_valid(is_valid(lengths, t), v[:, t], zeros_like(v[:, t])) for t in range(v.shape[1])]
    return np.stack(steps, axis=1)


def scan(step, state, lengths, order):
    """Run step(t, **state) → {name: value}, new state among them, over time; padded steps carry the state.

    Returns {name: (n, t, ·)}, with the state before each step under <name>_prev.
    """
    steps: list[dict] = [{}] * len(order)
    for t in order:
        before, values = state, step(t, **state)
        state = {k: where_valid(is_valid(lengths, t), values[k], before[k]) for k in before}
        steps[t] = values | state | {f"{k}_prev": v for k, v in before.items()}
    return {name: np.stack([s[name] for s in steps], axis=1) for name in steps[0]}


def scan_back(step, record, S, S_last, lengths):
    """Run a signal back in time: step(t, **signal at the state after t) → (signal at x_t, {state before t}).

    S (n, t, h) arrives at the outputs, S_last (n, h) or None at the last state. What arrives at a padded
    output is void, that output being zero; what arrives at a padded state is carried.
    Returns the signal at x (n, t, c) and {state: signal (n, h)} at the initial state.
    """
    nothing = zeros_like(S[:, 0])
    signal = dict.fromkeys(record.state, nothing)
    if S_last is not None:
        signal["h"] = signal["h"] + S_last
    S_x: list = [None] * S.shape[1]
    for t in reversed(record.order):
        valid = is_valid(lengths, t)
        arrived = signal | {"h": signal["h"] + S[:, t]}
        S_x[t], before = step(t, **{k: where_valid(valid, v, nothing) for k, v in arrived.items()})
        signal = {k: where_valid(valid, before[k], signal[k]) for k in signal}
    return np.stack(S_x, axis=1), signal


# ── what a single direction is given ───────────────────────────────────────────────────────────────────


def blocks_of(v, count):
    """The `count` equal blocks of v's last axis, one per gate; of None, Nones."""
    width = 0 if v is None else v.shape[-1] // count
    return tuple(None if v is None else v[..., k * width : (k + 1) * width] for k in range(count))


def check_parameters(x, w_x, w_h, b, lengths, gates):
    """One line per argument of a recurrent layer with that many gates."""
    check_weights("", x.shape[-1], w_x, w_h, b, gates)
    check_shape("x", x, (None, None, w_x.shape[0]))
    if x.shape[1] == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected at least one step")
    if lengths is not None:
        check_lengths(lengths, x)


def check_weights(index, c, w_x, w_h, b, gates):
    width = w_h.shape[0]
    check_shape("w_h" + index, w_h, (None, gates * width))
    check_shape("w_x" + index, w_x, (c, gates * width))
    if b is not None:
        check_shape("b" + index, b, (gates * width,))


def check_lengths(lengths, x):
    """lengths must be n integers from 0 to t."""
    check_shape("lengths", lengths, (x.shape[0],))
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"lengths has dtype {lengths.dtype}, expected integers")
    wrong = (lengths < 0) | (lengths > x.shape[1])
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise ValueError(f"lengths holds {int(lengths[first])} at index {first}, expected 0 to {x.shape[1]}")


def check_signal(name, S, S_last, record):
    """The signal at the outputs (n, t, h), and that at the last state (n, h) or None."""
    check_shape(name, S, record.h.shape)
    if S_last is not None:
        check_shape(f"{name}_last", S_last, record.h_last.shape)


def check_baseline(x, x0):
    """x0 must be in the shape of x, or one sample that all share."""
    if tuple(x0.shape) != (1, *x.shape[1:]):
        check_shape("x0", x0, x.shape)


def initial_state(name, value, x, width):
    """The given (n, h) state, or zeros."""
    if value is None:
        return zeros_like(x, shape=(x.shape[0], width))
    check_shape(name, value, (x.shape[0], width))
    return value


# ── the layer ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Run:
    """One direction of one layer in a forward pass: its index k, its input sequence, output and record."""

    k: int
    x: Any
    h: Any
    record: Any


class Recurrent(Layer):
    """A stack of recurrent layers, each of one or two directions, as a node.

    Weights are tuples with one array per direction: those of the first layer (forward, then backward where
    bidirectional), those of the second, and so on; a single array stands for a tuple of one. Layers above
    the first read the concatenated directions of the one below. An initial state (h,) is shared by all samples.

        output="sequence"   h (n, t, h), the directions concatenated on the last axis; 0 at padded steps
        output="last"       h (n, h): each direction's state after its last step. Forwards that is the last
                            valid step; backwards, where reading starts at the last valid step, it is step 0.
        masked=True         a second input, integer lengths (n,): step t ≥ length is padding. State is
                            carried through it, and no signal reaches x there.

    In the ledger the bias shares of all directions lie side by side, summed over time: (n, ·). What reaches an
    initial state stays there. The functions of a single direction have the equations.
    """

    kind: ClassVar[str] = "recurrent"
    stem: ClassVar[str]
    gates: ClassVar[int]
    arrays: ClassVar[tuple[str, ...]]

    w_x: Any
    w_h: Any
    b: Any
    bidirectional: bool
    reverse: bool
    output: str
    masked: bool

    def __post_init__(self):
        for name in self.arrays:
            value = getattr(self, name)
            if value is not None and not isinstance(value, tuple | list):
                value = (value,)
            object.__setattr__(self, name, value if value is None else tuple(value))
        check_choice("output", self.output, ("sequence", "last"))
        if self.bidirectional and self.reverse:
            raise ValueError("reverse=True has no meaning where bidirectional=True")
        for name in self.arrays:
            arrays = getattr(self, name)
            if arrays is not None and len(arrays) != len(self.w_x):
                raise ValueError(f"{name} has {len(arrays)} arrays, expected {len(self.w_x)}, as many as w_x")
        if not self.w_x or len(self.w_x) % self.directions:
            raise ValueError(f"w_x has {len(self.w_x)} arrays, expected {self.directions} per layer")
        c = self.w_x[0].shape[0]
        for layer in self._layers():
            for k in layer:
                self._check_direction(k, c)
            c = sum(self.width(k) for k in layer)

    def _check_direction(self, k, c):
        index = f"[{k}]"
        check_weights(index, c, self.w_x[k], self.w_h[k], self.b and self.b[k], self.gates)
        for name in self.arrays[3:]:
            if getattr(self, name) is not None:
                check_shape(name + index, getattr(self, name)[k], (self.width(k),))

    @property
    def arity(self):  # type: ignore[override]
        return 2 if self.masked else 1

    @property
    def directions(self):
        """Directions per layer."""
        return 2 if self.bidirectional else 1

    def width(self, k):
        """Hidden units of direction k."""
        return self.w_h[k].shape[0]

    def _layers(self):
        """The indices of the directions, layer by layer."""
        d = self.directions
        return [range(first, first + d) for first in range(0, len(self.w_x), d)]

    def weights(self, k):
        """The parameters of direction k, in the order of the functions."""
        raise NotImplementedError

    def options(self, k, x):
        """What else the functions of direction k take: {name: initial state (n, h) or None}, and the form."""
        raise NotImplementedError

    def _function(self, backend, question, k, x):
        """The backend's function for a question, with the options of direction k."""
        reverse = self.reverse or (self.bidirectional and k % 2 == 1)
        lengths = x[1] if self.masked else None
        function = getattr(backend, f"{self.stem}_{question}")
        return partial(function, lengths=lengths, reverse=reverse, **self.options(k, x[0]))

    def state(self, name, k, x):
        value = getattr(self, name)
        return None if value is None else zeros_like(x, shape=(x.shape[0], self.width(k))) + value[k]

    def _unroll(self, backend, x):
        """The forward pass, layer by layer: lists of Run. Inputs of a network's record keep it."""
        return (x if isinstance(x, Inputs) else Inputs(x)).keep(backend, lambda: self._runs(backend, x))

    def _runs(self, backend, x):
        layers: list[list[Run]] = []
        for layer in self._layers():
            sequence = np.concatenate([run.h for run in layers[-1]], axis=-1) if layers else x[0]
            runs = []
            for k in layer:
                h, record = self._function(backend, "forward", k, x)(sequence, *self.weights(k))
                runs.append(Run(k, sequence, h, record))
            layers.append(runs)
        return layers

    def _walk_back(self, layers, S, answer):
        """From the output to x: answer(run, S, S_last) is the signal at a direction's input sequence."""
        last = self.output == "last"
        for runs in reversed(layers):
            signals, start = [], 0
            for run in runs:
                part = S[..., start : start + self.width(run.k)]
                start += self.width(run.k)
                signals.append(answer(run, zeros_like(run.h), part) if last else answer(run, part, None))
            S, last = sum(signals[1:], signals[0]), False
        return (S, None) if self.masked else (S,)

    def forward(self, backend, *x):
        return self.run(backend, Inputs(x))

    def run(self, backend, x):
        runs = self._unroll(backend, x)[-1]
        parts = [run.record.h_last if self.output == "last" else run.h for run in runs]
        return np.concatenate(parts, axis=-1)

    def gradient(self, backend, x, y, G):
        def answer(run, G, G_last):
            gradient = self._function(backend, "gradient", run.k, x)
            return gradient(run.x, *self.weights(run.k), G, G_last=G_last, record=run.record)[0]

        return self._walk_back(self._unroll(backend, x), G, answer)

    def tangent(self, backend, x, y, dx):
        d_sequence = dx[0]
        for runs in self._unroll(backend, x):
            changes = []
            for run in runs:
                tangent = self._function(backend, "tangent", run.k, x)
                changes.append(tangent(run.x, *self.weights(run.k), d_sequence, record=run.record))
            d_sequence = np.concatenate([dh for dh, *_ in changes], axis=-1)
        if self.output == "last":
            return np.concatenate([dh_last for _, dh_last, *_ in changes], axis=-1)
        return d_sequence

    def relevance(self, backend, x, y, R, rule, gate="all", account=None):
        accounts = [Account() for _ in self.w_x]

        def answer(run, R, R_last):
            relevance = self._function(backend, "relevance", run.k, x)
            options = {"R_last": R_last, "record": run.record}
            options["account"] = None if account is None else accounts[run.k]
            return relevance(run.x, *self.weights(run.k), R, rule, gate, **options)[0]

        signals = self._walk_back(self._unroll(backend, x), R, answer)
        if account is not None:
            merge_accounts(account, accounts)
        return signals

    def multiplier(self, backend, x, y, x0, y0, M, product="symmetric", max_pool="xmax"):
        if self.masked and np.any(x[1] != x0[1]):
            raise ValueError("the baseline has other lengths than x")
        at_baseline = {run.k: run for runs in self._unroll(backend, x0) for run in runs}

        def answer(run, M, M_last):
            run0 = at_baseline[run.k]
            multiplier = self._function(backend, "multiplier", run.k, x)
            options = {"M_last": M_last, "record": run.record, "record0": run0.record}
            return multiplier(run.x, *self.weights(run.k), run0.x, M, product, **options)[0]

        return self._walk_back(self._unroll(backend, x), M, answer)
