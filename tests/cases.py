"""The table of bad input: what is done, what it must raise, and words that its message must hold.

Each row is (name, what is done with the small network and its input, error, words). One clear error each.
"""

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

import pyref
import relprop
from pyref.theorems import verify

_RNG = np.random.default_rng(20)
X = _RNG.normal(size=(3, 4))
NETWORK = pyref.Network.sequential(
    [
        pyref.Dense(_RNG.normal(size=(4, 5)), _RNG.normal(size=5)),
        pyref.Tanh(),
        pyref.Dense(_RNG.normal(size=(5, 3)), _RNG.normal(size=3)),
    ],
    shape=(4,),
    name="small",
)
W = _RNG.normal(size=(4, 4))


@dataclass(frozen=True)
class ErrorCase:
    """What is done, and how it must be refused."""

    name: str
    do: object
    error: type
    words: str

    def matches(self, message):
        return self.words in message and "\n" not in message


def _explain(x=X, method="lrp", target=None, network=NETWORK, **options):
    return lambda: relprop.explain(network, x, method, target, **options)


def _with(value, *index):
    x = X.copy()
    for i in index:
        x[i] = value
    return x


def _graph(*nodes, inputs="x", outputs=None):
    return lambda: pyref.Network(nodes, inputs, outputs)


def _two_inputs():
    return pyref.Network([("sum", pyref.Add(), ("a", "b"))], {"a": (2,), "b": (2,)})


def _softmax_inside():
    return pyref.Network.sequential([pyref.Dense(W), pyref.Softmax(), pyref.Dense(W)], shape=(4,))


def _load(change):
    """Save the small network, change the bytes of its file, and load it."""

    def do():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.safetensors"
            relprop.save(NETWORK, path)
            path.write_bytes(change(path.read_bytes()))
            relprop.load(path)

    return do


def _flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class _OnDevice:
    """An array in the memory of a GPU, as far as the door can see."""

    dtype = np.dtype("float32")
    shape = (3, 4)

    def __dlpack__(self, **options):
        raise AssertionError("a device array is refused before it is read")

    def __dlpack_device__(self):
        return 2, 0  # kDLCUDA


ERROR_CASES = [
    ErrorCase(*row)
    for row in [
        # shapes, ranks, batches
        ("wrong shape", _explain(X[:, :3]), ValueError, "x has shape (3, 3), expected (any, 4)"),
        ("wrong rank", _explain(X[0]), ValueError, "x has shape (4,), expected (any, 4)"),
        ("empty batch", _explain(X[:0]), ValueError, "x has shape (0, 4): the batch is empty"),
        (
            "input missing",
            _explain({"a": X[:, :2]}, network=_two_inputs()),
            ValueError,
            "input 'b' of network is missing",
        ),
        ("unknown input", _explain({"y": X}), ValueError, "small has no input 'y'; known: x"),
        ("one array for two", _explain(network=_two_inputs()), ValueError, "has inputs a, b; pass a dict by name"),
        (
            "batches differ",
            _explain({"a": X[:, :2], "b": X[:2, :2]}, network=_two_inputs()),
            ValueError,
            "inputs have different batch sizes",
        ),
        # dtypes and kinds
        ("float16", _explain(X.astype(np.float16)), TypeError, "too narrow to divide by; use x.astype('float32')"),
        (
            "integers",
            _explain(X.astype(int)),
            TypeError,
            "x has dtype int64, expected float32 or float64; use x.astype",
        ),
        ("complex", _explain(X + 0j), TypeError, "x has dtype complex128, expected float32 or float64"),
        ("bool", _explain(X > 0), TypeError, "x has dtype bool, expected float32 or float64"),
        ("list", _explain(X.tolist()), TypeError, "x is a list, expected an array"),
        ("int", _explain(3), TypeError, "x is a int, expected an array"),
        (
            "masked",
            _explain(np.ma.masked_less(X, 0)),
            TypeError,
            "masked array, whose mask would be lost; use x.filled",
        ),
        ("on a GPU", _explain(_OnDevice()), RuntimeError, "device memory, which needs the backend 'cuda'"),
        ("no network", lambda: relprop.explain(W, X), TypeError, "network is a ndarray, expected a pyref.Network"),
        # not finite
        (
            "NaN",
            _explain(_with(np.nan, (1, 2), (2, 0))),
            ValueError,
            "x holds 2 non-finite values, the first at index (1, 2)",
        ),
        (
            "infinity",
            _explain(_with(np.inf, (2, 3))),
            ValueError,
            "x holds 1 non-finite value, the first at index (2, 3)",
        ),
        ("how to let it through", _explain(_with(np.nan, (0, 0))), ValueError, "pass allow_nonfinite=True"),
        # targets
        ("target too large", _explain(target=3), ValueError, "target is 3, expected a class from 0 to 2"),
        ("target negative", _explain(target=-1), ValueError, "target is -1, expected a class from 0 to 2"),
        ("target not whole", _explain(target=0.5), ValueError, "target is 0.5, expected a class from 0 to 2"),
        ("targets too few", _explain(target=[0, 1]), ValueError, "target names 2 classes for 3 samples"),
        (
            "target tuple",
            _explain(target=(0, 1)),
            ValueError,
            "target is (0, 1), expected an index into an output of shape (3,)",
        ),
        (
            "target callable",
            _explain(target=lambda S: S[:1]),
            ValueError,
            "target(output) has shape (1, 3), expected (3, 3)",
        ),
        # names, with the nearest
        ("unknown method", _explain(method="integrated_gradient"), ValueError, "did you mean 'integrated_gradients'?"),
        (
            "unknown rule",
            _explain(rule="epsilom"),
            ValueError,
            "there is no rule or composite 'epsilom'; did you mean 'epsilon'?",
        ),
        ("unknown composite", _explain(rule="epsilon_pls"), ValueError, "did you mean 'epsilon_plus'?"),
        ("unknown node of a rule", _explain(rule={"dens1": pyref.ZPlus()}), ValueError, "did you mean 'dense1'?"),
        ("unknown node of at", _explain(at="dense3"), ValueError, "'small' has no node 'dense3'; did you mean 'dense"),
        ("unknown output", _explain(output="tahn1"), ValueError, "did you mean 'tanh1'?"),
        ("unknown option", _explain(gates="all"), TypeError, "lrp has no option 'gates'; did you mean 'gate'?"),
        (
            "option of another method",
            _explain(method="gradient", rule="epsilon"),
            TypeError,
            "gradient has no option 'rule'",
        ),
        ("what a method says itself", _explain(hold=None), TypeError, "lrp has no option 'hold'"),
        ("option of another rule", _explain(rule="epsilon", gamma=1), TypeError, "lrp has no option 'gamma'"),
        ("unknown backend", _explain(backend="cdua"), ValueError, "there is no backend 'cdua'; did you mean 'cuda'?"),
        ("where nothing went", lambda: relprop.explain(NETWORK, X).at("tanh2"), ValueError, "did you mean 'tanh1'?"),
        (
            "unknown preset",
            _explain(preset="captun"),
            ValueError,
            "there is no preset 'captun'; did you mean 'captum'?",
        ),
        (
            "not in the preset",
            _explain(method="occlusion", preset="arras"),
            ValueError,
            "preset 'arras' has no 'occlusion'",
        ),
        ("option missing", _explain(method="pattern_net"), TypeError, "pattern_net needs the option 'patterns'"),
        # parameters of rules
        (
            "alpha - beta",
            lambda: pyref.AlphaBeta(2, 2),
            ValueError,
            "alpha is 2 and beta is 2, expected alpha - beta = 1",
        ),
        ("alpha, beta < 0", lambda: pyref.AlphaBeta(Fraction(1, 2), Fraction(-1, 2)), ValueError, "both >= 0"),
        ("low > high", lambda: pyref.ZBox(1, 0), ValueError, "low is 1 and high is 0, expected low <= high"),
        ("epsilon < 0", lambda: pyref.Epsilon(-1), ValueError, "epsilon is -1, expected a number >= 0"),
        ("gamma < 0", lambda: pyref.Gamma(-1), ValueError, "gamma is -1, expected a number >= 0"),
        ("bias elsewhere", lambda: pyref.ZPlus(bias="uniform"), TypeError, "exists for Epsilon only, not for ZPlus"),
        ("unknown bias", lambda: pyref.Epsilon(bias="some"), ValueError, "bias is 'some', expected one of 'neuron'"),
        ("rule is no rule", _explain(rule=3), TypeError, "rule is a int, expected a rule, a composite, a mapping"),
        ("outside the box", _explain(rule=pyref.ZBox(0, 1)), ValueError, "outside [low, high] = [0, 1]; widen the box"),
        ("unknown gate", _explain(gate="most"), ValueError, "gate is 'most', expected one of 'all'"),
        (
            "baseline does not fit",
            _explain(method="deeplift", baseline=X[:, :3]),
            ValueError,
            "which does not broadcast to (3, 4)",
        ),
        ("no baseline in the list", _explain(method="deeplift", baseline=[]), ValueError, "baseline is an empty list"),
        # layers
        ("weights", lambda: pyref.Dense(W[0]), ValueError, "w has shape (4,), expected (any, any)"),
        ("bias", lambda: pyref.Dense(W, X[0, :3]), ValueError, "b has shape (3,), expected (4,)"),
        (
            "layers do not fit",
            lambda: pyref.Network.sequential([pyref.Dense(W), pyref.Dense(W[:3])])(X),
            ValueError,
            "w has shape (3, 4), expected (4, any)",
        ),
        # graphs
        (
            "cycle",
            _graph(("a", pyref.Add(), ("x", "b")), ("b", pyref.Tanh(), "a")),
            ValueError,
            "the network has a cycle through 'a', 'b'",
        ),
        (
            "reads nothing known",
            _graph(("a", pyref.Tanh(), "xx")),
            ValueError,
            "node 'a' reads 'xx', which does not exist; did you mean 'x'?",
        ),
        (
            "leads to no output",
            _graph(("a", pyref.Tanh(), "x"), ("b", pyref.Tanh(), "x"), outputs="a"),
            ValueError,
            "'b' of the network lead to no output; remove them",
        ),
        (
            "input unused",
            _graph(("a", pyref.Tanh(), "x"), inputs=("x", "y")),
            ValueError,
            "'y' of the network lead to no output",
        ),
        (
            "two of a name",
            _graph(("a", pyref.Tanh(), "x"), ("a", pyref.Tanh(), "x")),
            ValueError,
            "two nodes or inputs called 'a'",
        ),
        (
            "too many inputs",
            _graph(("a", pyref.Tanh(), ("x", "x"))),
            ValueError,
            "node 'a' (Tanh) has 2 inputs, expected 1",
        ),
        ("no layer", _graph(("a", "Tanh", "x")), ValueError, "node 'a' has a str for a layer, expected a pyref layer"),
        ("no nodes", _graph(), ValueError, "network has no nodes"),
        (
            "unknown exchange",
            lambda: NETWORK.with_layers({"dence1": pyref.Tanh()}),
            ValueError,
            "did you mean 'dense1'?",
        ),
        (
            "output of a node",
            _graph(("a", pyref.Tanh(), "x"), outputs=[("a", 1)]),
            ValueError,
            "node 'a' has 1 output, not an output 1",
        ),
        ("no relevance", _explain(network=_softmax_inside()), ValueError, "Softmax has no relevance rule"),
        # model files
        ("model file truncated", _load(lambda data: data[:-5]), ValueError, "is truncated or damaged"),
        ("model file cut to its head", _load(lambda data: data[:4]), ValueError, "is not a safetensors file"),
        ("model file empty", _load(lambda data: b""), ValueError, "is not a safetensors file"),
        ("model file altered: a weight", _load(lambda data: _flip(data, len(data) - 3)), ValueError, "altered"),
        ("model file altered: a name", _load(lambda data: data.replace(b"tanh1", b"tanh2")), ValueError, "altered"),
        (
            "model file of another kind",
            _load(lambda data: b"no model at all, but text"),
            ValueError,
            "is not a safetensors file",
        ),
        # statements
        (
            "unknown statement",
            lambda: verify("A99"),
            ValueError,
            "there is no statement 'A99'; did you mean",
        ),
        ("no cases", lambda: verify(cases=0), ValueError, "cases is 0, expected at least 1"),
        ("unknown model", lambda: relprop.zoo("digits-cnn-rleu"), ValueError, "did you mean 'digits-cnn-relu'?"),
    ]
]
