"""What `relprop reproduce` does: list the experiments, run one, run all."""

import json
from pathlib import Path

from relprop.backends import resolve
from relprop.experiments import EXPERIMENTS, find
from relprop.experiments.page import overview_text
from relprop.experiments.run import Settings, check_needs, reproduce, write_text

__all__ = ["listed", "run_all", "run_one"]


def listed():
    """Rows of the table of experiments."""
    return [
        {
            "id": e.id,
            "name": e.name,
            "what it shows": e.title,
            "source": f"[{e.paper}] {e.figure}",
            "data": ", ".join(e.sources),
            "needs": ", ".join(e.needs),
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
            check_needs(experiment)
        except ImportError as error:
            rows.append({**_row(experiment), "verdict": f"not run: {error}", "page": None})
            continue
        rows.append(run_one(experiment.name, place, seed=seed, backend=backend, quick=quick, resume=resume))
    shown = [
        (
            row["id"],
            row["name"],
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


def _row(e):
    return {"id": e.id, "name": e.name, "title": e.title, "source": f"[{e.paper}] {e.figure}"}
