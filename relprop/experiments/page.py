"""The page of a run: figures, the paper's claim and what was found, in one file that needs nothing else."""

import base64
from html import escape

from relprop.experiments.ordering import DIFFERS, HOLDS, UNDECIDED

__all__ = ["overview_text", "page_text"]

STYLE = """
:root{color-scheme:light}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#222;background:#fff;max-width:62rem;
margin:0 auto;padding:1.2rem}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .6rem}
.quiet{color:#595959}.verdict{display:inline-block;padding:.15rem .6rem;border-radius:.3rem;font-weight:600}
.holds{background:#dcefe0;color:#10451d}.differs{background:#f9dfdc;color:#7a1410}.open{background:#f3ecd2;color:#574400}
figure{margin:1rem 0}figure img{max-width:100%;height:auto}figcaption{color:#595959;font-size:.92rem}
blockquote{margin:.5rem 0;padding:.1rem 1rem;border-left:.25rem solid #c4c4c4}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem}th,td{text-align:left;
padding:.3rem .8rem .3rem 0;border-bottom:1px solid #e2e2e2;vertical-align:top}
code{background:#f4f4f4;padding:.1rem .3rem;border-radius:.2rem;overflow-wrap:anywhere}
"""
MOST_ROWS = 60  # of a table on the page; the file holds all
LARGE = 600_000  # bytes from which a drawing is shown as its bitmap


def page_text(experiment, settings, verdict, findings, pictures, tables, folder):
    """index.html of one run."""
    parts = [
        f'<p class="quiet">Experiment {escape(experiment.id)} · [{escape(experiment.paper)}] '
        f"{escape(experiment.figure)}</p>",
        f"<h1>{escape(experiment.title)}</h1>",
        f'<p><span class="verdict {_class(verdict)}">{escape(verdict)}</span></p>',
        f"<h2>What the paper says</h2><blockquote>{escape(experiment.claim)}</blockquote>",
        "<h2>What was found</h2>",
        _grid(
            ("expected", "verdict", "found"),
            [
                (
                    escape(row["says"]),
                    f'<span class="verdict {_class(row["verdict"])}">{escape(row["verdict"])}</span>',
                    escape(row["found"]) + (f"<br><em>{escape(row['because'])}</em>" if "because" in row else ""),
                )
                for row in findings
            ],
        ),
        *(_figure(picture, folder) for picture in pictures),
        *(_table(table) for table in tables),
        "<h2>How it was run</h2>",
        f"<p>{escape(experiment.sources.get(settings.data.partition(':')[0], ''))}</p>",
        f"<p><code>{escape(command(settings))}</code></p>",
        '<p class="quiet">All numbers: numbers.json; the tables as CSV and the figures as PNG and SVG beside it; dates '
        "and durations: times.json.</p>",
    ]
    return _document(experiment.title, parts)


def overview_text(rows):
    """index.html over several runs: rows of (id, name, title, paper, verdict, link or None)."""
    body = [
        "<h1>The papers’ experiments</h1>",
        _grid(
            ("", "experiment", "paper", "verdict"),
            [
                (
                    escape(id),
                    f'<a href="{escape(link)}">{escape(title)}</a>' if link else escape(title),
                    escape(paper),
                    f'<span class="verdict {_class(verdict)}">{escape(verdict)}</span>',
                )
                for id, _, title, paper, verdict, link in rows
            ],
        ),
    ]
    return _document("The papers’ experiments", body)


def command(settings):
    """The command that makes this run again."""
    words = ["relprop reproduce", settings.experiment, f"--data {settings.data}"]
    if settings.samples:
        words.append(f"--samples {settings.samples}")
    words += [f"--seed {settings.seed}", f"--backend {settings.backend}"]
    if settings.model:
        words.append(f"--model {settings.model}")
    return " ".join([*words, *(["--quick"] if settings.quick else [])])


def _document(title, parts):
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _class(verdict):
    return {HOLDS: "holds", DIFFERS: "differs", UNDECIDED: "open"}.get(
        verdict, "differs" if verdict.startswith("differs") else "open"
    )


def _figure(picture, folder):
    path = folder / f"{picture.name}.svg"
    kind = "image/svg+xml"
    if path.stat().st_size > LARGE:
        path, kind = path.with_suffix(".png"), "image/png"
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    caption = escape(picture.caption)
    return f'<figure><img alt="{caption}" src="data:{kind};base64,{data}"><figcaption>{caption}</figcaption></figure>'


def _table(table):
    shown = table.rows[:MOST_ROWS]
    more = f'<p class="quiet">{len(table.rows) - MOST_ROWS} more rows in {table.name}.csv</p>'
    body = _grid([escape(str(h)) for h in table.head], [[_cell(v) for v in row] for row in shown])
    return f"<h2>{escape(table.caption)}</h2>{body}{more if len(table.rows) > MOST_ROWS else ''}"


def _cell(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else escape(str(value))


def _grid(head, rows):
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
