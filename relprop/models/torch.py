"""PyTorch modules as networks: the graph that `torch.export` records, operation by operation. PyTorch is optional.

The graph is explicit, so that activations in place or used twice, functional calls and `x += y` need nothing
special. Nothing is hooked and the module is not changed. What no layer of pyref computes is an error that names
every such operation, never a plain gradient in its place.

Samples lie along axis 0 of every input. Where a module moves them (an LSTM that is not batch first wants them on
axis 1) the importer follows, and the network keeps them on axis 0; what mixes samples is refused.
"""

import math
import operator
import warnings
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

import pyref
from relprop.arrays import enter
from relprop.backends import BACKENDS, resolve
from relprop.explain import explain
from relprop.models.torch_operations import (
    FILLED,
    OPERATIONS,
    Call,
    Refused,
    States,
    Value,
    operation_name,
    states_whole,
)
from relprop.models.torch_state import Remembered

__all__ = ["attribute", "from_torch"]

SOFTPLUS_CUT = 2.1e-9  # log(1 + exp(-20)): what PyTorch leaves out beyond its threshold of 20

# ── what people call ───────────────────────────────────────────────────────────────────────────────────


def from_torch(module, example_input, *, name=None, check=True):
    """The network that a PyTorch module computes in evaluation mode.

    Nodes are called after the modules that they come from: `layer1.0.conv1`; a module used again has `_1`, `_2`, …
    appended, and an operation between modules the name of the operation: `layer1.0.add`.

    Parameters
        example_input  a tensor or a tuple of tensors with samples along axis 0, or a dict by argument; their
                       shapes but for the number of samples, and dtypes, are those that the network takes
        name           of the network; that of the class by default
        check          compare with the module on example_input
    Returns
        `pyref.Network`, whose inputs are called as the arguments of `forward`. Weights share the module's memory
        where its layout allows, so that a later training step changes both; batch normalisation is folded
        into scale and shift, and the two biases of a recurrent layer into their sum.
    Raises
        ImportError  PyTorch is not installed.
        TypeError    example_input holds no tensors, or half-precision ones; the module is no module.
        ValueError   torch.export cannot follow the module, or it fails on the example; it changes its own
                     buffers; it applies operations that no layer computes, or mixes samples: all of them in one
                     message, with their places; or the network differs from the module by more than rounding,
                     which would be a fault of this importer.
    Example
        net = relprop.from_torch(model, torch.randn(1, 3, 224, 224))
        relprop.explain(net, images, method="lrp", rule="epsilon").values     # a tensor
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, expected a torch.nn.Module")
    args, kwargs = _arguments(torch, example_input)
    held = {m: dict(vars(m)) for m in module.modules()}  # torch.export leaves copies of lists and dicts behind
    module.eval()
    try:
        exported = _export(torch, module, _several(torch, args), _several(torch, kwargs))
        network, axes = _Import(torch, exported, name or type(module).__name__).network()
        if check:
            _compare(torch, module, network, axes, args, kwargs)
    finally:
        for m, attributes in held.items():
            for made in [k for k in vars(m) if k not in attributes]:
                del vars(m)[made]
            vars(m).update(attributes)
    return network


def attribute(module, x, method="lrp", target=None, **options):
    """Which inputs an output of a PyTorch module is due to, as tensors: `explain` of `from_torch`, in one call.

    The network is kept for as long as the module lives and holds what it held: parameters, buffers, attributes,
    submodules, hooks and methods are compared at each call, parameters by a digest of their values. Global variables
    that `forward` reads are not: where they change, keep no network and call `from_torch`.

    Parameters
        x        a tensor, a tuple of tensors for several arguments, or a dict by argument
        options  those of `relprop.explain`; a tuple as `baseline` is one for each argument. Tensors on a GPU are
                 explained there where the CUDA kernels are built; else they are copied to the host, and values back.
    Returns
        what x is: a tensor, a tuple or a dict of tensors, on the device and in the dtype of each. Ids of an embedding
        get one number each, the sum over the features that were looked up: ask for those with `at`. With `at` a
        dict by node, on the device of the first tensor.
    Raises
        as `from_torch` and `relprop.explain`
    """
    torch = _torch()
    args, kwargs = _arguments(torch, x)
    network = _network_of(torch, module, x, {**dict(enumerate(args)), **kwargs})
    given = kwargs or dict(zip(network.inputs, args, strict=False))
    baseline = options.get("baseline")
    if isinstance(baseline, tuple) and (
        isinstance(x, tuple | list) or any(isinstance(b, torch.Tensor) for b in baseline)
    ):
        options["baseline"] = _by_argument(network, baseline)
    if BACKENDS["cuda"].built and options.get("backend", "auto") in ("auto", "cuda"):  # tensors on a GPU stay there
        result = explain(network, given, method, target, **options)
    else:
        result = explain(network, _on_host(torch, given), method, _on_host(torch, target), **_on_host(torch, options))
    values = result.values if isinstance(result.values, dict) else {next(iter(given)): result.values}
    first = next(iter(given.values()))
    if options.get("at") is not None:
        values = {n: _tensor_on(torch, v, first) for n, v in values.items()}
        return values if isinstance(result.values, dict) else next(iter(values.values()))
    back = {}
    for name, tensor in given.items():
        parts = [v for leaf, v in values.items() if leaf.partition(":")[0] == name]  # ids may be looked up twice
        back[name] = _tensor_on(torch, sum(parts), tensor) if parts else None
    if isinstance(x, Mapping):
        return back
    return tuple(back.values()) if isinstance(x, tuple | list) else back[next(iter(back))]


def _by_argument(network, baseline):
    """The baselines of several inputs by name, as `explain` has them."""
    if len(baseline) != len(network.inputs):
        raise ValueError(f"baseline has {len(baseline)} entries, expected one for each of {', '.join(network.inputs)}")
    return dict(zip(network.inputs, baseline, strict=True))


def _on_host(torch, value):
    """A tensor, or those of a list or dict, in host memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, list):
        return [_on_host(torch, v) for v in value]
    return {n: _on_host(torch, v) for n, v in value.items()} if isinstance(value, dict) else value


_REMEMBERED = Remembered()


def _network_of(torch, module, x, tensors):
    """`from_torch`, or what it gave before for a module in the same state and inputs of the same form."""
    if not isinstance(module, torch.nn.Module):
        return from_torch(module, x)
    form = tuple((name, t.shape[1:], t.dtype, t.device) for name, t in tensors.items())
    return _REMEMBERED.get(torch, module, (torch.get_default_dtype(), *form), lambda: from_torch(module, x))


def _torch():
    try:
        import torch
    except ImportError as error:
        raise ImportError("PyTorch is not installed; pip install 'relprop[torch]'") from error
    return torch


def _tensor_on(torch, value, like):
    return torch.as_tensor(value).to(like.device)


def _arguments(torch, x):
    """(args, kwargs) of tensors with the same number of samples."""
    args, kwargs = ((), dict(x)) if isinstance(x, Mapping) else (tuple(x) if isinstance(x, tuple | list) else (x,), {})
    tensors = [*args, *kwargs.values()]
    if not tensors:
        raise TypeError("the input is empty, expected a tensor, a tuple of tensors or a dict of them")
    for tensor in tensors:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"an input is a {type(tensor).__name__}, expected a torch.Tensor")
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"an input has dtype {tensor.dtype}, expected float32 or float64: use module.float() and x.float()"
            )
    if any(t.ndim == 0 or t.shape[0] == 0 or t.shape[0] != tensors[0].shape[0] for t in tensors):
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise ValueError(f"the input has shape {shapes}, expected the same number of samples, >= 1, along axis 0")
    return args, kwargs


def _several(torch, tensors):
    """The same tensors with at least two samples, so that the axis of samples is not one of length 1."""

    def two(t):
        return t.detach() if t.shape[0] > 1 else torch.cat([t.detach(), t.detach()])

    return {n: two(t) for n, t in tensors.items()} if isinstance(tensors, dict) else tuple(two(t) for t in tensors)


def _export(torch, module, args, kwargs):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch about its own internals
        try:
            return torch.export.export(module, args, kwargs, strict=False).run_decompositions({})
        except Exception as error:  # any class that torch has
            raise ValueError(f"torch.export cannot follow {type(module).__name__}: {_first_line(error)}") from error


def _first_line(error):
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"


# ── the graph ──────────────────────────────────────────────────────────────────────────────────────────


class _Import:
    """One reading of an exported graph; OPERATIONS say what becomes of each operation."""

    def __init__(self, torch, exported, name):
        self.torch, self.name = torch, name
        signature = exported.graph_signature
        self.graph = exported.graph
        self.nodes: list[pyref.Node] = []
        self.taken: set[str] = set()
        self.here: Any = None
        self.values: dict[Any, Any] = {}
        self.problems: list[str] = []
        changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
        if changed:
            raise ValueError(f"{name} changes {', '.join(map(repr, changed))} when it runs, which a network cannot")
        stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        stored |= signature.inputs_to_lifted_tensor_constants
        tensors = {**exported.constants, **exported.state_dict}
        self.constants = {n: tensors[t] for n, t in stored.items() if t in tensors}
        self.inputs: dict[str, tuple] = {}

    def network(self):
        output = None
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "output":
                output = node.args[0]
            else:
                self._operation(node)
        if self.problems:
            raise ValueError(
                f"{self.name} cannot be imported: " + "; ".join(self.problems) + ". Layers are in pyref.LAYERS"
            )
        results = [v for v in self.torch.utils._pytree.tree_leaves(output) if v is not None]
        results = [self._settled(self.values[v]) if isinstance(v, self.torch.fx.Node) else v for v in results]
        if not results or not all(isinstance(v, Value) for v in results):
            raise ValueError(f"{self.name} returns what does not depend on its inputs")
        return self._assembled([v.ref for v in results]), [v.batch for v in results]

    def _assembled(self, refs):
        """The network of the nodes that lead to the outputs."""
        made = {n.name for n in self.nodes}
        refs = [r if r[0] in made else self.add(pyref.Identity(), r) for r in refs]
        sources = {n.name: [i[0] for i in n.inputs] for n in self.nodes}
        needed, stack = set(), [r[0] for r in refs]
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack.extend(sources.get(name, ()))
        nodes = [n for n in self.nodes if n.name in needed]
        return pyref.Network(nodes, self.inputs, refs, self.name)

    def _placeholder(self, node):
        if node.name in self.constants:
            self.values[node] = self.constants[node.name]
            return
        value = node.meta.get("val")
        if not isinstance(value, self.torch.Tensor):
            self.values[node] = value
            return
        self.inputs[node.name] = tuple(value.shape[1:])
        self.taken.add(node.name)
        self.values[node] = Value((node.name, 0), tuple(value.shape))

    def _operation(self, node):
        asked = self.here = node
        args = self.torch.fx.node.map_arg(node.args, lambda n: self.values[n])
        kwargs = self.torch.fx.node.map_arg(node.kwargs, lambda n: self.values[n])
        leaves = self.torch.utils._pytree.tree_leaves([list(args), dict(kwargs)])
        try:
            self.values[node] = self._result(node, args, kwargs, leaves)
        except Refused as error:
            if node.target is operator.getitem:
                self.here = node = node.args[0]  # what gives the part that is asked for
            self.problems.append(f"{self._place()} ({operation_name(node)}) {error}")
            self.values[asked] = _MISSING

    def _result(self, node, args, kwargs, leaves):
        operation = operation_name(node)
        if any(v is _MISSING for v in leaves):
            if node.target is operator.getitem or operation in OPERATIONS or operation in FILLED:
                return _MISSING  # its source was named
            raise Refused("has no layer")
        if node.target is operator.getitem:
            return self._item(*args)
        if operation in FILLED:
            value = node.meta["val"]
            fill = 0 if "zeros" in operation else 1 if "ones" in operation else args[-1]
            return self.torch.full(tuple(value.shape), fill, dtype=value.dtype, device=value.device)
        if not any(isinstance(v, Value | States) for v in leaves):
            with self.torch.no_grad():
                return node.target(*args, **kwargs)
        if operation not in OPERATIONS:
            raise Refused("has no layer")
        if operation != "select":  # which reads one of them
            args = self._settled(args)
        return OPERATIONS[operation](Call(self, node, args, kwargs), *args)

    def _settled(self, args):
        """Last states as values."""
        if isinstance(args, tuple | list):
            return type(args)(map(self._settled, args))
        return states_whole(self, args) if isinstance(args, States) else args

    def _item(self, source, k):
        if isinstance(source, Value):
            raise Refused("picks samples")
        part = source[k]
        if isinstance(part, Refused):
            raise part
        return part

    # ---- names ----

    def _place(self):
        """The module that the operation at hand stands in, and whether it is that module's own."""
        stack = list((self.here.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", "")
        path = str(path).partition("@")[0]
        kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        leaf = kind.startswith("torch.nn.modules.") and path != ""
        own = operation_name(self.here)
        return path if leaf else f"{path}.{own}" if path else own

    def name_for(self, stem):
        name, k = stem, 0
        while name in self.taken:
            k += 1
            name = f"{stem}_{k}"
        self.taken.add(name)
        return name

    def add(self, layer, *values, suffix="", stem=None):
        """A new node, called after the place of the operation at hand; its reference."""
        name = self.name_for((stem or self._place()) + suffix)
        self.nodes.append(pyref.Node(name, layer, tuple(v.ref if isinstance(v, Value) else v for v in values)))
        return name, 0


_MISSING = object()


# ── the comparison ─────────────────────────────────────────────────────────────────────────────────────


def _compare(torch, module, network, axes, args, kwargs):
    """Raise where the network and the module differ by more than rounding can explain, on the first sample.

    What rounding explains is seen in one disturbed forward pass; eight times that, because it is but one, and
    64 units in the last place of the largest output, for a network that nothing disturbs.
    """
    args, kwargs = tuple(t[:1].detach() for t in args), {n: t[:1].detach() for n, t in kwargs.items()}
    try:
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
    except Exception as error:  # what torch.export let pass, such as another dtype than that of the weights
        raise ValueError(f"{network.name} cannot be run on the example: {_first_line(error)}") from error
    wanted = [v for v in wanted if isinstance(v, torch.Tensor)]
    given = kwargs or dict(zip(network.inputs, args, strict=False))
    x = {n: enter(n, t.cpu()).array for n, t in given.items()}
    _, backend = resolve("auto")
    got, moved = network.forward(x, backend), _disturbed(network, x, backend)
    for k, (ref, tensor) in enumerate(zip(network.outputs, wanted, strict=True)):
        want, y = np.moveaxis(tensor.detach().cpu().numpy(), axes[k], 0), got[ref]
        spread = np.max(np.abs(moved[ref] - y), initial=0)
        allowed = 8 * spread + 64 * np.finfo(want.dtype).eps * np.max(np.abs(want), initial=0)
        gap = np.max(np.abs(want - y), initial=0) if want.shape == y.shape else math.inf
        if not gap <= allowed:
            raise ValueError(
                f"{network.name} was imported wrongly: output {k} differs by {gap:.3g} where rounding explains "
                f"{allowed:.3g}; please report the module"
            )


def _disturbed(network, x, backend):
    """The forward pass with what rounding may do to it: every value and weight moved by n units in the last place.

    A sum of n products, in whatever order, is the exact sum of products that are off by n roundings each.
    PyTorch's softplus turns linear at a threshold.
    """
    rng = np.random.default_rng(0)
    values: dict[tuple[str, int], Any] = {(n, 0): v for n, v in x.items()}

    def move(v, n):
        if v.dtype.kind != "f":
            return v
        size = (n + 16) * np.finfo(v.dtype).eps
        return v * (1 + size * (2 * rng.random(v.shape, v.dtype.type) - 1))

    for node in network.nodes.values():
        layer, inputs = node.layer, [values[i] for i in node.inputs]
        w = getattr(layer, "w", None)
        n = 0 if w is None else w.size // min(w.shape[:2])
        arrays = {f.name: getattr(layer, f.name) for f in fields(layer)} if is_dataclass(layer) else {}
        changes = {k: move(v, 0) for k, v in arrays.items() if isinstance(v, np.ndarray)}
        layer = replace(layer, **changes) if changes else layer
        y = layer.forward(backend, *(move(v, n) for v in inputs))
        if isinstance(layer, pyref.Softplus):
            y = y + y.dtype.type(SOFTPLUS_CUT / layer.beta)
        values.update({(node.name, k): p for k, p in enumerate(y if layer.outputs > 1 else (y,))})
    return values
