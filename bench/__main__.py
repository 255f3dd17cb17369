"""python -m bench: measure rows, check their values, compare with peers."""

import importlib
import json
import os
import sys
from datetime import datetime
from fnmatch import fnmatch
from typing import Annotated

import typer
from rich.console import Console

from bench import ceilings, cost, report, scaling
from bench.check import check, gap
from bench.measure import measure
from bench.pace import Pace
from bench.rows import ROWS

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: python -m bench 'epsilon*' --peers --save")
def main(
    cases: Annotated[
        list[str] | None, typer.Argument(help="Names of rows, or patterns such as '*vgg16*'; all by default")
    ] = None,
    peers: Annotated[bool, typer.Option(help="Measure other libraries too, in turn with ours")] = False,
    backend: Annotated[str, typer.Option(help="Ours: pyref or cpu")] = "cpu",
    threads: Annotated[int, typer.Option(help="For everyone; 0: all cores")] = 0,
    runs: Annotated[int, typer.Option(help="At least so many of each")] = 5,
    quick: Annotated[bool, typer.Option(help="Small sizes, and only whether values are right")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON")] = False,
    save: Annotated[str, typer.Option(help="Keep the results under results/<this name>, row by row")] = "",
    budget: Annotated[float, typer.Option(help="Seconds of runs after which a row ends with fewer of them")] = 45,
    scale: Annotated[bool, typer.Option("--scaling", help="How our time grows with size, besides")] = False,
    page: Annotated[bool, typer.Option(help="Only print bench/README.md from the results")] = False,
    list_rows: Annotated[bool, typer.Option("--list", help="Only list the rows")] = False,
):
    """Time and memory of relprop, and of its peers, on the same networks in the same run."""
    if page:
        sys.stdout.write(report.page())
        return
    chosen = [row for row in ROWS.values() if not cases or any(fnmatch(row.name, case) for case in cases)]
    if not chosen:
        raise typer.BadParameter(f"no row is called {', '.join(cases or ())}; --list shows them")
    if list_rows:
        print("\n".join(row.name for row in chosen))
        return
    console = Console(stderr=True)
    threads = threads or os.cpu_count() or 1
    run = {
        "began": datetime.now().isoformat(" ", "seconds"),
        "machine": report.machine(),
        "threads": threads,
        "backend": backend,
        "sgemm": ceilings.sgemm(),
        "copy": ceilings.copy(),
        "rows": [],
    }
    wrong, pace = False, Pace()
    with console.status("") as status:
        for row in chosen:
            status.update(f"{row.name}: values")
            try:
                error = check(row.quick(), backend, "pyref") if quick else check(row.checked(), backend)
            except Exception as why:  # the other rows are measured all the same
                wrong = True
                console.print(f"{row.name}: {type(why).__name__}: {why}", highlight=False)
                run["rows"].append({"row": row.name, "wrong": f"{type(why).__name__}: {why}"})
                continue
            if quick:
                console.print(f"{row.name}: right ({error['float32']:.1g}, rounding explains {error['allowed']:.1g})")
                continue
            contenders = ("ours", *(row.against if peers else ()))
            found = measure(
                row, contenders, backend, runs, threads=threads, tell=status.update, budget=budget, pace=pace
            )
            run["rows"].append(_row(row, found, error, run["sgemm"]))
            wrong |= "wrong" in run["rows"][-1]
            if save:
                report.save(run, save)
            if not as_json:
                console.print(_line(run["rows"][-1]), highlight=False)
        if scale and not quick:
            run["scaling"] = scaling.measured(backend, threads, status.update)
    if not quick:
        if save:
            console.print(f"kept as {report.save(run, save)}")
        print(json.dumps(run) if as_json else report.tables(run))
    if wrong:
        raise typer.Exit(1)


def _row(row, found, error, sgemm):
    if found["ours"].refused:
        return {"row": row.name, "wrong": found["ours"].refused}
    mine = found["ours"].values
    modules = {name: importlib.import_module(f"bench.{name}") for name in found}
    results = [
        {"name": modules[m.contender].NAME, "refused": m.refused}
        | (
            {}
            if m.refused
            else {
                "differs": gap(m.values, mine) if getattr(modules[m.contender], "COMPARABLE", True) else None,
                "median": m.median,
                "spread": m.spread,
                "extra": m.extra,
                "hurried": m.hurried,
                "seconds": m.seconds[:50],  # the median is of all
            }
        )
        for m in found.values()
    ]
    ours = results[0]
    network = row.build()
    spent = cost.must(row, network, row.input(network))
    reached = spent and spent.flops / ours["median"] / sgemm
    return {
        "row": row.name,
        "aim": row.reach,
        "error": error,
        "flops": spent and spent.flops,
        "bytes": spent and spent.bytes,
        "kept": spent and spent.kept,
        "reached": reached,
        "ours": ours,
        "peers": results[1:],
    }


def _line(result):
    if "wrong" in result:
        return f"{result['row']}: {result['wrong']}"
    times = [
        f"{p['name']} {p['refused'] or format(p['median'], '.4g') + ' s'}" for p in (result["ours"], *result["peers"])
    ]
    return f"{result['row']}: {', '.join(times)}"


if __name__ == "__main__":
    app()
