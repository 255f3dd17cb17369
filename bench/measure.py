"""Time and memory: each contender in a process of its own, their runs in turn."""

import importlib
import multiprocessing
import os
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

__all__ = ["Measured", "measure", "Unavailable"]


class Unavailable(Exception):
    """A contender that is not installed, or refuses the row; the message says which."""


@dataclass
class Measured:
    """One contender on one row.

    seconds  of every run
    extra    the most memory that the first run held beyond what was there before it, in bytes
    values   its answer
    refused  why it has none
    """

    contender: str
    seconds: list[float] = field(default_factory=list)
    extra: int | None = None
    values: Any = None
    refused: str | None = None

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def spread(self):
        """Half the distance of the quartiles, in parts of the median."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def _memory(key):
    """A line of /proc/self/status in bytes."""
    return int(re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) << 10


def _serve(pipe, contender, row, options):
    """The child: build, run once under a fresh high-water mark, then run whenever asked."""
    try:
        run = importlib.import_module(f"bench.{contender}").prepare(row, **options)
        begin, marked = None, Path("/proc/self/clear_refs")
        if marked.exists():
            marked.write_text("5")
            begin = _memory("VmRSS")
        values = run()
        extra = _memory("VmHWM") - begin if begin is not None else None
        pipe.send(("ready", (extra, values)))
        while pipe.recv() == "run":
            began = perf_counter()
            run()
            pipe.send(perf_counter() - began)
    except Unavailable as why:
        pipe.send(("refused", str(why)))
    except Exception as why:  # a peer that fails on a network is a result, and says so in the table
        pipe.send(("refused", f"{type(why).__name__}: {str(why).splitlines()[0][:120] if str(why) else ''}"))


def measure(row, contenders, backend="cpu", runs=5, seconds=2.0, threads=None, tell=lambda text: None):
    """{contender: Measured}: a warm-up, then rounds in which each runs once, until all have `runs` and `seconds`."""
    threads = threads or os.cpu_count()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    spawn = multiprocessing.get_context("spawn")
    results, pipes, children = {}, {}, []
    for contender in contenders:
        tell(f"{row.name}: {contender}")
        here, there = spawn.Pipe()
        child = spawn.Process(
            target=_serve,
            args=(there, contender, row, {"backend": backend} if contender == "ours" else {}),
            daemon=True,
        )
        child.start()
        there.close()
        try:
            word, value = here.recv()
        except EOFError:
            word, value = "refused", "its process ended (out of memory?)"
        result = results[contender] = Measured(contender)
        children.append(child)
        if word == "ready":
            (result.extra, result.values), pipes[contender] = value, here
        else:
            result.refused = value
    spent, rounds = 0.0, 0
    while pipes and (rounds < runs or spent < seconds):
        for contender, pipe in pipes.items():
            pipe.send("run")
            took = pipe.recv()
            results[contender].seconds.append(took)
            spent += took / len(pipes)
        rounds += 1
        tell(f"{row.name}: round {rounds}")
    for pipe in pipes.values():
        pipe.send("stop")
    for child in children:
        child.join()
    return results
