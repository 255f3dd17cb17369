"""Level 2 of activations: the loops over arrays against the scalar functions, which test_formula holds to pyref.

No bound is needed: a loop computes what the scalar function computes, bit for bit, on every instruction set. The
rational ones are compared with pyref itself as well.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import DTYPES, generators, kinds, layouts, lengths, values
from test_formula import corners
from test_formula_activation import VARIANTS, of

import pyref
from relprop import _core

activations = st.sampled_from(VARIANTS)


def draw_array(draw, shape, dtype, layout=None):
    """An array of any kind, with a few corners among its values, in any layout."""
    rng = draw(generators)
    v = values(draw(kinds), shape, dtype, rng)
    special = corners(dtype)
    if v.size and draw(st.booleans()):
        flat = v.reshape(-1)
        flat[rng.integers(0, v.size, 5)] = rng.choice(special, 5)
    return (layout or draw(layouts))(v)


@st.composite
def cases(draw, dtype):
    """(activation, z, another array of its shape)."""
    activation = of(draw(activations), dtype)
    shape = draw(st.sampled_from([(3,), (2, 5), (3, 4), (2, 3, 7), (1, 5, 2, 3), (2, 1, 1, 1)]))
    axis = draw(st.integers(0, len(shape) - 1))
    shape = (*shape[:axis], draw(lengths), *shape[axis + 1 :])
    if activation.name == "prelu" and len(shape) > 1 and draw(st.booleans()):
        activation = pyref.PReLU(values("normal", shape[1:2], dtype, draw(generators)))
    return activation, draw_array(draw, shape, dtype), draw_array(draw, shape, dtype)


def assert_same_bits(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.fixture(autouse=True)
def corners_overflow():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_activation(backend, dtype, data):
    activation, z, other = data.draw(cases(dtype))
    value, slope = _core.activation_value(activation, z), _core.activation_derivative(activation, z)
    assert_same_bits(backend.activation_forward(z, activation), value)
    assert_same_bits(backend.activation_gradient(z, activation, other), slope * other)
    assert_same_bits(backend.activation_tangent(z, activation, other), slope * other)
    assert backend.activation_relevance(z, activation, other) is other
    q = _core.activation_quotient(activation, z, other)
    assert_same_bits(backend.activation_quotient(z, other, activation), q)
    assert_same_bits(backend.activation_multiplier(z, other, activation, slope), slope * q)
    epsilon = data.draw(st.sampled_from([0, 1e-6, 0.5])) if activation.zero_at_zero else 0.5
    assert_same_bits(backend.activation_ratio(z, activation, epsilon), _core.activation_ratio(activation, z, epsilon))
    if activation.piecewise_linear:
        assert_same_bits(backend.activation_forward(z, activation), pyref.activation_forward(z, activation))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_one_baseline_for_all_samples(backend, dtype, data):
    """A baseline of one sample, and whatever else NumPy broadcasts."""
    activation, z, z0 = data.draw(cases(dtype))
    pick = st.sampled_from([z0[:1], z0[..., :1], z0[(0,) * z0.ndim] if z0.size else z0])
    z0 = np.asarray(data.draw(pick), dtype)
    want = _core.activation_quotient(activation, z, np.broadcast_to(z0, z.shape))
    assert_same_bits(backend.activation_quotient(z, z0, activation), want)
    assert_same_bits(backend.activation_multiplier(z, z0, activation, z), z * want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", VARIANTS, ids=str)
def test_many_elements(backend, activation, dtype):
    """More than one thread's share, and a length that no vector divides."""
    activation = of(activation, dtype)
    z = np.random.default_rng(0).normal(size=(2, 3, 16411)).astype(dtype) * 4
    assert_same_bits(backend.activation_forward(z, activation), _core.activation_value(activation, z))
    assert_same_bits(
        backend.activation_quotient(z, z[:1], activation), _core.activation_quotient(activation, z, z * 0 + z[:1])
    )


def test_a_slope_per_channel_is_of_the_widest_dtype(backend):
    z, prelu = np.ones((2, 3), np.float32), pyref.PReLU(np.ones(3))
    assert backend.activation_forward(z, prelu).dtype == pyref.activation_forward(z, prelu).dtype == np.float64


class Cube(pyref.ReLU):
    """Not one of pyref's own, though it has the name of one."""

    def value(self, z):
        return z * z * z


def test_another_activation_runs_as_pyref_runs_it(backend):
    """In host memory; on a device, where that would be silent and slow, it is refused by name."""
    z = np.array([[-2.0, 3.0]])
    if "cuda" in backend.__name__:
        with pytest.raises(RuntimeError, match="activation_gradient has no CUDA kernel for Cube"):
            backend.activation_gradient(z, Cube(), z)
        return
    assert backend.activation_forward(z, Cube()).tolist() == [[-8, 27]]
    assert backend.activation_gradient(z, Cube(), z).tolist() == [[0, 3]]


Z = np.ones((2, 3))
REFUSED = {
    "G": lambda m: m.activation_gradient(Z, pyref.ReLU(), Z[:1]),
    "dz": lambda m: m.activation_tangent(Z, pyref.ReLU(), Z[:, :2]),
    "R": lambda m: m.activation_relevance(Z, pyref.ReLU(), Z[0]),
    "slope": lambda m: m.activation_forward(Z, pyref.PReLU(Z[0, :2])),
    "slope of a vector": lambda m: m.activation_forward(Z[0], pyref.PReLU(Z[0])),
    "pole": lambda m: m.activation_ratio(Z * 0, pyref.Sigmoid()),
    "poles of a clip": lambda m: m.activation_ratio(-0.0 * Z, pyref.Clip(1, 2), 0),
    "z0": lambda m: m.activation_quotient(Z, Z[:, :2], pyref.ReLU()),
    "multiplier: z0": lambda m: m.activation_multiplier(Z, Z[:, :2], pyref.ReLU(), Z),
    "M": lambda m: m.activation_multiplier(Z, Z[:1], pyref.ReLU(), Z[:1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_errors_are_pyrefs_word_for_word(backend, what):
    with pytest.raises(ValueError) as theirs:
        REFUSED[what](pyref)
    with pytest.raises(ValueError) as mine:
        REFUSED[what](backend)
    assert str(mine.value) == str(theirs.value)


def test_every_instruction_set_has_the_same_bits():
    """Fused operations are off: the code for one machine answers what that for another one does."""
    code = """
import hashlib, numpy as np, pyref, relprop.cpu as cpu
from test_formula_activation import VARIANTS, of
z = np.random.default_rng(0).normal(size=(3, 1001)) * 8
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    for a in VARIANTS:
        v = z.astype(dtype)
        digest.update(cpu.activation_forward(v, of(a, dtype)).tobytes())
        digest.update(cpu.activation_quotient(v, v[::-1], of(a, dtype)).tobytes())
print(digest.hexdigest())
"""
    seen = set()
    for isa in ("baseline", "x86-64-v3", "x86-64-v4"):
        environment = os.environ | {"RELPROP_ISA": isa, "PYTHONPATH": os.path.dirname(__file__)}
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        seen.add(run.stdout)
    assert len(seen) == 1
