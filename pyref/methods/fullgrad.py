"""FullGrad: the full gradient as one map over the image."""

from fractions import Fraction

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.methods.full_gradient import full_gradient_parts
from pyref.methods.method import start
from pyref.methods.noise import check_noise, noisy
from pyref.numerics import number_like

__all__ = ["fullgrad"]


def fullgrad(
    network,
    x,
    target=None,
    *,
    psi="paper",
    scope="layer",
    terms="explicit",
    variant="full",
    samples=25,
    level=0.15,
    seed=0,
    indices=None,
    progress=None,
    **options,
):
    """Input-gradients and bias-gradients, brought to the size of the image and added.

        map = Σ_c ψ(G_x ⊙ x)_c + Σ_nodes Σ_c ψ(G_y ⊙ b)_c

        ψ = resize ∘ rescale ∘ |·|  "paper"       resize  "signed"       resize ∘ |·|  "mnist"
        rescale(v) = (v - min v) / (max v - min v + 1e-6),   resize: bilinear, corners on corners

    Source
        [srinivas2019] eq. (2), other ψ in sec. 6. The text rescales every channel by itself; the authors' code, which
        `scope` follows by default, a layer's whole tensor. Only nodes with an image of the same rank take part.
    Parameters
        psi       "paper", "signed" or "mnist"
        scope     "layer" or "channel": over what minimum and maximum are taken, per sample
        terms     "explicit": nodes with a bias or a shift of their own; "all": implicit biases of activations and
                  products too
        variant   "full"; "simple": G_y in place of G_y ⊙ b; "smooth": the parts are averaged over noisy copies of x
                  before ψ (samples, level, seed, indices, progress as in `pyref.smoothgrad`)
        options   those of every method: `pyref.start`.
    Shapes
        x (n, c, *axes)   →   values (n, 1, *axes)
    Returns
        Attribution; it promises no sum. settings["nodes"] names the nodes that took part.
    Raises
        ValueError  x is not an image, or there are several inputs; an unknown option.
    """
    check_choice("psi", psi, ("paper", "signed", "mnist"))
    check_choice("scope", scope, ("layer", "channel"))
    check_choice("terms", terms, ("explicit", "all"))
    check_choice("variant", variant, ("full", "simple", "smooth"))
    run = start(network, x, target, **options | {"inner": True})
    if len(run.leaves) != 1:
        raise ValueError(f"FullGrad draws one map, but there are several inputs: {', '.join(run.leaves)}")
    ((leaf, image),) = run.leaf_values.items()
    if image.ndim < 3:
        raise ValueError(f"{leaf} has shape {tuple(image.shape)}, expected an image (n, c, *axes)")

    def wanted(name, part):
        return part.ndim == image.ndim and (terms == "all" or run.network.nodes[name].layer.affine)

    if variant == "smooth":
        indices = check_noise(run, samples, level, indices)
        copies = (progress or (lambda steps: steps))(range(samples))
        several = [_parts(run.moved(noisy(run, k, level, seed, indices)), leaf, variant) for k in copies]
        names = {name for parts in several for name in parts}
        parts = {name: sum(p[name] for p in several if name in p) / samples for name in sorted(names)}
    else:
        parts = _parts(run, leaf, variant)
    chosen = {name: part for name, part in parts.items() if name == "" or wanted(name, part)}
    total = sum(
        np.sum(_psi(run.backend, part, psi, scope, image.shape[2:]), axis=1, keepdims=True) for part in chosen.values()
    )
    return Attribution(
        "fullgrad",
        total,
        run.output,
        settings={
            "psi": psi,
            "scope": scope,
            "terms": terms,
            "variant": variant,
            "nodes": [name for name in chosen if name],
        },
    )


def _parts(run, leaf, variant):
    """{"": the input's part, node: its bias part (simple: the gradient there)}."""
    signals, biases = full_gradient_parts(run)
    biases = {name: part for name, part in biases.items() if type(part) is not tuple}
    if variant == "simple":
        G = run.gradients()
        biases = {name: G[name, 0] for name in biases}
    return {"": signals[run.leaves[leaf]], **biases}


def _psi(backend, v, psi, scope, shape):
    """ψ of one part (n, c, *axes), resized to `shape`."""
    if psi != "signed":
        v = np.abs(v)
    if psi == "paper":
        axes = tuple(range(1 if scope == "layer" else 2, v.ndim))
        v = v - np.min(v, axis=axes, keepdims=True)
        v = v / (np.max(v, axis=axes, keepdims=True) + number_like(v, Fraction(1, 10**6)))
    return backend.upsample_forward(v, shape, "bilinear", align_corners=True)
