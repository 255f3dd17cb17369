"""What `relprop reproduce` does: list the experiments, run one, run all."""

import json
from pathlib import Path

from relprop.backends import resolve
from relprop.experiments import EXPERIMENTS, find
from relprop.experiments.page import overview_of, overview_text, run_text
from relprop.experiments.run import Settings, reproduce, write_text

__all__ = ["listed", "report", "run_all", "run_one"]


def listed():
    """Rows of the table of experiments."""
    return [
        {
            "id": e.id,
            "name": e.name,
            "what it shows": e.title,
            "source": f"[{e.paper}] {e.figure}",
            "data": ", ".join(e.sources),
            "needs": ", ".join(e.extras),
        }
        for e in EXPERIMENTS.values()
    ]


def run_one(name, out=None, *, data=None, model=None, samples=None, seed=0, backend="auto", quick=False, resume=False):
    """Run one experiment into its folder and say what came of it.

    Raises
        ValueError  an unknown experiment, source or backend; a folder that holds another run.
    """
    experiment = find(name)
    source = data or next(iter(experiment.sources))
    if source.partition(":")[0] not in {s.partition(":")[0] for s in experiment.sources}:
        raise ValueError(f"{experiment.name} has no data source {source!r}: it takes {', '.join(experiment.sources)}")
    if samples is not None and samples < 1:
        raise ValueError(f"samples is {samples}, expected 1 or more")
    settings = Settings(
        experiment=experiment.name,
        data=source,
        samples=samples if samples is not None else experiment.samples[quick],
        seed=seed,
        backend=resolve(backend)[0],
        quick=quick,
        model=None if model is None else str(model),
    )
    folder = Path(out) if out is not None else Path("runs") / experiment.name
    verdict = reproduce(experiment, settings, folder, resume)
    about = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    findings = [f"{row['verdict']}: {row['says']} ({row['found']})" for row in about["expectations"]]
    return {**_row(experiment), "verdict": verdict, "findings": findings, "page": str(folder / "index.html")}


def run_all(folder, *, seed=0, backend="auto", quick=False, resume=False):
    """Run every experiment into a folder below this one, and make the page over them.

    One that lacks something it needs is named and left out; the others are made.
    """
    rows = []
    for experiment in EXPERIMENTS.values():
        place = folder / experiment.name
        try:
            rows.append(run_one(experiment.name, place, seed=seed, backend=backend, quick=quick, resume=resume))
        except ImportError as error:
            rows.append({**_row(experiment), "verdict": f"not run: {error}", "page": None})
    shown = [
        (
            row["id"],
            row["title"],
            row["source"],
            row["verdict"],
            row["page"] and f"{row['name']}/index.html",
        )
        for row in rows
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "index.html", overview_text(shown))
    return rows


def report(folder, out=None):
    """Write the page of a finished run again, or those of all runs in the folders below and the page over them.

    Returns the path of the page: `out`, by default index.html in the folder.

    Raises
        ValueError  the folder holds no finished run; a run that lacks a file that its page shows; `out` for several.
    """
    folder = Path(folder)
    below = sorted(path.parent for path in folder.glob("*/numbers.json"))
    page = folder / "index.html" if out is None else Path(out)
    if page.suffix not in (".html", ".htm"):
        raise ValueError(f"{page.name} ends in {page.suffix!r}, expected .html")
    if (folder / "numbers.json").exists() or not below:
        write_text(page, run_text(folder))
        return page
    if out is not None:
        raise ValueError(f"{folder} holds {len(below)} runs, whose pages lie in their folders: leave out --out")
    for one in below:
        write_text(one / "index.html", run_text(one))
    write_text(page, overview_of(folder))
    return page


def _row(e):
    return {"id": e.id, "name": e.name, "title": e.title, "source": f"[{e.paper}] {e.figure}"}
