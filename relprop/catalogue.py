"""What there is, read from the one tables of the code: for `relprop methods`, `relprop info` and the README."""

import importlib.metadata
import inspect
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import fields

import pyref
from relprop.backends import BACKENDS
from relprop.explain import method_options

__all__ = ["environment", "metric_rows", "summary", "tables"]

OPTIONAL = ("torch", "onnx", "cupy", "jax", "scikit-learn", "scikit-image")


def tables():
    """{title: rows}, each row a dict of plain values."""
    from relprop import support

    shared = {p.name for p in inspect.signature(pyref.start).parameters.values()}
    return {
        "methods": [
            {
                "name": name,
                "what": summary(method),
                "options": {k: _plain(v) for k, v in method_options(name).items() if k not in shared},
            }
            for name, method in pyref.METHODS.items()
        ],
        "options of every method": [
            {"name": p.name, "default": str(_plain(p.default))}
            for p in inspect.signature(pyref.start).parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.name not in ("backend", "hold")
        ],
        "rules": [
            {"name": name, "what": summary(rule), "options": _fields(rule)} for name, rule in pyref.RULES.items()
        ],
        "composites": [
            {"name": name, "what": summary(make), "options": _defaults(make)} for name, make in pyref.COMPOSITES.items()
        ],
        "presets": [
            {"name": name, "of": method, "options": {k: _plain(v) for k, v in options.items()}}
            for name, preset in pyref.PRESETS.items()
            for method, options in preset.items()
        ],
        "layers": support.layer_rows(),
    }


def metric_rows():
    """The table of metrics, each row a dict of plain values."""
    return [
        {
            "name": name,
            "what": metric.what,
            "equation": metric.equation,
            "better": metric.better,
            "takes": metric.takes,
            "source": metric.source,
            "options": {k: _plain(v) for k, v in _keywords(metric.function).items() if k != "progress"},
        }
        for name, metric in pyref.METRICS.items()
    ]


def _keywords(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def summary(thing):
    """The first line of what a class or function says about itself."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _fields(rule):
    signature = inspect.signature(rule).parameters
    return {f.name: _plain(signature[f.name].default) for f in fields(rule) if f.init}


def _defaults(make):
    return {p.name: _plain(p.default) for p in inspect.signature(make).parameters.values()}


def _plain(value):
    """A default as JSON knows it; None also for a parameter without one."""
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def environment():
    """{section: {name: text}}: versions, what was built and why, backends, devices, models."""
    import relprop
    from relprop.models import zoo

    return {
        "versions": {
            "relprop": relprop.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "numpy": importlib.metadata.version("numpy"),
            **{name: _version(name) for name in OPTIONAL},
        },
        "built": {
            "extension": str(relprop._core.__file__),
            "from sources": relprop._core.source_digest[:12],
            "CPU kernels": f"for {relprop._core.instruction_set()}, matrix products by {relprop._core.blas()}",
            "CUDA kernels": relprop._core.cuda_build,
        },
        "backends": {b.name: b.missing or f"built: {b.about}" for b in BACKENDS.values()},
        "devices": {"processors": str(_processors()), "NVIDIA GPUs": _gpus()},
        "models": {name: _accuracy(zoo.card(name)) for name in zoo.names()},
    }


def _accuracy(card):
    return ", ".join(f"{title} {value}" for title, value in card.items() if "accuracy" in title)


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processors():
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _gpus():
    from relprop import cuda

    if BACKENDS["cuda"].built:
        found = [
            f"{d['name']}, {d['memory'] / 1e9:.0f} GB, compute capability {'.'.join(map(str, d['capability']))}"
            for d in cuda.devices()
        ]
        return "; ".join(found) or f"none ({cuda.no_device()})"
    if shutil.which("nvidia-smi") is None:
        return "none (no driver)"
    asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return "; ".join(line.split(" (UUID")[0] for line in asked.stdout.splitlines()) or "none"
