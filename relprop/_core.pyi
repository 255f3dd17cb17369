"""The compiled part of relprop: pyref's scalar functions, elementwise over float32 or float64 arrays.

mean_square is the mean of z² over each sample, in the shape of z; it takes part under stabilizer="rms" only.
"""

from collections.abc import Sequence
from typing import Any

__version__: str
source_digest: str

cpu: Any
"""Kernels on the host under pyref's names, with pyref's arguments."""

cuda: Any
"""Kernels on an NVIDIA GPU under pyref's names; None where this build has none."""

cuda_build: str
"""What the CUDA kernels were built by and for, or why they were not."""

def threads() -> int:
    """How many threads a call may use."""

def set_threads(n: int) -> None: ...
def counters() -> dict[str, int]:
    """Since the last reset, over all threads: matrix products and their flops, blocks of workspace, their bytes,
    and the most bytes that were held at one time."""

def reset_counters() -> None: ...
def blocks() -> dict[str, int]:
    """Bytes of large blocks of host memory that arrays and workspace have, and of those kept for what comes next."""

def release_memory() -> None: ...
def instruction_set() -> str:
    """The one whose code runs; the environment's RELPROP_ISA may lower it: baseline, x86-64-v3, x86-64-v4."""

def blas() -> str:
    """What makes the matrix products."""

class Chain:
    """Kernel calls that are made again, on the same arrays."""

    def __len__(self) -> int:
        """How many there are."""

    def call(self, kernel: Any, arguments: tuple, options: dict, inputs: list) -> tuple[Any, bool]:
        """(kernel(*arguments, **options), whether it was kept): not where it does not read `inputs` where they lie."""

    def run(self, first: int, last: int) -> None:
        """Make the calls first … last - 1 again."""

def dense_update(z: Any, w: Any, places: Any, by: Any) -> None:
    """z (n, o) += Σ_k by_k w[places_k] in place, for by and places (n, m): what changed inputs of a dense layer add."""

def turned(w: Any) -> Any:
    """A matrix that lies transposed, in C order."""

def copied_forward(
    x: Any, layers: list[tuple], w: Any, z: Any, rows: Any, first: Any, start: Any, values: Any, most: float
) -> Any:
    """What a dense layer w puts out for copies (b, outputs) of the samples x: walk k is copies first[k] to first[k + 1]
    of sample rows[k], each the one before with `values` in a window from start on.

    `layers` lead there, with y, and z at the end, as recorded: ("conv", windows, w, y), ("max_pool", windows, y),
    ("activation", activation, y). None where a copy takes more than the share `most` of the products of a whole pass,
    or where a change is not finite.
    """

def window_bounds(x: Any, others: Any, rows: Any) -> tuple[Any, Any]:
    """(low, high), each (b, axes): where image k of x differs from image rows[k] of the others; 0 where nowhere."""

def window_crop(x: Any, rows: Any, start: Any, size: tuple[int, ...], outside: float) -> Any:
    """Windows (b, c, *size): the k-th of image rows[k] of x (n, c, *axes), from start[k]; `outside` past its edges."""

def window_paste(x: Any, start: Any, values: Any) -> None:
    """Put values (b, c, *size) into the images x (b, c, *axes) in place, from start on, as far as they lie inside."""

def numerics_pos(v: Any) -> Any: ...
def numerics_neg(v: Any) -> Any: ...
def numerics_sign(z: Any) -> Any: ...
def numerics_safe_divide(numerator: Any, denominator: Any) -> Any: ...
def numerics_stabilize(z: Any, epsilon: float, stabilizer: str = "add", mean_square: Any = None) -> Any: ...
def numerics_stabilizer_excess(z: Any, epsilon: float, stabilizer: str = "add", mean_square: Any = None) -> Any: ...
def rule_list() -> list[tuple[str, int, tuple[str, ...]]]:
    """(name, most parts, fields) of every rule, in the order of `pyref.RULES`."""

def rule_parts(rule: Any) -> tuple[int, int | None, tuple[bool, ...]]:
    """(parts, the part that is the pre-activation itself or None, which parts have inputs)."""

def rule_input_part(rule: Any, p: int, x: Any) -> Any: ...
def rule_weight_part(rule: Any, p: int, w: Any) -> Any: ...
def rule_bias_part(rule: Any, p: int, b: Any) -> Any: ...
def rule_denominators(rule: Any, z: Sequence[Any]) -> tuple[Any, ...]:
    """The numbers that a rule divides by, before they are stabilised: whose mean squares "rms" asks for."""

def rule_split(rule: Any, R: Any, z: Sequence[Any], mean_squares: Sequence[Any] = ()) -> tuple[Any, ...]: ...
def rule_kept(rule: Any, R: Any, z: Sequence[Any], mean_squares: Sequence[Any] = ()) -> tuple[Any, Any]: ...
def activation_list() -> list[tuple[str, tuple[str, ...]]]:
    """(name, fields) of every activation, in the order of `pyref.ACTIVATIONS`."""

def activation_zero_at_zero(activation: Any) -> bool: ...
def activation_value(activation: Any, z: Any) -> Any: ...
def activation_derivative(activation: Any, z: Any) -> Any: ...
def activation_ratio(activation: Any, z: Any, epsilon: float = 0) -> Any:
    """f(z) / σ_ε(z), and the derivative at a pole: refusing it is the caller's business."""

def activation_quotient(activation: Any, z: Any, z0: Any) -> Any: ...
def activation_guided(activation: Any, z: Any, G: Any) -> Any:
    """What Guided Backpropagation sends back."""

def activation_rectified(activation: Any, z: Any, G: Any) -> Any:
    """What Deconvnet sends back."""

def product_relevance(R: Any, p: Any, q: Any, gate: str = "all") -> tuple[Any, Any, Any]:
    """(R_p, R_q, what is dropped)."""

def product_multiplier(p: Any, q: Any, p0: Any, q0: Any, product: str = "symmetric") -> tuple[Any, Any]: ...
def pool_multiplier(y: Any, y0: Any, dx: Any, M: Any) -> tuple[Any, Any, Any]:
    """(rise, fall, multiplier) of an input that changed by dx and holds both parts of y - y0."""
