"""Results as text: one file a run, and bench/README.md from the newest run of each machine."""

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.rows import ROWS

__all__ = ["HERE", "machine", "save", "table", "page"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MOST_OF_KEPT = 1.5


def machine():
    """What the figures depend on: processor, cores, versions, commit."""
    import os

    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    found = {"cpu": cpu or platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    for package in ("relprop", "numpy", "torch", "onnxruntime", "captum", "zennit"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    found["commit"] = git.stdout.strip() or None
    return found


def _lines(path):
    path = Path(path)
    return path.read_text().splitlines() if path.exists() else []


def save(run, name):
    """Write a run to results/<name>/<date>-<commit>.json, one row a line, and return the path."""
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run['began'].replace(':', '').replace(' ', '-')}-{run['machine']['commit']}.json"
    rows = ",\n".join("  " + json.dumps(row) for row in run["rows"])
    head = json.dumps({k: v for k, v in run.items() if k != "rows"})
    whole = path.with_suffix(".part")  # a run that is interrupted leaves what it has measured
    whole.write_text(f'{head[:-1]}, "rows": [\n{rows}\n]}}\n')
    whole.replace(path)
    return path


def _time(seconds):
    return (
        f"{seconds * 1e6:.0f} µs"
        if seconds < 1e-3
        else f"{seconds * 1e3:.3g} ms"
        if seconds < 1
        else f"{seconds:.3g} s"
    )


def _size(count):
    return "" if count is None else f"{count / 2**20:.{'1f' if count < 10 * 2**20 else '0f'}} MiB"


def _distance(differs):
    return "" if differs is None else f", {differs:.0e}"


def tables(run):
    """The rows of a run, and how time grew where that was measured."""
    parts = [table(run["rows"])] * bool(run["rows"])
    sides = [side for row in run["rows"] if "ours" in row for side in (row["ours"], *row["peers"])]
    if hurried := sum(side.get("hurried", 0) for side in sides):
        parts.append(f"{hurried} runs began though the machine had not come to its best in two seconds.")
    if "scaling" in run:
        lines = ["| our time grows | size: time | log-log slope |", "|---|---|---:|"]
        for one in run["scaling"]:
            seen = ", ".join(f"{size}: {_time(seconds)}" for size, seconds in one["seconds"].items())
            lines.append(f"| {one['name']} | {seen} | {one['slope']:.2f} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def table(rows):
    """Markdown: each row's time and memory, what of the machine's rate it reaches, and each peer's factor."""
    lines = [
        "| row | relprop | spread | of SGEMM | extra memory | peers: time, extra memory, distance | factor | aim |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        if "wrong" in row:
            lines.append(f"| {row['row']} | **{row['wrong'].replace('|', '/')}** | | | | | | |")
            continue
        ours, peers = row["ours"], row["peers"]
        answered = [p for p in peers if not p["refused"]]
        shown = [f"{p['name']} {_time(p['median'])}, {_size(p['extra'])}{_distance(p['differs'])}" for p in answered]
        shown += [f"{p['name']}: {p['refused']}" for p in peers if p["refused"]]
        factor = _factor(row)
        cells = (
            row["row"],
            _time(ours["median"]),
            "one run" if ours["spread"] is None else f"{ours['spread']:.0%}",
            "" if row["reached"] is None else f"{row['reached']:.0%}",
            _size(ours["extra"])
            + (f", {ours['extra'] / row['kept']:.1f}×" if ours["extra"] and row.get("kept") else ""),
            "; ".join(shown).replace("|", "\\|"),
            "" if factor is None else f"{factor:.2f}×",
            "" if row["aim"] is None else f"{row['aim']}×",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


_PAGE = """# Bench

`python -m bench` measures this table again; `python -m bench --help` says what it takes. Printed from `results/` by
`python -m bench --page`.

Each row first passes a check of its values: float32 against float64, within what rounding explains. Then every
contender runs in a process of its own, in turn with the others, and each begins when the threads of the others have
come to rest (some go on spinning for 50 ms after their work, on a core that the next one needs); calls shorter than 20
ms are repeated for that long, and their median is one run. Before each run a matrix product on all threads is repeated
until it takes no more than 1.1 times the least that it ever took: on a machine that others share it may take twice
that for a second. The time is the median of the runs, the spread half the distance of their quartiles; what takes
fifteen seconds or more runs once.

*Extra memory* is the most that a run held beyond model and input, and for ours how many times that is what layers
with weights put out, which a walk back must find again (DeepLIFT at the baseline too). It is that of a third run,
when what is loaded and recorded once is there, and blocks that were kept for later have been given back; what a peer
keeps from run to run is not in it. ONNX Runtime keeps an arena, so that it shows nothing: beyond what was there after
its first run it holds 28 MiB for VGG-16 at batch 1, and 8 and 31 MiB for ResNet-50 at batch 1 and 4, measured apart.
The system counts it to 84 KiB. Beside what is kept a walk back holds two or three arrays of its largest layer, and up
to an eighth or 8 MiB of blocks that did not fit. Rows above the fastest peer's memory, or above 1.5 times what must
be kept, are listed at the end with what theirs is made of.

*Of SGEMM* is the rate at which the products went through that the method cannot do without (`bench/cost.py`), as a
share of the rate of a large float32 matrix product in the same run. *Factor* is the time of the fastest peer over
ours. The distance of a peer's values from ours is ‖theirs - ours‖ / ‖ours‖ of the worst sample: rounding, or another
convention (stabilisers, biases), or an error, which `docs/peers.md` sorts out.

All contenders get the network in its simplest form: batch normalisation merged, no dropout, each activation a
module of its own (other forms some peers refuse or get wrong). PyTorch and the peers on it run in the layout of
images in which they are fastest.
"""


def notes(rows):
    """What stands between a row and its aim, one line for each that has not reached it and has something to say."""
    known = {row["row"]: ROWS[row["row"]].note for row in rows if row["row"] in ROWS and not _is_reached(row)}
    return "".join(f"- *{name}*: {note}\n" for name, note in known.items() if note)


def memory_notes(rows):
    """What the memory of rows is made of that hold more than the fastest peer, or than `MOST_OF_KEPT`."""
    above: dict[str, list[str]] = {}
    for row in rows:
        if row["row"] in ROWS and "ours" in row and _is_above(row):
            above.setdefault(ROWS[row["row"]].memory, []).append(row["row"])
    if not above:
        return ""
    lines = "".join(f"- *{', '.join(names)}*: {note}\n" for note, names in above.items())
    return f"Memory above that of the fastest peer, or above {MOST_OF_KEPT} times what must be kept:\n\n{lines}"


def _is_above(row):
    extra, answered = row["ours"]["extra"], [p for p in row["peers"] if not p["refused"]]
    fastest = min(answered, key=lambda p: p["median"], default=None)
    above_peer = fastest and fastest["extra"] is not None and extra > fastest["extra"]
    return bool(above_peer or (row.get("kept") and extra > MOST_OF_KEPT * row["kept"]))


def _is_reached(row):
    factor = _factor(row)
    return row.get("aim") is not None and factor is not None and factor >= row["aim"]


def _factor(row):
    """The time of the fastest peer over ours; None where none has answered."""
    answered = [p["median"] for p in row.get("peers", ()) if not p["refused"]]
    return min(answered) / row["ours"]["median"] if answered else None


def page():
    """The text of bench/README.md."""
    parts = [_PAGE]
    for folder in sorted(RESULTS.iterdir() if RESULTS.exists() else ()):
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        if not runs:
            continue
        run = ([r for r in runs if r["rows"]] or runs)[-1]
        facts = ", ".join(f"{k} {v}" for k, v in run["machine"].items() if v is not None)
        ceilings = f"SGEMM {run['sgemm'] / 1e9:.0f} GFLOP/s, copy {run['copy'] / 1e9:.1f} GB/s"
        parts.append(f"## {folder.name}\n\n{facts}; {run['threads']} threads; {ceilings}.\n\n{tables(run)}\n")
        parts.extend(filter(None, [notes(run["rows"]), memory_notes(run["rows"])]))
    return "\n".join(parts)
