"""The full gradient: what the input and every bias contribute, first order, with nothing left over."""

from pyref.attribution import Attribution
from pyref.methods.method import start
from pyref.numerics import sum_samples, zeros_like

__all__ = ["full_gradient", "full_gradient_parts", "implicit_bias"]


def full_gradient(network, x, target=None, **options):
    """Input-gradients and bias-gradients, which add up to the output.

        r_i = x_i ∂S_c/∂x_i       r_node = (∂S_c/∂y) ⊙ b,   b = y - Σ_k J_k x_k at every node y of inputs x_k

    b is the bias of a dense or convolution layer; the shift of batch normalisation; what constant padding adds;
    f(z) - f′(z) z at an activation; -p q at a product; p - Jz at a softmax. A recurrent layer counts as one node.

    Source
        [srinivas2019] eq. (1), Prop. 2 and 3, implicit biases in sec. 4.
    Parameters
        options  those of every method: `pyref.start`.
    Returns
        Attribution with values r_i, `biases` {node: r_node in the shape of its output} (without nodes where b is
        zero throughout), and at every inner value y its y ⊙ ∂S_c/∂y.
    Laws
        Σ r_i + Σ biases = S_c, with == in exact arithmetic: `delta`.
    """
    run = start(network, x, target, **options | {"inner": True})
    signals, biases = full_gradient_parts(run)
    kept = sum((sum_samples(part) for parts in biases.values() for part in _each(parts)), zeros_like(run.output))
    return Attribution(
        "full_gradient",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        expected=run.output - kept if run.is_cut else None,
        signals=signals,
        biases=biases,
    )


def full_gradient_parts(run):
    """({reference: value ⊙ G}, {node: G ⊙ b}): both parts of the full gradient of a run."""
    biases = {}

    def answer(node, x, y, G):
        b = implicit_bias(node.layer, run.backend, x, y)
        if any((part != 0).any() for part in _each(b)):
            biases[node.name] = tuple(g * part for g, part in zip(G, b, strict=True)) if type(b) is tuple else G * b
        return node.layer.gradient(run.backend, x, y, G)

    G = run.walk(run.v, answer)
    return {ref: run.record[ref] * g for ref, g in G.items()}, biases


def implicit_bias(layer, backend, x, y):
    """b = y - Σ_k J_k x_k, what a node adds to its own linearisation; for an affine node its value at 0.

    Shapes
        x the tuple of the node's inputs, y its output (a tuple if it has several)   →   in the shape of y
    """
    if layer.affine:
        return layer.forward(backend, *(v if _whole(v) else zeros_like(v) for v in x))
    Jx = layer.tangent(backend, x, y, tuple(None if _whole(v) else v for v in x))
    return tuple(a - b for a, b in zip(y, Jx, strict=True)) if type(y) is tuple else y - Jx


def _whole(v):
    return v.dtype.kind in "iu"


def _each(parts):
    return parts if type(parts) is tuple else (parts,)
