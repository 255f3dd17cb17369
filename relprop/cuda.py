"""pyref's names on CUDA kernels, for arrays in device memory.

Every name of `pyref.__all__` is here. Those in `KERNELS` are compiled; a layer's function without a kernel is pyref's
own for arrays in device memory, ours (which compute through `relprop.device`) and CuPy's, and an error that names it
for NumPy's: nothing falls back to the host unasked. Kernels take float32 and float64 arrays of any library that speaks
DLPack or `__cuda_array_interface__`, on that library's current stream, and answer with arrays of the same library;
NumPy arrays are copied to the device and the results back. All arguments of a call lie in the same place.

The module imports everywhere. Where the kernels are not built, or there is no device, calls say so.
"""

import re
import sys
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np

import pyref
from relprop import _core
from relprop._mirror import fill
from relprop.arrays import HandedOn, handed_out
from relprop.device import speak_numpy
from relprop.parameters import flat, with_parameters

KERNELS = tuple(
    f"{layer}_{function}"
    for layer, functions in {
        "activation": "forward gradient tangent relevance ratio quotient multiplier",
        "adaptive_avg_pool": "forward gradient tangent relevance",
        "add": "forward rectified gradient tangent relevance",
        "aggregate": "forward gradient tangent relevance",
        "avg_pool": "forward gradient tangent relevance",
        "batchnorm": "forward gradient tangent relevance",
        "conv": "forward rectified gradient tangent relevance",
        "conv_transpose": "forward gradient tangent relevance",
        "dense": "forward gradient tangent relevance",
        "divide": "forward gradient tangent relevance multiplier",
        "embedding": "forward",
        "group_norm": "forward gradient tangent relevance multiplier",
        "gru": "forward gradient tangent relevance multiplier",
        "layer_norm": "forward gradient tangent relevance multiplier",
        "local_response_norm": "forward gradient tangent relevance multiplier",
        "log_softmax": "forward gradient tangent",
        "lstm": "forward gradient tangent relevance multiplier",
        "max_pool": "forward gradient tangent relevance multiplier ray",
        "mean": "forward gradient tangent relevance",
        "multiply": "forward gradient tangent relevance multiplier",
        "scale": "forward gradient tangent relevance",
        "shift": "forward gradient tangent relevance",
        "softmax": "forward gradient tangent",
        "subtract": "forward gradient tangent relevance",
        "sum": "forward gradient tangent relevance",
        "upsample": "forward gradient tangent relevance",
    }.items()
    for function in functions.split()
)

# What is here beside pyref's names, described below.
DEVICE = (
    *("to_device", "to_host", "devices", "no_device", "synchronize", "counters", "reset_counters"),
    *("precision", "set_precision"),
)

# Functions of a backend that compute on arrays, as layers and methods call them.
LAYER_FUNCTION = re.compile(r"_(forward|rectified|gradient|tangent|relevance|multiplier|ray|ratio|quotient)$")


def mirror(namespace, compiled, why):
    """Put pyref's names into the namespace of a module on CUDA kernels.

    compiled  the part of an extension that holds the kernels; None where there is none, and `why` says why
    """
    doors = ModuleType("doors")
    for name in KERNELS:
        setattr(doors, name, _through_the_door(getattr(compiled, name), compiled) if compiled else _not_built(why))
    fill(namespace, doors, device=True)
    for name in pyref.__all__:
        if LAYER_FUNCTION.search(name) and name not in KERNELS:
            namespace[name] = _without_kernel(getattr(pyref, name), name, compiled, why)
    for name in DEVICE:
        namespace[name] = getattr(compiled, name) if compiled else _not_built(why)
    namespace["prepare"] = Preparation(compiled) if compiled else _not_built(why)
    namespace["compiled"] = compiled
    if compiled:
        speak_numpy(compiled)


def _not_built(why):
    def refuse(*args, **options):
        raise RuntimeError(
            f"this build of relprop has no CUDA kernels ({why}); "
            "install it where nvcc is: pip install . -C cmake.define.RELPROP_CUDA=on"
        )

    return refuse


def _without_kernel(function, name, compiled, why):
    """pyref's function, for arrays that can compute by themselves."""

    @wraps(function)
    def reference(*args, **options):
        if compiled is None:
            _not_built(why)()
        for x in flat([*args, *options.values()]):
            if isinstance(x, np.ndarray):
                raise RuntimeError(
                    f"{name} has no CUDA kernel; it is pyref's on arrays in device memory, not on "
                    f"{type(x).__module__}'s {type(x).__name__}: relprop.cuda.to_device(x) copies it there"
                )
        return function(*args, **options)

    return reference


# ---- arrays of other libraries ----

STREAMS = {  # the stream that a library computes on, and how it names the handle
    "cupy": (lambda library: library.cuda.get_current_stream(), "ptr"),
    "torch": (lambda library: library.cuda.current_stream(), "cuda_stream"),
}


def stream_of(library):
    """(handle, the stream itself) that a library computes on now; None where it does not say."""
    if library.__name__ not in STREAMS:
        return None
    current, handle = STREAMS[library.__name__]
    stream = current(library)
    return getattr(stream, handle), stream


def _through_the_door(kernel, compiled):
    """The kernel on a foreign library's stream, its results that library's arrays."""

    def call(*args, **options):
        library = _library([*args, *options.values()], compiled)
        if library is None:
            return kernel(*args, **options)
        if options.get("account") is not None:
            options = options | {"account": HandedOn(options["account"], library.from_dlpack)}
        before = compiled.use_stream(stream_of(library))
        try:
            return handed_out(
                kernel(*args, **options), lambda a: library.from_dlpack(a) if isinstance(a, compiled.Array) else a
            )
        finally:
            compiled.use_stream(before)

    return call


def _library(values, compiled):
    """The module that the device arrays among the arguments belong to; None if they are ours or NumPy's."""
    for x in flat(values):
        if isinstance(x, np.ndarray | np.generic | compiled.Array):
            continue
        if hasattr(x, "__dlpack__") or hasattr(x, "__cuda_array_interface__"):
            return library_of(x)
    return None


def library_of(x):
    """The module that makes arrays like x from DLPack."""
    name = type(x).__module__.partition(".")[0]
    library = sys.modules["jax.numpy" if name in ("jax", "jaxlib") else name]
    if not hasattr(library, "from_dlpack"):
        raise TypeError(f"{name} arrays can be read, but {name} has no from_dlpack to give the result back")
    return library


class Preparation:
    """`prepare(network)`: the same network with its parameters in device memory.

    They are copied at the first call for a network, and released with it: a network does not change. Where layers
    share an array, so do theirs. So is what `pyref.merge_batchnorm` makes of it, when a method first asks.
    """

    def __init__(self, compiled):
        self._compiled = compiled

    def __call__(self, network):
        what = f"prepared by {self._compiled.__name__}"
        return network.remember(what, self._compiled.current_device(), lambda: self._prepared(network))

    def _prepared(self, network):
        there = with_parameters(network, self._compiled.lasting)
        there.merged = partial(self._merged, ref(network))  # which holds what is prepared of it: no circle
        return there

    def _merged(self, of, there):
        network = of()
        if network is None:
            return pyref.merge_batchnorm(there.with_layers({}))

        def make():
            merged = pyref.merge_batchnorm(network)
            return None if merged is network else with_parameters(merged, self._compiled.lasting)

        return there.remember("merged", (), make) or there


prepare: Callable[..., Any]  # a network with its parameters in device memory, copied once
compiled: Any  # the part of the extension that holds the kernels
to_device: Callable[[Any], Any]  # a copy of a NumPy array in device memory, for any library that speaks DLPack
to_host: Callable[[Any], np.ndarray]  # and back
devices: Callable[[], list[dict[str, Any]]]  # name, memory in bytes, compute capability and processors of each
no_device: Callable[[], str]  # why there are none, in CUDA's words
synchronize: Callable[[], None]  # waits until all of this thread's calls are done
counters: Callable[[], dict[str, int]]  # as relprop._core's, of the device, and the kernels started
reset_counters: Callable[[], None]
precision: Callable[[], str]  # how float32 products are formed: a name of PRECISIONS
set_precision: Callable[[str], None]  # in every later call of this process

# The unit roundoff of a factor of a product. Sums are float32 throughout; float64 is always plain.
#   plain    multiply-adds of the processor; RELPROP_CUDA_PLAIN=1 begins with it
#   float32  the default: three products on tensor cores, of numbers split into two of tf32 (3×TF32)
#   tf32, bf16  one product of rounded numbers: for sums of one sign, such as the z⁺ rule's, and where they are wanted
PRECISIONS = {"plain": 2.0**-24, "float32": 2.0**-22, "tf32": 2.0**-11, "bf16": 2.0**-8}

mirror(globals(), _core.cuda, _core.cuda_build)

__all__ = [*pyref.__all__, "KERNELS", "PRECISIONS", *DEVICE, "prepare"]
