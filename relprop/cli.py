"""The command line: relprop demo | explain | verify | reproduce | report | methods | metrics | info."""

import ast
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="relprop",
    help="What each input contributed to one output of a neural network, by every method of the papers.",
    epilog="Start with:  relprop demo",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else.")]


def main() -> None:
    """The console command."""
    sys.exit(run())


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 only on success; errors take one line on stderr."""
    argv = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    debug = "--debug" in argv
    command = typer.main.get_command(app)
    try:
        code = command.main([a for a in argv if a != "--debug"], prog_name="relprop", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader left, as `head` does: nothing more can be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        if hasattr(error, "format_message"):  # the command line was wrong
            return _fail(error.format_message(), 2)
        return _fail(str(error) or type(error).__name__, 1)


def _fail(message, code):
    print(f"relprop: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _print_version(asked: bool):
    if asked:
        import relprop

        print(relprop.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
):
    pass  # --debug is read in run(), wherever it stands; --version has its callback


# ── demo ───────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop demo --out pictures --digit 17")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json; made if missing.")] = Path("out"),
    digit: Annotated[int, typer.Option(help="Which of the shipped held-out digits is shown, from 0.")] = 37,
    network: Annotated[str, typer.Option(help="Which shipped networks: mlp or cnn.")] = "mlp",
    count: Annotated[
        int | None, typer.Option(help="How many digits the correlations are the median of; by default 100, cnn 30.")
    ] = None,
    as_json: Json = False,
):
    """Six methods on one handwritten digit under four activations: Table 1 of Ancona et al., with numbers.

    Draws the heatmaps, compares each method with integrated gradients, and says what to notice.
    """
    from pyref.check import check_choice
    from relprop import demo as job

    check_choice("network", network, ("mlp", "cnn"))
    table = job.make_table(digit, network, count)
    picture, numbers = job.write_table(table, out)
    if as_json:
        _print_json({**job.as_dict(table), "files": [str(picture), str(numbers)]})
        return
    rows = []
    for method, (title, _) in job.METHODS.items():
        row = table.row(method)
        residuals = [cell.residual for cell in row.values() if cell.residual is not None]
        residual = f"{max(residuals):.0e}" if residuals else "promises no sum"
        rows.append([title, *(f"{cell.correlation:.3f}" for cell in row.values()), residual])
    console = _console()
    about = f"Digit no. {table.index}, labelled {table.label}."
    console.print(f"{about} Correlation with integrated gradients, median of {table.count}:")
    _print_table(console, ["", *job.ACTIVATIONS.values(), "largest residual"], rows, numeric=True)
    for method, (title, _) in job.METHODS.items():
        console.print(f"[bold]{title}[/]: {job.remark(table, method)}")
    console.print(f"\nPicture: {picture}\nNumbers: {numbers}", soft_wrap=True)


# ── explain ────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop explain digits-cnn-relu digits:17 --rule epsilon_plus --plot out.png")
def explain(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A shipped model (relprop info lists them), a .safetensors or an .onnx file, or a state dict: "
            "resnet50:weights.safetensors.",
        ),
    ],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="digits:17, digits, an image, or a .npy file.")],
    method: Annotated[str, typer.Option(help="Name of a method: relprop methods.")] = "lrp",
    rule: Annotated[str | None, typer.Option(help="Rule or composite, for --method lrp.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the method or rule, k=v; may be given again.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Take the settings of a library: relprop methods.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Class to explain, or i,j,… for a structured output; default the largest.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Attribute to this inner node in place of the input.")] = None,
    backend: Annotated[str, typer.Option(help="auto, or a name that relprop info lists.")] = "auto",
    memory: Annotated[
        str | None, typer.Option(help="Hold no more than this beyond model and input: 500MB, 2GB.")
    ] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Scale an image to the size that the model reads.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Swap dark and light: ink is high in digits.")] = False,
    low: Annotated[float, typer.Option(help="What black becomes in an image.")] = -1.0,
    high: Annotated[float, typer.Option(help="What white becomes in an image.")] = 1.0,
    preprocess: Annotated[
        list[str] | None,
        typer.Option(
            help="What an image becomes: imagenet, inception, unit, mnist, and settings as size=256, mean=0.5,0.5,0.5, "
            "std=…, order=bgr, layout=nhwc; may be given again."
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Names of the classes: one a line, or JSON.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="Inputs that patterns are learnt from, for pattern methods: digits, or a .npy file."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the values: .npy, or .npz with all the rest.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture: .png, .svg or .pdf.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page, one .html file, whose maps are read value by value.")
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="In --plot, draw the heatmap over the input.")] = False,
    clip: Annotated[
        float | None,
        typer.Option(help="End scales at this percentile of |value|; pictures say how many values that clips."),
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the largest attributions to list.")] = 5,
    ledger: Annotated[bool, typer.Option("--ledger", help="Say where relevance went, node by node.")] = False,
    as_json: Json = False,
):
    """What each input contributed to one output of a model."""
    import relprop
    from relprop import source as door

    names = door.read_labels(labels) if labels else {}
    prepare = door.preprocessing(preprocess) if preprocess else None
    if prepare is not None and (low, high) != (-1.0, 1.0):
        raise typer.BadParameter("--low and --high have no meaning beside --preprocess")
    network = door.open_model(model)
    x = door.open_input(source, network, resize=resize, invert=invert, low=low, high=high, prepare=prepare)
    options: dict[str, Any] = dict(_parse_option(o) for o in option or ())
    options |= {name: value for name, value in (("rule", rule), ("at", at)) if value is not None}
    if fit is not None:
        options["patterns"] = door.learn_patterns(fit, network, backend)
    chosen = None if target is None else _parse_target(target)
    options["inner"] = True  # its sums are printed
    a = relprop.explain(network, x, method, chosen, backend, preset=preset, memory=memory, **options)
    files = []
    if save is not None:
        files.append(str(a.save(save)))
    if plot is not None:
        from relprop.view import save_figure

        files.append(str(save_figure(a.plot(overlay=overlay, clip=clip), plot)))
    about = _about(a, network, x, chosen, top, names)
    if html is not None:
        from relprop.view import write_explanation

        files.append(str(write_explanation(html, a, network, rows=about["samples"], clip=clip)))
    if as_json:
        _print_json({**about, **({"ledger": _ledger_rows(a)} if ledger else {}), "files": files})
        return
    _print_explanation(about, a if ledger else None, files)


def _parse_option(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--option {text}: expected name=value")
    try:
        return name.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name.strip(), value


def _parse_target(text):
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--target {text}: expected a class, or a tuple of indices i,j,…") from None
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _about(a, network, x, target, top, names=()):
    """What the command prints, as plain values."""
    import numpy as np

    values = a.result.values if isinstance(a.result.values, dict) else {"": a.result.values}
    largest = [
        (float(v.flat[i]), name, [int(k) for k in np.unravel_index(i, v.shape)])
        for name, v in values.items()
        for i in np.argsort(-np.abs(v), axis=None, kind="stable")[: max(top, 0)]
    ]
    largest.sort(key=lambda entry: -abs(entry[0]))
    output = network(x)
    samples = []
    for s in range(len(a.result.output)):
        row = {"output": float(a.result.output[s])}
        if a.alphas is None:
            row["sum"] = float(a.result.total[s])
        if isinstance(output, np.ndarray) and output.ndim > 1 and output[0].size == output.shape[1] > 1:
            row["predicts"] = int(np.argmax(output[s]))
            if target is None:
                row["explained class"] = row["predicts"]
            elif target is not None:
                row["explained class"] = target if isinstance(target, int) else target[0]
            row |= {f"{k} name": names[row[k]] for k in ("predicts", "explained class") if row.get(k) in names}
        if a.result.expected is not None:
            row["expected sum"] = float(a.result.expected[s])
            row["residual"] = float(a.result.delta[s])
        samples.append(row)
    return {
        "model": network.name,
        "method": a.method,
        "backend": a.backend,
        "preset": a.preset,
        "quadrature": a.quadrature,
        "settings": {k: _setting(v) for k, v in a.settings.items() if k != "rules"},
        "seconds": round(a.seconds, 4),
        "samples": samples,
        "top": [
            {"value": v, "index": index, **({"of": name} if name else {})} for v, name, index in largest[: max(top, 0)]
        ],
    }


def _setting(value):
    """A setting in few words: an array by its shape."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_setting(v)}" for k, v in value.items()) + "}"
    shape = getattr(value, "shape", ())
    return f"array of shape {shape}" if shape else str(value)


LEDGER = ("node", "arrived", "passed", "bias", "stabilizer", "dropped", "state", "residual")


def _ledger_rows(a, sample=0):
    return [dict(zip(LEDGER, row, strict=True)) for row in a.ledger.table(sample)]


def _print_explanation(about, with_ledger, files):
    console = _console()
    how = ", ".join(f"{k}={v}" for k, v in about["settings"].items())
    console.print(
        f"[bold]{about['method']}[/] of [bold]{about['model']}[/] on {about['backend']}, {about['seconds']:.2f} s"
    )
    for line in filter(None, (how, about["quadrature"])):
        console.print(f"  {line}", markup=False)
    several = len(about["samples"]) > 1
    for s, row in enumerate(about["samples"]):
        says = [f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
        console.print(("  " if not several else f"  {s}: ") + ", ".join(says))
    if "residual" not in about["samples"][0]:
        console.print("  this method promises no sum, so there is no completeness residual")
    rows = [[f"{t['value']:+.6g}", f"{t.get('of', '')}{tuple(t['index'])}"] for t in about["top"]]
    if rows:
        _print_table(console, ["largest attributions", "at (sample, …)"], rows)
    if with_ledger is not None:
        if len(with_ledger.ledger) == 0:
            console.print("  no ledger: this method carries no relevance from node to node")
        else:
            table = [
                [r["node"], *(f"{r[c]:.4g}" for c in LEDGER[1:-1]), f"{r['residual']:.0e}"]
                for r in _ledger_rows(with_ledger)
            ]
            _print_table(console, LEDGER, table, numeric=True)
    for path in files:
        console.print(f"written: {path}", soft_wrap=True)


# ── verify ─────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop verify --only A1 --only S3 --cases 50")
def verify(
    only: Annotated[
        list[str] | None, typer.Option(help="Id of a statement (A1) or a family (A); may be given again.")
    ] = None,
    cases: Annotated[int, typer.Option(help="Cases drawn per statement.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed draws the same cases.")] = 0,
    as_json: Json = False,
):
    """Check the papers' statements on drawn networks, exactly where the mathematics is rational.

    Exit code 1 if a statement fails, or if a falsifier, a network on which it must fail, does not bite.
    """
    from pyref.theorems import verify as check
    from relprop.progress import bar

    with bar(label="verify", unit=" statements") as line:

        def progress(row, done, total):
            line.total = total
            line.set_postfix_str(row.id, refresh=False)
            line.update()

        report = check(only or None, cases, seed, progress)
    if as_json:
        _print_json(report.as_dict())
    else:
        _print_report(report)
    raise typer.Exit(report.exit_status)


def _print_report(report):
    from rich.text import Text

    console = _console()
    rows = []
    for row in report:
        bites = [*row.falsifiers, *row.counterexamples]
        bitten = f"{sum(f.ok for f in bites)} of {len(bites)}"
        worst = "0, exact" if row.arithmetic == "exact" and row.residual == 0 else f"{row.residual:.1e}"
        verdict = Text("holds", "green") if row.ok else Text("FAILS", "bold red")
        rows.append([row.id, verdict, row.statement, row.source, row.arithmetic, str(row.cases), worst, bitten])
    head = ["id", "", "statement", "source", "arithmetic", "cases", "worst residual", "falsifiers bite"]
    if console.width < 120:  # the sources are in --json
        head, rows = head[:3] + head[4:], [row[:3] + row[4:] for row in rows]
    _print_table(console, head, rows)
    failed = [row for row in report if not row.ok]
    for row in failed:
        console.print(f"[bold red]{row.id}[/] ", end="")
        console.print(row.problem, markup=False)
    console.print(
        f"{len(report.rows) - len(failed)} of {len(report.rows)} hold; {report.cases} cases, seed {report.seed}"
    )


# ── reproduce ──────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop reproduce interior-gradients --quick --out runs/interior")
def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An experiment, by its name or id: --list names them.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the experiments, and what data each can use.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Run every experiment, and make a page over them.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Data in place of what ships: mnist:FOLDER; --list says which.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Network in place of the experiment's own; as explain's MODEL.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="How many samples, in place of the experiment's own number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/NAME.")] = None,
    backend: Annotated[str, typer.Option(help="auto, or a name that relprop info lists.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples and steps: seconds in place of minutes.")
    ] = False,
    as_json: Json = False,
):
    """Run an experiment of the papers: figures, tables, numbers, and a page that says whether the claim holds.

    Exit code 0 if the run was made, whatever its verdict.
    """
    from relprop.experiments import command

    if show:
        rows = command.listed()
        if as_json:
            _print_json(rows)
        else:
            _print_table(_console(), list(rows[0]), [[_cell(v) for v in row.values()] for row in rows])
        return
    if (name is None) == (not everything):
        raise typer.BadParameter("name an experiment, or say --all; --list names them")
    if everything and (data is not None or model is not None or samples is not None):
        raise typer.BadParameter("--data, --model and --samples belong to one experiment, not to --all")
    asked = {"seed": seed, "backend": backend, "quick": quick, "resume": resume}
    if everything:
        done = command.run_all(out or Path("runs"), **asked)
    else:
        done = [command.run_one(name, out, data=data, model=model, samples=samples, **asked)]
    if as_json:
        _print_json(done)
    else:
        console = _console()
        for row in done:
            console.print(f"[bold]{row['id']}[/] {row['title']}: {row['verdict']}", soft_wrap=True)
            for line in row.get("findings", ()):
                console.print(f"  {line}", markup=False, soft_wrap=True)
            if row["page"]:
                console.print(f"  page: {row['page']}", soft_wrap=True)
    raise typer.Exit(0 if all(row["page"] for row in done) else 1)


# ── report ─────────────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop report runs/interior-gradients --out interior.html")
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Folder of relprop reproduce: a run, or one of --all.")
    ],
    out: Annotated[Path | None, typer.Option(help="The .html file; by default index.html in the folder.")] = None,
    as_json: Json = False,
):
    """Make the page of a run again from the run's files: the claim, what was found, figures, maps and tables.

    The page is one file that needs nothing else. Values of maps are read by pointer, touch or arrow keys.
    """
    from relprop.experiments import command

    page = command.report(run, out)
    if as_json:
        _print_json({"page": str(page)})
    else:
        _console().print(f"written: {page}", markup=False, soft_wrap=True)


# ── methods, metrics, info ──────────────────────────────────────────────────────────────────────────────────────


@app.command(epilog="Example:  relprop methods --json")
def methods(as_json: Json = False):
    """The methods, rules, composites and layers there are, with their options."""
    from relprop import catalogue
    from relprop.support import grouped_rows

    tables = catalogue.tables()
    if as_json:
        _print_json(tables)
        return
    console = _console()
    for title, rows in {**tables, "layers": grouped_rows()}.items():
        console.print(f"\n[bold]{title}[/]")
        head = list(rows[0])
        _print_table(console, head, [[_cell(row[c]) for c in head] for row in rows])


@app.command(epilog="Example:  relprop metrics --json")
def metrics(as_json: Json = False):
    """The metrics there are: what each measures, its equation, and what a better attribution gives."""
    from relprop import catalogue

    rows = catalogue.metric_rows()
    if as_json:
        _print_json(rows)
        return
    head = ["name", "what", "equation", "better", "takes"]
    _print_table(_console(), head, [[row[c] for c in head] for row in rows])


@app.command(epilog="Example:  relprop info")
def info(as_json: Json = False):
    """Versions, what was built and why, backends, devices, and the models that are shipped."""
    from relprop import catalogue

    about = catalogue.environment()
    if as_json:
        _print_json(about)
        return
    console = _console()
    for section, entries in about.items():
        console.print(f"[bold]{section}[/]")
        for name, value in entries.items():
            console.print(f"  {name:<22} {value}", markup=False, soft_wrap=True)


def _cell(value):
    if isinstance(value, dict):
        return ", ".join(f"{k}={v!r}" if v is not None else f"{k}=" for k, v in value.items())
    return (
        value if isinstance(value, str) else "yes" if value is True else "–" if value in (False, None) else str(value)
    )


def _console():
    """Colour on a terminal unless NO_COLOR is set; elsewhere plain text, wide enough not to be cut."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(highlight=False, width=width)


def _print_table(console, head, rows, numeric=False):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [max((len(row[k]) for row in rows), default=0) for k in range(len(head))]
    widths = _fitted([max(w, len(h)) for w, h in zip(cells, head, strict=True)], cells, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, (name, width) in enumerate(zip(head, widths, strict=True)):
        table.add_column(name, justify="right" if numeric and k else "left", overflow="fold", width=width)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))  # [bach2015] is no markup
    console.print(table)


def _fitted(widths, cells, room):
    """Column widths that fit: prose gives way first, then headings, then names, and numbers last."""
    widths = list(widths)
    floors = [w if k == 0 and w < 40 else min(w, 12) for k, w in enumerate(cells)]
    while sum(widths) + 3 * len(widths) > room and max(widths) > 1:
        excess = [w - f for w, f in zip(widths, floors, strict=True)]
        by = excess if max(excess) > 0 else widths
        widths[by.index(max(by))] -= 1
    return widths


def _print_json(value):
    print(json.dumps(value, indent=1, allow_nan=False))
