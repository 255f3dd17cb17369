"""A network as a table: what each node is, what it gives, how many parameters it has and what it costs."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["SummaryRow", "output_shapes", "summarize"]


@dataclass(frozen=True)
class SummaryRow:
    """One node. Shapes are those of one sample, one for each output; None where they are not known.

    parameters  number of elements of its arrays
    flops       operations for one sample, see `summarize`; None where shapes are not known
    """

    node: str
    layer: str
    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...] | None
    parameters: int
    flops: int | None


def summarize(network):
    """The rows of a network's table, in the order of evaluation. `print(network)` shows them.

        flops   two for each weight that meets a value in a dense, convolution, recurrent or aggregation layer
                (a product and a sum); taps times outputs in a pooling with windows; none where values only
                move; everywhere else one for each value that is read

    Shapes and operations are known where the network declares the shapes of its inputs.
    """
    known, rows = output_shapes(network), []
    for node in network.nodes.values():
        refs = [(node.name, k) for k in range(node.layer.outputs)]
        shapes = tuple(known[r] for r in refs) if known else None
        flops = _flops(node.layer, [known[i] for i in node.inputs], shapes) if known else None
        size = parameters(node.layer)
        sources = tuple(name if k == 0 else f"{name}:{k}" for name, k in node.inputs)
        rows.append(SummaryRow(node.name, type(node.layer).__name__, sources, shapes, size, flops))
    return rows


def parameters(layer):
    """Number of elements of a layer's arrays."""
    return sum(math.prod(a.shape) for a in _arrays(layer))


def output_shapes(network):
    """{reference: shape of one sample} of every value, or {} where the network does not declare its inputs' shapes.

    A batch of no samples is sent through it, which costs next to nothing.
    """
    values = {}
    for name, shape in network.inputs.items():
        if shape is None or None in shape:
            return {}
        values[name] = np.zeros((0, *shape), np.int64 if _reads_integers(network, name) else np.float64)
    record = network.forward(values)
    return {ref: tuple(record[ref].shape[1:]) for ref in record}


def _reads_integers(network, name):
    """Ids of an embedding, lengths of a masked recurrent layer."""
    return any(
        node.layer.kind == "embedding" or (node.layer.kind == "recurrent" and node.inputs[0] != (name, 0))
        for node in network.consumers(name)
    )


def _arrays(layer):
    """The arrays among a layer's fields, in tuples as well."""
    found: list[Any] = []
    for f in fields(layer) if is_dataclass(layer) else ():
        value = getattr(layer, f.name)
        found += [v for v in (value if isinstance(value, tuple) else (value,)) if hasattr(v, "shape")]
    return found


def _flops(layer, read, given):
    """Operations of one node for one sample, from the shapes that it reads and gives."""
    name, kind = type(layer).__name__, layer.kind
    if kind in ("shape", "dropout", "embedding") or name == "Identity":
        return 0
    if kind == "recurrent":
        return 2 * read[0][0] * sum(math.prod(w.shape) for w in (*layer.w_x, *layer.w_h))
    if kind == "dense":
        return 2 * math.prod(given[0][:-1]) * math.prod(layer.w.shape)
    if kind == "conv":
        positions = read[0][1:] if name == "ConvTranspose" else given[0][1:]
        return 2 * math.prod(positions) * math.prod(layer.w.shape)
    if name == "Aggregate":
        return 2 * math.prod(layer.adjacency.shape) * read[0][-1]
    if kind == "pool" and hasattr(layer, "kernel"):
        rank = len(given[0]) - 1
        taps = layer.kernel if isinstance(layer.kernel, tuple | list) else (layer.kernel,) * rank
        return math.prod(taps) * math.prod(given[0])
    return sum(map(math.prod, read))


def show(network):
    """The table as text, with a last line of totals; an array that several nodes share counts once there."""
    head = ("name", "layer", "output", "parameters", "FLOPs", "reads")
    rows = summarize(network)
    lines = [
        (r.node, r.layer, _shapes(r.shapes), _count(r.parameters), _count(r.flops), ", ".join(r.inputs)) for r in rows
    ]
    distinct = {id(a): math.prod(a.shape) for node in network.nodes.values() for a in _arrays(node.layer)}
    flops = None if any(r.flops is None for r in rows) else sum(r.flops for r in rows)
    total = ("total", "", "", _count(sum(distinct.values())), _count(flops), "")
    widths = [max(len(line[k]) for line in (head, *lines, total)) for k in range(5)]

    def text(line):
        left = [line[k].ljust(widths[k]) for k in range(3)]
        return "  ".join([*left, *(line[k].rjust(widths[k]) for k in (3, 4)), line[5]]).rstrip()

    inputs = ", ".join(n if s is None else f"{n} {_shapes((s,))}" for n, s in network.inputs.items())
    return "\n".join([f"Network {network.name!r}, inputs {inputs}", text(head), *map(text, lines), text(total)])


def _shapes(shapes):
    if shapes is None:
        return "?"
    return ", ".join("×".join("?" if s is None else str(s) for s in shape) or "1" for shape in shapes)


def _count(number):
    """12 345 678: thousands apart."""
    return "?" if number is None else f"{number:,}".replace(",", " ")
