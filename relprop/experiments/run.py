"""A run of an experiment: a folder whose pieces are stored as they are done, so that it can be interrupted anywhere.

    RUN/settings.json       what was asked for; a run is only continued under the same
    RUN/pieces/NAME.npz     what a piece came to, or NAME.safetensors where that is a network
    RUN/numbers.json        settings, verdict, and all numbers
    RUN/NAME.csv, .png, .svg, .npz with the values of maps, index.html
    RUN/times.json          dates, durations and the machine: the only file that differs between two equal runs

Every file is written beside its place and renamed into it, so that what is there is whole.
"""

import csv
import io
import json
import os
import platform
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import pyref
import relprop
from relprop.backends import resolve
from relprop.experiments.experiment import Experiment, conclude
from relprop.experiments.page import described, maps_file, run_text
from relprop.models import native
from relprop.progress import bar
from relprop.view import save_figure

__all__ = ["Run", "Settings", "reproduce"]

PART = ".part"  # of a file that is being written


@dataclass(frozen=True)
class Settings:
    """What a run was asked for; everything that its results depend on."""

    experiment: str
    data: str
    samples: int
    seed: int
    backend: str
    quick: bool
    model: str | None = None
    version: str = relprop.__version__


class Run:
    """One run: its settings, its folder, and the results of the pieces that are done."""

    def __init__(self, experiment: Experiment, settings: Settings, folder: Path):
        self.experiment, self.settings, self.folder = experiment, settings, folder
        self.samples, self.quick = settings.samples, settings.quick
        self._kept: dict[str, Any] = {}

    def __getitem__(self, name):
        """What a piece came to: {name: array}, or a network in float64."""
        if name not in self._kept:
            path = self._stored(name)
            if path is None:
                raise KeyError(f"piece {name!r} of {self.settings.experiment} is not done")
            if path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as file:
                    self._kept[name] = {key: file[key] for key in file.files}
            else:
                self._kept[name] = native.load(path, np.float64)
        return self._kept[name]

    def rng(self, name):
        """A generator of its own for each name, whatever was drawn before it."""
        return np.random.default_rng([self.settings.seed, zlib.crc32(name.encode())])

    def seed(self, name):
        """A whole number of its own for each name."""
        return int(self.rng(name).integers(2**31))

    def explain(self, network, x, method, target=None, **options):
        """`relprop.explain` on the run's backend."""
        return relprop.explain(network, x, method, target, self.settings.backend, progress=False, **options)

    @property
    def backend(self):
        """The backend's module."""
        return resolve(self.settings.backend)[1]

    # ---- pieces on disk ----

    def _stored(self, name):
        stem = self.folder / "pieces" / name
        return next((p for s in (".npz", ".safetensors") if (p := stem.with_name(stem.name + s)).exists()), None)

    def has(self, name):
        """Whether a piece is done."""
        return self._stored(name) is not None

    def store(self, name, result):
        """Keep what a piece came to."""
        path = self.folder / "pieces" / (name + (".safetensors" if isinstance(result, pyref.Network) else ".npz"))
        if isinstance(result, pyref.Network):
            write_whole(path, lambda part: native.save(result, part))
        else:
            arrays = {key: np.asarray(value) for key, value in result.items()}
            if objects := [key for key, value in arrays.items() if value.dtype == object]:
                raise TypeError(f"piece {name!r} has results that are no plain arrays: {', '.join(objects)}")
            write_whole(path, lambda part: _save_arrays(part, arrays))


def reproduce(experiment, settings, folder, resume=False, progress=True):
    """Run an experiment into a folder, or go on where it was interrupted. Returns the verdict.

    Raises
        ValueError  the folder holds a run and `resume` was not asked for, or one under other settings.
        ImportError something that the experiment needs is not installed.
    """
    folder = Path(folder)
    check_needs(experiment, settings)
    _enter(folder, settings, resume)
    run = Run(experiment, settings, folder)
    began, done = perf_counter(), {}
    pieces = experiment.pieces(run)
    names = [piece.name for piece in pieces]
    if len(set(names)) < len(names):
        raise ValueError(f"{experiment.name} has two pieces of one name")
    with bar(total=len(pieces), label=experiment.name, unit=" pieces", shown=progress) as line:
        for piece in pieces:
            line.set_postfix_str(piece.name, refresh=True)
            if not run.has(piece.name):
                start = perf_counter()
                run.store(piece.name, piece.make(run))
                done[piece.name] = round(perf_counter() - start, 3)
            line.update()
    verdict = _write_results(run)
    _write_times(folder, done, perf_counter() - began)
    return verdict


def check_needs(experiment, settings):
    """Whether what the experiment needs is installed."""
    from importlib.util import find_spec

    for extra, modules in (experiment.needs if settings.model else experiment.extras).items():
        missing = [m for m in modules if find_spec(m) is None]
        if missing:
            raise ImportError(
                f"{experiment.name} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
                f"installed: pip install relprop[{extra}]"
            )


def _enter(folder, settings, resume):
    """Make the folder, or check that the run in it is the one to go on with."""
    path = folder / "settings.json"
    wanted = asdict(settings)
    if path.exists():
        if not resume:
            raise ValueError(f"{folder} holds a run already: --resume goes on with it, --out names another folder")
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != wanted:
            other = [f"{k} {there.get(k)!r}, not {v!r}" for k, v in wanted.items() if there.get(k) != v]
            raise ValueError(f"the run in {folder} was started with {'; '.join(other)}: it cannot go on with these")
        for part in folder.rglob(f"*{PART}*"):  # what was being written when it was interrupted
            part.unlink()
        return
    if folder.exists() and any(folder.iterdir()):
        left = [p.name for p in folder.iterdir() if PART not in p.name and p.name != "pieces"]
        if left:
            raise ValueError(f"{folder} holds other things ({left[0]}): a run wants a folder of its own")
    (folder / "pieces").mkdir(parents=True, exist_ok=True)
    write_text(path, _json(wanted))


def _write_results(run):
    experiment, folder = run.experiment, run.folder
    numbers = _plain(experiment.numbers(run))
    numbers = json.loads(_json(numbers))  # a test reads what a reader of the file reads
    ours = ":" not in run.settings.data and run.settings.model is None
    verdict, findings = conclude(experiment, numbers, ours)
    pictures, tables = experiment.pictures(run, numbers), experiment.tables(run, numbers)
    for picture in pictures:
        for suffix in (".png", ".svg"):
            write_whole(folder / f"{picture.name}{suffix}", lambda part, p=picture: save_figure(p.figure, part))
        if picture.maps:
            write_whole(folder / f"{picture.name}.npz", lambda part, p=picture: _save_arrays(part, maps_file(p)))
    for table in tables:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([table.head, *table.rows])
        write_text(folder / f"{table.name}.csv", text.getvalue())
    about = {
        "experiment": experiment.id,
        "name": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "figure": experiment.figure,
        "claim": experiment.claim,
        "verdict": verdict,
        "expectations": findings,
        "settings": asdict(run.settings),
        "source": experiment.sources.get(run.settings.data.partition(":")[0], ""),
        **described(pictures, tables),
        "numbers": numbers,
    }
    write_text(folder / "numbers.json", _json(about))
    write_text(folder / "index.html", run_text(folder))
    return verdict


def _write_times(folder, done, seconds):
    path = folder / "times.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    entries.append(
        {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "pieces": done,
            "machine": f"{platform.platform()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
    )
    write_text(path, _json(entries))


# ---- files that are there whole or not at all ----


def write_whole(path, write):
    """Let write(part) make a file beside its place, bring it to the disk, and rename it into place."""
    part = path.with_name(f"{path.stem}{PART}{path.suffix}")  # the suffix stays: writers choose the format by it
    write(part)
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def write_text(path, text):
    """A text file, whole or not at all."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def _save_arrays(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _json(value):
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value):
    """Arrays as lists, NumPy's numbers as Python's, what is no number as null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
