"""PatternNet: the signal that moves the output, walked back along patterns."""

from dataclasses import replace

import numpy as np

from pyref.attribution import Attribution
from pyref.check import check_shape
from pyref.layers.activation import Identity, ReLU
from pyref.methods import lean
from pyref.methods.method import start
from pyref.numerics import safe_divide
from pyref.rewrite import merge_batchnorm

__all__ = ["pattern_net", "walk_patterns", "propagate_patterns"]

_PASS = ("pool", "shape", "dropout", "add", "upsample", "aggregate")


def pattern_net(network, x, target=None, *, patterns, mask=True, project=False, **options):
    """The backward walk of the gradient with every unit's weights replaced by its pattern.

        R = S_c e_c;      through a dense or convolution layer R ← T_A(R);      through a ReLU R ← 1[z > 0] ⊙ R

    Source
        [kindermans2018] sec. 4. [sixt2020] eq. (8) leaves out the ReLU's mask, which the method applies.
    Parameters
        patterns  of `pyref.fit_patterns`
        mask      False: without the ReLU's mask
        project   True: what leaves a layer is divided by its largest size in the sample, as iNNvestigate does
        options   those of every method: `pyref.start`.
    Returns
        Attribution; it promises no sum.
    Raises
        ValueError  a node for which there is no pattern, or through which the walk is not defined.
    """
    return walk_patterns("pattern_net", lambda w, a: a, network, x, target, patterns, mask, project, options)


def walk_patterns(name, combine, network, x, target, patterns, mask, project, options):
    """What PatternNet and PatternAttribution share: batch normalisation merged, the walk, the result."""
    run = start(merge_batchnorm(network), x, target, hold=lean.shapes, **options)
    signals = propagate_patterns(run, patterns, combine, mask, project)
    return Attribution(
        name,
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        settings={"mask": mask, "project": project, "estimators": dict(patterns.estimators)},
        **run.kept(signals=signals),
    )


def propagate_patterns(run, patterns, combine, mask=True, project=False):
    """The walk of PatternNet and PatternAttribution, which put combine(w, a) in the place of w."""

    def answer(node, x, y, R):
        layer = node.layer
        if layer.kind in ("dense", "conv"):
            if node.name not in patterns.by_node:
                raise ValueError(f"there is no pattern for node {node.name!r}; fit patterns on this network")
            a = patterns.by_node[node.name]
            check_shape(f"the pattern of node {node.name!r}", a, layer.w.shape)
            (r,) = replace(layer, w=combine(layer.w, a), b=None).gradient(run.backend, x, y, R)
            if project:
                size = np.max(np.abs(r), axis=tuple(range(1, r.ndim)), keepdims=True)
                r = safe_divide(r, size + 0 * r)
            return (r,)
        if isinstance(layer, ReLU):
            return layer.gradient(run.backend, x, y, R) if mask else (R,)
        if layer.kind in _PASS or isinstance(layer, Identity):
            return layer.gradient(run.backend, x, y, R)
        raise ValueError(f"patterns do not go through node {node.name!r} ({type(layer).__name__})")

    return run.walk(run.relevance, answer, linear=True)
