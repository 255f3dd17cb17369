"""Grad-CAM: feature maps weighted by their mean gradient."""

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_choice
from pyref.methods.method import start
from pyref.numerics import pos

__all__ = ["grad_cam", "last_feature_maps"]


def grad_cam(network, x, target=None, *, at=None, relu=True, features="plain", upsample=True, **options):
    """Where the feature maps that speak for the target are active.

        L = (Σ_k α_k A^k)⁺,     α_k = mean over positions of ∂S_c/∂A^k

    Source
        [selvaraju2017] eq. (1), (2).
    Parameters
        at        the node whose output is A; by default the last convolution's, after its activation
        relu      False: without the outer ⁺
        features  "plain" A, or "positive": (Σ_k α_k (A^k)⁺), for a node before its activation
        upsample  True: bilinear to the size of the input image, corners on corners; False: the map as it is
        options   those of every method: `pyref.start`.
    Shapes
        A (n, k, *positions)   →   values (n, 1, *axes of x), or (n, 1, *positions)
    Laws
        Where global average pooling and a dense layer follow A, Σ_k α_k A^k · (number of positions) is
        Σ_k w_kc A^k, the class activation map.
    Returns
        Attribution; it promises no sum.
    Raises
        ValueError  no convolution to choose; A is not an image; upsampling where no single input is one.
    """
    check_choice("features", features, ("plain", "positive"))
    if at is None:
        at = last_feature_maps(network)
    run = start(network, x, target, at=at, **options | {"inner": True})
    if len(run.leaves) != 1:
        raise ValueError(f"Grad-CAM reads one node, not {', '.join(run.leaves)}")
    ((name, A),) = run.leaf_values.items()
    if A.ndim < 3:
        raise ValueError(f"{name} has shape {tuple(A.shape)}, expected feature maps (n, k, *positions)")
    G = run.gradients()[run.leaves[name]]
    axes = tuple(range(2, A.ndim))
    alpha = np.sum(G, axis=axes, keepdims=True) / int(np.prod(A.shape[2:]))
    L = np.sum(alpha * (pos(A) if features == "positive" else A), axis=1, keepdims=True)
    L = pos(L) if relu else L
    if upsample:
        images = [v for v in run.inputs.values() if v.ndim == A.ndim]
        if len(images) != 1:
            raise ValueError("there is no single input image of the rank of the feature maps; pass upsample=False")
        L = run.backend.upsample_forward(L, images[0].shape[2:], "bilinear", align_corners=True)
    return Attribution(
        "grad_cam",
        L,
        run.output,
        settings={"at": name, "relu": relu, "features": features, "alpha": np.reshape(alpha, alpha.shape[:2])},
    )


def last_feature_maps(network):
    """Name of the last convolution, or of the activation that directly follows it (after batch normalisation).

    Raises
        ValueError  there is no convolution.
    """
    found = [node.name for node in network.nodes.values() if node.layer.kind == "conv"]
    if not found:
        raise ValueError(f"{network.name} has no convolution; name the node with at=")
    name = found[-1]
    while len(readers := network.consumers(name)) == 1 and (name, 0) not in network.outputs:
        kind = readers[0].layer.kind
        if kind not in ("activation", "batchnorm", "dropout"):
            break
        name = readers[0].name
        if kind == "activation" and type(readers[0].layer).__name__ != "Identity":
            break
    return name
