"""What an experiment is: a statement of a paper, the pieces of work that test it, and how the answer is read off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relprop.experiments.ordering import DIFFERS, HOLDS, UNDECIDED, Outcome

__all__ = ["TRAIN", "Expectation", "Experiment", "Piece", "Picture", "Table", "conclude"]


@dataclass(frozen=True)
class Piece:
    """One part of a run's work, deterministic from the settings: it is stored when done and never done twice.

    make(run) returns {name: array}, which is stored as .npz, or a `pyref.Network`, stored as .safetensors; it reads
    what earlier pieces left by `run[name]` and draws from `run.rng(name)`.
    """

    name: str
    make: Callable[[Any], Any]


@dataclass(frozen=True)
class Expectation:
    """One ordering that the paper claims, and the test that it can fail.

    says     the ordering in words
    test     from the run's numbers, as they stand in numbers.json, to an Outcome
    because  how what ships differs from the paper's data and networks: shown where the outcome is another than the
             paper's, and the data and the network are those that ship
    """

    says: str
    test: Callable[[dict], Outcome]
    because: str = ""


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure and what it shows.

    maps  `relprop.view.page.Heatmaps` (`charts.panel_maps`) or `Tokens`, whose values can be read on the page
    """

    name: str
    caption: str
    figure: Any
    maps: Sequence[Any] = ()


@dataclass(frozen=True)
class Table:
    """Rows of plain values."""

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


TRAIN: dict[str, tuple[str, ...]] = {"train": ("torch", "sklearn")}


@dataclass(frozen=True)
class Experiment:
    """One experiment of a paper.

    id       as in the list of experiments: X-c, or several with commas
    name     what the command line calls it
    paper    key of pyref/REFERENCES.md
    figure   where it stands in the paper
    claim    what the paper says it shows, in our words
    sources  {data source: what it is}; the first needs no files of the user's
    samples  (how many by default, how many when quick); 0 where samples have no meaning
    pieces, numbers, pictures, tables
             from the run: the work, the numbers that it comes to as plain JSON values, and how they are shown
    needs    distributions beyond relprop's own without which it does not run, by extra
    trains   whether the network that it explains is trained first, unless the user names one: that needs `TRAIN`
    """

    id: str
    name: str
    title: str
    paper: str
    figure: str
    claim: str
    expectations: tuple[Expectation, ...]
    sources: dict[str, str]
    samples: tuple[int, int]
    pieces: Callable[[Any], list[Piece]]
    numbers: Callable[[Any], dict]
    pictures: Callable[[Any, dict], list[Picture]]
    tables: Callable[[Any, dict], list[Table]]
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trains: bool = False

    @property
    def extras(self):
        """The extras that a run without a network of the user's needs."""
        return self.needs | (TRAIN if self.trains else {})


def conclude(experiment, numbers, ours=True):
    """(verdict, [{says, verdict, found, because}]) of a run's numbers, on data and a network of ours or of the user's.

    The verdict is `holds` where every expectation does, and `does not hold` where none does. Otherwise it
    `differs because` of those that are named, or is `not decided` in those where none of them fails.
    """
    rows = []
    for expectation in experiment.expectations:
        outcome = expectation.test(numbers)
        row = {"says": expectation.says, "verdict": outcome.verdict, "found": outcome.found}
        if ours and outcome.verdict != HOLDS and expectation.because:
            row["because"] = expectation.because
        rows.append(row)
    verdicts = {row["verdict"] for row in rows}
    if verdicts == {HOLDS}:
        return HOLDS, rows
    if HOLDS not in verdicts:
        return (UNDECIDED if UNDECIDED in verdicts else DIFFERS), rows
    if DIFFERS not in verdicts:
        left = "; ".join(f"“{row['says']}”" for row in rows if row["verdict"] != HOLDS)
        return f"{UNDECIDED}: {left}; the rest holds", rows
    failed = "; ".join(f"“{row['says']}” {_shortly(row['verdict'])}" for row in rows if row["verdict"] != HOLDS)
    return f"differs because {failed}", rows


def _shortly(verdict):
    return "is not decided" if verdict == UNDECIDED else "does not hold"
