"""The modified chain rule, twice: by a backward walk, and by enumeration of every path. And how far both may round.

Enumeration is the definition (a sum over paths of products); it pushes unit vectors forward through each node and
never calls a gradient, so that the two share no formula.
"""

from dataclasses import fields, replace

import numpy as np

from pyref.numerics import ones_like, zeros_like

__all__ = [
    "modified_gradient",
    "path_sum",
    "naive_quotient",
    "has_removable_singularity",
    "affine_size",
    "magnitude",
    "output_size",
    "rounding_count",
    "lipschitz",
    "slope_size",
]


def modified_gradient(run, g, product=None, scale=None):
    """∂^g S_c / ∂(every value) by reverse mode with g in place of f′; {reference: G}.

        activation a = f(z)   G_z = g(run, node) ⊙ G_a
        product y = p ⊙ q     G_p = m_p ⊙ G_y,  G_q = m_q ⊙ G_y,  (m_p, m_q) = product(run, node)
        any other node        its own gradient; an affine one first multiplies G by scale(run, node), if given

    Source
        [ancona2017] eq. (5). Departure: multipliers for products, which the paper excludes.
    """

    def answer(node, x, y, G):
        if node.layer.kind == "activation":
            return (g(run, node) * G,)
        if node.layer.kind == "product" and product is not None:
            return tuple(None if m is None else m * G for m in product(run, node))
        if node.layer.affine and scale is not None:
            G = scale(run, node) * G
        return node.layer.gradient(run.backend, x, y, G)

    return run.walk(run.v, answer)


def path_sum(run, g, product=None):
    """∂^g S_c / ∂x_i at the only input, by enumeration: Σ over paths Π weights Π g. One sample.

        every path from x_i to the output, edge by edge; nothing is shared between paths

    The weight of an edge is the response of its node to a unit vector, from the node's tangent.
    """
    ((_, leaf),) = run.leaves.items()
    x = run.record[leaf]
    edges = {}
    for node in run.network.nodes.values():
        for k, ref in enumerate(node.inputs):
            edges.setdefault(ref, []).append((node, k))

    def response(node, k, index):
        """[(output index, weight)] of one entry of the node's k-th input."""
        inputs, output = run.record.inputs(node), run.record.output(node)
        unit = [zeros_like(v) for v in inputs]
        unit[k][index] = 1 + unit[k][index]
        if node.layer.kind == "activation":
            return [(index, g(run, node)[index])]
        if node.layer.kind == "product" and product is not None:
            m = product(run, node)[k]
            return [] if m is None else [(index, m[index])]
        dy = node.layer.tangent(run.backend, inputs, output, tuple(unit))
        return [(i, dy[i]) for i in np.ndindex(dy.shape) if dy[i] != 0]

    known = {}  # the weights of edges, looked up once; the paths themselves are walked one by one

    def through(ref, index, product_so_far):
        total = product_so_far * run.v[index] if ref == run.output_ref else 0
        for node, k in edges.get(ref, ()):
            key = (node.name, k, index)
            if key not in known:
                known[key] = response(node, k, index)
            for i, weight in known[key]:
                total = total + through((node.name, 0), i, product_so_far * weight)
        return total

    G = zeros_like(x)
    one = ones_like(x).flat[0]
    for index in np.ndindex(x.shape):
        G[index] = G[index] + through(leaf, index, one)
    return G


def naive_quotient(z, z0, a, a0, derivative):
    """(a - a0) / (z - z0) as it is written, and f′(z) where z = z0."""
    same = z == z0
    gap = np.where(same, ones_like(z), z - z0)
    return np.where(same, derivative, (a - a0) / gap)


def has_removable_singularity(run, G):
    """True where an affine node's output is 0 although it has terms, and its signal G is not: 0 / 0 in the rule form.

    There the rule form hands out nothing, while x ⊙ ∂^g S hands out terms that cancel. Statements about the rule
    form exclude it, as they exclude 0 / 0.
    """
    for node in run.network.nodes.values():
        if not node.layer.affine or (node.name, 0) not in G:
            continue
        z, size = run.record[node.name], affine_size(run, node)
        if np.any((z == 0) & (size != 0) & (G[node.name, 0] != 0)):
            return True
    return False


def affine_size(run, node):
    """Σ_i |x_i w_io| + |b_o| of an affine node, in the shape of its output."""
    terms = node.layer.terms(run.record.inputs(node))
    bias = run.record[node.name] - sum(t.forward(t.x, t.w) for t in terms)
    return np.abs(bias) + sum(t.forward(np.abs(t.x), _absolute(t.w)) for t in terms)


def magnitude(run, factor, weights=None):
    """Σ over paths Π|weights| Π factor at every value: the size of the terms that a modified gradient adds up.

    factor(run, node) ≥ |g| at every activation.
    """
    network = run.network.with_layers(
        {n.name: _absolute_layer(n.layer) for n in run.network.nodes.values() if n.layer.affine}
    )

    def answer(node, x, y, M):
        if node.layer.kind == "activation":
            return (factor(run, node) * M,)
        if node.layer.kind == "product":
            return tuple(np.abs(v) * M for v in reversed(x))
        return node.layer.gradient(run.backend, x, y, M)

    return replace(run, network=network).walk(np.abs(run.v) if weights is None else weights, answer)


def output_size(run, factor):
    """Σ over every value of the network of its Σ|terms| times how strongly it reaches the output: n · u times it bounds
    the rounding of S_c, of a change of S_c, and of a sum of attributions.

    factor(run, node) ≥ the slope of an activation, or its secant, with its rounding in units of u.
    """
    M = magnitude(run, factor)
    return sum(np.sum(m * _terms_at(run, ref)) for ref, m in M.items())


def _terms_at(run, ref):
    value = np.abs(run.record[ref])
    node = run.network.nodes.get(ref[0])
    if node is None:
        return value
    if node.layer.affine:
        return affine_size(run, node)
    return 1 + value + (np.abs(run.record[node.inputs[0]]) if node.layer.kind == "activation" else 0)


def rounding_count(run):
    """n: roundings of one term on its way, at each node at most one per summand, and 16 for functions."""
    return sum(16 + int(np.prod(run.record[n.name].shape[1:])) for n in run.network.nodes.values()) + int(
        sum(np.prod(v.shape[1:]) for v in run.leaf_values.values())
    )


def lipschitz(z):
    """2 + |z|: for every activation here it exceeds |f(z)|, |f′(z)|, and the rounding of either in units of u."""
    return 2 + np.abs(z)


def slope_size(run, node):
    """A factor for `magnitude` that exceeds |f′| and |f′|'s rounding."""
    return lipschitz(run.record[node.inputs[0]])


def _absolute(w):
    return tuple(map(np.abs, w)) if isinstance(w, tuple) else np.abs(w)


def _absolute_layer(layer):
    """The layer with |weights|. Biases play no part in a gradient."""
    changed = {
        f.name: np.abs(getattr(layer, f.name))
        for f in fields(layer)
        if f.name in ("w", "scale", "factor") and getattr(layer, f.name) is not None
    }
    return replace(layer, **changed) if changed else layer
