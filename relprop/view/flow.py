"""The ledger as a picture: relevance on its way from the output to the inputs, and what each node keeps of it."""

from collections import defaultdict

import numpy as np
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from pyref.numerics import sum_samples
from relprop.view.figure import QUIET, add_note, new_figure, note_room
from relprop.view.heatmap import INK

__all__ = ["flow_figure", "flows"]

KEPT = {"bias": "#e69f00", "stabilizer": "#0072b2", "dropped": "#000000", "state": "#009e73"}
SIGNS = {True: "#e2836b", False: "#7fb0dc"}  # positive and negative relevance on its way
ROW, LANE, NAMES, SIDE = 0.34, 1.5, 1.5, 2.6  # inches


def flow_figure(network, attribution, sample=0):
    """The flow of one sample's relevance, from the output at the top to the inputs at the bottom.

    network      that was explained
    attribution  of `relprop.explain` or of pyref, by a method that carries relevance and so has a ledger

    Each row is a node. On the left the width of a band is the relevance that it carries, red or blue by sign, with the
    number that arrives; on the right is what the node keeps for its bias, for the stabiliser, for units with nothing to
    share by, and in initial states. A negative amount was added at the node. Where a value is read several times and
    the record does not tell how much came by which way, the way is a dashed line.

    Raises
        ValueError  no ledger; a sample that is not there; a ledger of another network.
    """
    result = getattr(attribution, "result", attribution)
    if not len(result.ledger):
        raise ValueError(f"{result.method} has no ledger: it carries no relevance from node to node")
    if not 0 <= sample < len(result.output):
        raise ValueError(f"sample is {sample}, expected 0 to {len(result.output) - 1}")
    edges = flows(network, result, sample)
    arrived, lanes = _arrived(network, result, sample), _lanes(network, result, edges)
    names = list(arrived)
    place = {name: k for k, name in enumerate(names)}
    largest = max(map(abs, arrived.values())) or 1.0
    count = 1 + max(lanes.values())
    across = NAMES + LANE * count + SIDE + 0.5
    note = (
        "Left: width is relevance, red positive, blue negative; numbers are what arrives. Right: what stays at a node; "
        "a negative amount was added there. Unit: that of the output."
    )
    room = note_room(note, across)
    figure = new_figure(across, 1.05 + ROW * len(names) + room)
    width, height = figure.get_size_inches()
    bottom, share = (room + 0.5) / height, ROW * len(names) / height
    left = figure.add_axes((NAMES / width, bottom, (LANE * count + 0.3) / width, share))
    right = figure.add_axes((1 - (SIDE - 0.1) / width, bottom, (SIDE - 0.35) / width, share))
    _draw_flow(left, names, place, arrived, lanes, edges, largest)
    _draw_kept(right, names, place, result.ledger, sample)
    left.set_yticks(range(len(names)), names, fontsize=8)
    right.set_yticks(range(len(names)), [""] * len(names))
    for axes in (left, right):
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(length=0, labelsize=8)
        for side in axes.spines.values():
            side.set_visible(False)
    left.set(xlim=(-0.52, count - 0.2), xticks=[])
    inputs = sum(v for name, v in arrived.items() if name in network.inputs)
    kept = result.ledger.total("kept")
    kept = float(np.broadcast_to(kept, (len(result.output),))[sample])
    total = f"output {float(result.output[sample]):.4g} → inputs {inputs:.4g}, kept on the way {kept:.4g}"
    figure.text(0.12 / width, 1 - 0.12 / height, f"{result.method}: {total}", fontsize=10, va="top", color=INK)
    add_note(figure, note)
    return figure


def flows(network, result, sample=0):
    """{(node, what it reads): relevance that the node hands to it}, None where that cannot be told.

    What a node hands on is the sum over what it reads, and what arrives at a value the sum over its readers: together
    they settle all but ways that run side by side between the same two nodes.
    """
    ledger, signals = result.ledger, result.signals
    edges = {}
    for row in ledger:
        for ref in _read(network, row.node, ledger):
            edges[row.node, ref] = None
    totals = []  # (edges, what they sum to)
    for row in ledger:
        own = [edge for edge in edges if edge[0] == row.node]
        totals.append((own, _number(row.passed, sample)))
    readers = defaultdict(list)
    for edge in edges:
        readers[edge[1]].append(edge)
    for ref, incoming in readers.items():
        if ref in signals and not (ref[0] in ledger.rows and ref == _first(ledger)):
            totals.append((incoming, _number(sum_samples(signals[ref]), sample)))
        elif ref not in signals:
            edges.update(dict.fromkeys(incoming, 0.0))
    settled = True
    while settled:
        settled = False
        for group, total in totals:
            open_ = [edge for edge in group if edges[edge] is None]
            if len(open_) == 1:
                edges[open_[0]] = total - sum(edges[edge] for edge in group if edges[edge] is not None)
                settled = True
    return edges


def _first(ledger):
    """The value where the walk began: it has relevance from nowhere."""
    return next(iter(ledger)).node, 0


def _read(network, name, ledger):
    """What a node reads, through nodes that were merged into their neighbours and so have no row."""
    if name not in network.nodes:
        raise ValueError(f"the ledger has a node {name!r} that the network {network.name!r} has not")
    found = []
    for ref in network.nodes[name].inputs:
        while ref[0] in network.nodes and ref[0] not in ledger.rows and len(network.nodes[ref[0]].inputs) == 1:
            (ref,) = network.nodes[ref[0]].inputs
        if (ref[0] in network.inputs or ref[0] in ledger.rows) and ref not in found:
            found.append(ref)
    return found


def _number(value, sample):
    return float(value[sample]) if getattr(value, "shape", ()) else float(value)


def _arrived(network, result, sample):
    """{node, then input: relevance that arrives}, in the order of the walk."""
    arrived = {row.node: _number(row.arrived, sample) for row in result.ledger}
    for name in network.inputs:
        if (name, 0) in result.signals:
            arrived[name] = _number(sum_samples(result.signals[name, 0]), sample)
    return arrived


def _lanes(network, result, edges):
    """A column for each row: a node stays in that of its first reader, and ways side by side get their own."""
    lanes, free = {}, []
    rows = [row.node for row in result.ledger]
    for name in rows:
        lanes.setdefault(name, _new(lanes, free, rows, name, edges))
        given = False
        for node, ref in edges:
            if node != name or ref[0] in lanes:
                continue
            lanes[ref[0]] = lanes[name] if not given else _new(lanes, free, rows, name, edges)
            given = True
    return {name: lanes.get(name, 0) for name in [*rows, *network.inputs]}


def _new(lanes, free, rows, name, edges):
    """The first column that no way still to be walked uses."""
    done = set(rows[: rows.index(name) + 1])
    taken = {lane for node, lane in lanes.items() if node not in done or node == name}
    return next(k for k in range(len(lanes) + 1) if k not in taken)


def _draw_flow(axes, names, place, arrived, lanes, edges, largest):
    scale, top, low = 0.78 / largest, defaultdict(float), defaultdict(float)
    entering, leaving = defaultdict(float), defaultdict(float)
    for (node, ref), value in edges.items():
        entering[ref[0]] += abs(value or 0) * scale
        leaving[node] += abs(value or 0) * scale
    for name in names:
        size = max(abs(arrived[name]) * scale, 0.004)
        color = SIGNS[arrived[name] >= 0]
        box = (lanes[name] - size / 2, place[name] - 0.16), size, 0.32
        axes.add_patch(Rectangle(*box, facecolor=color, edgecolor="none", zorder=2))
        text = f"{arrived[name]:.3g}"
        axes.text(lanes[name], place[name], text, fontsize=7, ha="center", va="center", color=INK, zorder=4)
    for (node, ref), value in edges.items():
        if ref[0] not in place:
            continue
        x0, x1, y0, y1 = lanes[node], lanes[ref[0]], place[node] + 0.16, place[ref[0]] - 0.16
        if value is None:
            axes.plot([x0, x1], [y0, y1], "--", color=QUIET, linewidth=0.9, zorder=1)
            continue
        size = abs(value) * scale
        a, b = x0 - leaving[node] / 2 + low[node], x1 - entering[ref[0]] / 2 + top[ref[0]]
        low[node] += size
        top[ref[0]] += size
        middle = (y0 + y1) / 2
        points = [(a, y0), (a, middle), (b, middle), (b, y1), (b + size, y1), (b + size, middle), (a + size, middle)]
        codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
        shape = Path([*points, (a + size, y0), (a, y0)], codes)
        axes.add_patch(PathPatch(shape, facecolor=SIGNS[value >= 0], edgecolor="none", alpha=0.45, zorder=1))


def _draw_kept(axes, names, place, ledger, sample):
    used = []
    for row in ledger:
        ends = {True: 0.0, False: 0.0}
        for what, color in KEPT.items():
            value = _number(getattr(row, what), sample)
            if value == 0:
                continue
            label = what if what not in used else None
            used.append(what)
            left = ends[value > 0]
            axes.barh(place[row.node], value, 0.55, left=left, color=color, label=label)
            ends[value > 0] += value
    axes.axvline(0, color="#9a9a9a", linewidth=0.8)
    axes.grid(True, axis="x", color="#ececec", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("kept at the node (relevance)", fontsize=8)
    if used:
        axes.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0,
                    handlelength=1, columnspacing=0.8)  # fmt: skip
    else:
        axes.text(0, len(names) / 2, "nothing", fontsize=8, color=QUIET)
