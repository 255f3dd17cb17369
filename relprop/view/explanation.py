"""The page of an attribution: its maps value by value, its largest values, and where relevance went."""

import numpy as np

from relprop.view.flow import flow_figure
from relprop.view.page import Drawing, Heading, Heatmap, Heatmaps, Table, Text, write_page

__all__ = ["explanation_blocks", "write_explanation"]

SCALE = "Each map has its own scale, symmetric about zero: blue negative, white zero, red positive."
LEDGER = ("node", "arrived", "passed", "bias", "stabilizer", "dropped", "state", "residual")


def write_explanation(path, attribution, network=None, **options):
    """Write `explanation_blocks` as a page, a .html file, and return its path."""
    title = f"{attribution.method} of {attribution.network}"
    return write_page(path, title, explanation_blocks(attribution, network, **options), "An attribution by relprop")


def explanation_blocks(attribution, network=None, *, rows=None, samples=8, channels="sum", top=10, clip=None):
    """What a page says about a `relprop.Attribution`.

    network   that was explained; with it the flow of relevance is drawn, where the method has a ledger
    rows      a dict for each sample, shown as a table; by default output, Σ values, what it should be, and the residual
    samples   how many of the batch have their maps on the page, which says how many there are
    channels  how channels become one picture: "sum", "abs", "max" or "l2"; they are read out one by one all the same
    top       how many of the largest values are listed
    clip      a percentile of |value| at which the scales end; the maps say how many values that clips

    Raises
        ValueError  fewer than one sample; another `channels`; clip out of range.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, expected 1 or more")
    attribution = attribution.in_numpy
    result, x = attribution.result, attribution.x
    values = result.values if isinstance(result.values, dict) else {"": result.values}
    inputs = x if isinstance(x, dict) else {"": x}
    count = len(result.output)
    rows = _rows(attribution) if rows is None else rows
    head = list(dict.fromkeys(name for row in rows for name in row))
    blocks = [
        Heading("What was explained"),
        Table(["sample", *head], [[k, *(row.get(name) for name in head)] for k, row in enumerate(rows)]),
        Heading("Where in the input"),
        Text(SCALE + (f" The first {samples} of {count} samples." if count > samples else ""), "quiet"),
    ]
    blocks += [_maps(k, values, inputs, attribution.alphas, channels, clip, count) for k in range(min(samples, count))]
    largest = _largest(values, top)
    if largest:
        blocks += [Heading("The largest values"), Table(("value", "of", "at (sample, …)"), largest)]
    if len(result.ledger):
        blocks.append(Heading("Where relevance went"))
        if network is not None:
            blocks.append(Drawing(flow_figure(network, attribution), f"The way of relevance in sample 0 of {count}."))
        blocks.append(Table(LEDGER, result.ledger.table(0), "The ledger of sample 0", most=len(result.ledger)))
    how = {"method": attribution.method, "backend": attribution.backend, "preset": attribution.preset}
    how |= {"quadrature": attribution.quadrature} | {k: v for k, v in attribution.settings.items() if k != "rules"}
    rules = dict.fromkeys(map(str, attribution.settings.get("rules", {}).values()))
    how["rules"] = "; ".join(rules) or None
    settings = [(name, _setting(value)) for name, value in how.items() if value is not None]
    return [*blocks, Heading("How it was computed"), Table(("setting", "value"), settings)]


def _rows(attribution):
    result = attribution.result
    columns = {"output": result.output}
    if attribution.alphas is None:
        columns["Σ values"] = result.total
    if result.expected is not None:
        columns |= {"expected": result.expected, "residual": result.delta}
    full = {name: np.broadcast_to(v, (len(result.output),)) for name, v in columns.items()}
    return [{name: float(v[k]) for name, v in full.items()} for k in range(len(result.output))]


def _maps(sample, values, inputs, alphas, channels, clip, count):
    """The maps of one sample: every input, then every attribution, for each α where there are several."""
    maps = [Heatmap(x[sample], f"input {name}".strip(), kind="input") for name, x in inputs.items()]
    for name, value in values.items():
        if alphas is None:
            maps.append(Heatmap(value[sample], name or "attribution", channels=channels, clip=clip))
        else:
            maps += [
                Heatmap(v[sample], f"{name} α = {float(a):g}".strip(), channels=channels, clip=clip)
                for v, a in zip(value, alphas, strict=True)
            ]
    size = 11 if len(maps) > 4 else 16
    return Heatmaps(maps, f"Sample {sample}" if count > 1 else "", size=size)


def _largest(values, top):
    found = [
        (float(v.flat[i]), name or "input", tuple(int(k) for k in np.unravel_index(i, v.shape)))
        for name, v in values.items()
        for i in np.argsort(-np.abs(v.astype(np.float64)), axis=None, kind="stable")[:top]
    ]
    found.sort(key=lambda entry: -abs(entry[0]))
    return [(value, name, str(index)) for value, name, index in found[:top]]


def _setting(value):
    """A setting in few words: an array by its shape."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_setting(v)}" for k, v in value.items())
    if isinstance(value, list | tuple) and any(getattr(v, "shape", ()) for v in value):
        return ", ".join(map(_setting, value))
    shape = getattr(value, "shape", ())
    return f"array of shape {tuple(shape)}" if shape else str(value)
