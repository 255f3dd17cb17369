"""The methods that a metric runs itself, rather than measure attributions that are given."""

import inspect
from collections.abc import Mapping
from typing import Any

from pyref.check import nearest
from pyref.methods import METHODS

__all__ = ["explainers"]


def explainers(methods) -> dict[str, Any]:
    """{label: explain(network, x, target, indices=None, **options)} of what was given.

        "lrp"                          a name of `pyref.METHODS`
        ("lrp", {"rule": "z_plus"})    with options
        a callable                     called as explain(network, x, target, **options); an `Attribution` or an array
        {label: any of these}, or a list of them

    `indices` are the samples' places in the data set: a method that draws noise for each sample is told them.

    Raises
        ValueError  an unknown name, or nothing at all.
        TypeError   anything else.
    """
    if isinstance(methods, list):
        methods = {_label(method): method for method in methods}
    if not isinstance(methods, Mapping):
        methods = {_label(methods): methods}
    if not methods:
        raise ValueError("there is nothing to measure: methods is empty")
    return {str(label): _explainer(method) for label, method in methods.items()}


def _label(method):
    name = method[0] if isinstance(method, tuple) else method
    return name if isinstance(name, str) else getattr(name, "__name__", "method")


def _explainer(method):
    method, fixed = method if isinstance(method, tuple) and len(method) == 2 else (method, {})
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}; {nearest(method, METHODS)}")
        method = METHODS[method]
    if not callable(method):
        raise TypeError(
            f"a method is given as a {type(method).__name__}, expected a name, a callable, or (either, {{}})"
        )
    named = "indices" in getattr(_signature(method), "parameters", ())

    def explain(network, x, target=None, indices=None, **options):
        told = {"indices": indices} if named and indices is not None else {}
        return method(network, x, target, **{**options, **told, **fixed})

    return explain


def _signature(method):
    try:
        return inspect.signature(method)
    except ValueError:  # compiled, without one
        return None
