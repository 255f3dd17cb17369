"""The page of a run, made of what its folder holds: the paper's claim beside what was found, figures, maps, tables."""

import csv
import json
from pathlib import Path

import numpy as np

from relprop.view.page import Drawing, Heading, Heatmap, Heatmaps, Link, Table, Text, Tokens, Verdict, page_text

__all__ = ["described", "maps_file", "overview_of", "overview_text", "run_text"]

FILES = (
    "All numbers: numbers.json; the tables as CSV, the figures as PNG and SVG, the maps as NPZ beside it; dates and "
    "durations: times.json."
)
OF_A_MAP = ("title", "note", "kind", "channels", "limit", "clip")


def run_text(folder):
    """index.html of the run in a folder.

    Raises
        ValueError  the folder holds no finished run, or one that lacks a file or a number that the page shows.
    """
    folder = Path(folder)
    about = _numbers(folder)
    try:
        return page_text(about["title"], _blocks(about, folder), _above(about))
    except FileNotFoundError as error:
        raise ValueError(f"the run in {folder} lacks {Path(error.filename).name}, which its page shows") from None
    except KeyError as error:
        raise ValueError(f"{folder / 'numbers.json'} lacks {error}, which the page shows") from None


def _numbers(folder):
    path = folder / "numbers.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no finished run: there is no numbers.json in it")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(about, dict):
        raise ValueError(f"{path} holds a {type(about).__name__}, expected the numbers of a run")
    return about


def _above(about):
    return f"Experiment {about['experiment']} · [{about['paper']}] {about['figure']}"


def _blocks(about, folder):
    expectations = [
        (
            row["says"],
            Verdict(row["verdict"]),
            f"{row['found']}. Because {row['because']}" if "because" in row else row["found"],
        )
        for row in about["expectations"]
    ]
    blocks = [
        Verdict(about["verdict"]),
        Heading("What the paper says"),
        Text(about["claim"], "quote"),
        Heading("What was found"),
        Table(("expected", "verdict", "found"), expectations),
    ]
    for picture in about["pictures"]:
        blocks.append(Drawing(_beside(folder, picture["name"], ".svg"), picture["caption"]))
        if picture.get("maps"):
            blocks.append(Heading("Value by value"))
            blocks += _maps(picture, folder)
    for table in about["tables"]:
        path = _beside(folder, table["name"], ".csv")
        with open(path, encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file))
        rows = [[_plain(cell) for cell in row] for row in rows]
        blocks += [Heading(table["caption"]), Table(head, rows, file=path.name)]
    return [
        *blocks,
        Heading("How it was run"),
        Text(about["source"]),
        Text(command(about["settings"]), "code"),
        Text(FILES, "quiet"),
    ]


def _beside(folder, name, suffix):
    """A file of the run: a page shows none from elsewhere."""
    path = folder / f"{name}{suffix}"
    if path.name != f"{name}{suffix}":
        raise ValueError(f"{folder / 'numbers.json'} names {name!r}, expected the name of a file in the run's folder")
    return path


def _maps(picture, folder):
    with np.load(_beside(folder, picture["name"], ".npz"), allow_pickle=False) as file:
        return [
            Tokens(values=file[f"{g}.0"], **group)
            if "tokens" in group
            else Heatmaps([Heatmap(file[f"{g}.{k}"], **m) for k, m in enumerate(group["maps"])], group["caption"])
            for g, group in enumerate(picture["maps"])
        ]


def described(pictures, tables):
    """What numbers.json says about pictures and tables: enough to make the page again."""
    return {
        "pictures": [
            {
                "name": p.name,
                "caption": p.caption,
                "maps": [_described(group) for group in p.maps],
            }
            for p in pictures
        ],
        "tables": [{"name": t.name, "caption": t.caption} for t in tables],
    }


def _described(group):
    """A group of maps, or words, without their values."""
    if isinstance(group, Tokens):
        words = {"tokens": list(group.tokens), "clip": group.clip, "limit": group.limit}
        return {"caption": group.caption, **words}
    return {"caption": group.caption, "maps": [{name: getattr(m, name) for name in OF_A_MAP} for m in group.maps]}


def maps_file(picture):
    """The arrays of a picture's maps, as its .npz file holds them: "group.map"."""
    groups = [[g] if isinstance(g, Tokens) else g.maps for g in picture.maps]
    return {f"{g}.{k}": np.asarray(m.values) for g, group in enumerate(groups) for k, m in enumerate(group)}


def overview_text(rows):
    """index.html over several runs: rows of (id, title, paper, verdict, link or None)."""
    shown = [
        (id, Link(title, link) if link else title, paper, Verdict(verdict)) for id, title, paper, verdict, link in rows
    ]
    return page_text("The papers’ experiments", [Table(("", "experiment", "paper", "verdict"), shown, most=len(rows))])


def overview_of(folder):
    """`overview_text` of the finished runs in the folders below this one."""
    rows = []
    for path in sorted(Path(folder).glob("*/numbers.json")):
        about = _numbers(path.parent)
        paper = f"[{about['paper']}] {about['figure']}"
        rows.append((about["experiment"], about["title"], paper, about["verdict"], f"{path.parent.name}/index.html"))
    return overview_text(rows)


def command(settings):
    """The command that makes this run again."""
    words = ["relprop reproduce", settings["experiment"], f"--data {settings['data']}"]
    if settings["samples"]:
        words.append(f"--samples {settings['samples']}")
    words += [f"--seed {settings['seed']}", f"--backend {settings['backend']}"]
    if settings["model"]:
        words.append(f"--model {settings['model']}")
    return " ".join([*words, *(["--quick"] if settings["quick"] else [])])


def _plain(cell):
    """A cell of a CSV file: the number that it is, nothing, or its text."""
    if cell == "":
        return None
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell
