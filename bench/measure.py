"""Time and memory: each contender in a process of its own, their runs in turn."""

import ctypes
import gc
import importlib
import multiprocessing
import os
import re
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from bench.pace import Pace

__all__ = ["Measured", "measure", "Unavailable"]


SHORT = 5.0  # seconds up to which a run is repeated for its memory alone
BURST = 0.02  # seconds for which calls are repeated to make one run
ONCE = 15.0  # seconds from which a run is not repeated
REST = 2.0  # seconds after which nobody waits any longer for the others' threads to come to rest


class Unavailable(Exception):
    """A contender that is not installed, or refuses the row; the message says which."""


@dataclass
class Measured:
    """One contender on one row.

    seconds  of every run
    hurried  runs that began while the machine itself was slower than at its best
    extra    the most memory that a run held beyond what was there before it, in bytes
    values   its answer
    refused  why it has none
    """

    contender: str
    seconds: list[float] = field(default_factory=list)
    hurried: int = 0
    extra: int | None = None
    values: Any = None
    refused: str | None = None

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def spread(self):
        """Half the distance of the quartiles, in parts of the median; None of a single run."""
        if len(self.seconds) < 2:
            return None
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2 / self.median


def _memory(key):
    """A line of /proc/self/status in bytes."""
    return int(re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1]) << 10


def _peak(run):
    """(the most memory held during a run beyond what was there before, its answer, seconds)."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # what was freed is not there any more
        libc.malloc_trim(0)
    if "relprop.cpu" in sys.modules:
        sys.modules["relprop.cpu"].release_memory()
    begin, marked = None, Path("/proc/self/clear_refs")
    if marked.exists():
        marked.write_text("5")
        begin = _memory("VmRSS")
    began = perf_counter()
    values = run()
    took = perf_counter() - began
    return _memory("VmHWM") - begin if begin is not None else None, values, took


def _burst(run):
    """Seconds of a call; the median of as many as take `BURST`, where one is shorter."""
    found: list[float] = []
    while not found or sum(found) < BURST:
        began = perf_counter()
        run()
        found.append(perf_counter() - began)
    return statistics.median(found)


def _serve(pipe, contender, row, options):
    """The child: build, run under a fresh high-water mark, then run whenever asked."""
    try:
        run = importlib.import_module(f"bench.{contender}").prepare(row, **options)
        extra, values, took = _peak(run)
        for _ in range(2 if took < SHORT else 0):  # without what a first call loads and a second one records, and keeps
            extra, _, _ = _peak(run)
        pipe.send(("ready", (took, extra, values)))
        while pipe.recv() == "run":
            pipe.send(("took", _burst(run)))
    except Unavailable as why:
        pipe.send(("refused", str(why)))
    except Exception as why:  # a peer that fails on a network is a result, and says so in the table
        pipe.send(("refused", f"{type(why).__name__}: {str(why).splitlines()[0][:120] if str(why) else ''}"))


class _Child:
    """A contender in a process of its own, which may fail, die or take too long without harm to the others."""

    def __init__(self, contender, row, options):
        spawn = multiprocessing.get_context("spawn")
        self.pipe, there = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(there, contender, row, options), daemon=True)
        self.process.start()
        there.close()

    def hear(self, limit):
        """(word, value) from the process, within `limit` seconds."""
        try:
            if self.pipe.poll(limit):
                return self.pipe.recv()
        except EOFError:
            return "refused", "its process ended (out of memory?)"
        self.process.kill()
        return "refused", f"it took more than {limit:.0f} s"

    def computed(self):
        """Nanoseconds that the process has computed so far; 0 where the system does not say."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        try:
            return sum(int(task.read_text().split()[0]) for task in tasks)
        except OSError:  # a thread has ended meanwhile
            return 0

    def run(self, limit):
        try:
            self.pipe.send("run")
        except OSError:
            return "refused", "its process ended (out of memory?)"
        return self.hear(limit)

    def stop(self):
        try:
            self.pipe.send("stop")
        except OSError:
            pass
        self.process.join()


def _rest(children):
    """Wait until no contender computes: threads of some go on spinning for 50 ms after their work is done, on a
    processor that the next one needs."""
    end, before = perf_counter() + REST, -1
    while perf_counter() < end:
        now = sum(child.computed() for child in children)
        if before >= 0 and 0 <= now - before < 2 * 10**5:
            return
        before = now
        sleep(0.01)


def measure(
    row,
    contenders,
    backend="cpu",
    runs=5,
    seconds=2.0,
    threads=None,
    tell=lambda text: None,
    budget=45.0,
    limit=300.0,
    pace=None,
):
    """{contender: Measured}: a warm-up, then rounds in which each runs once, after the others have come to rest.

    Rounds end when all have `runs` and took `seconds`, or when the row has taken its budget, whatever the number of
    runs. Each begins when the machine itself is at its best, by its `pace`, or does not come to be. A run that takes
    `ONCE` or more by itself is not repeated: its warm-up is the measurement. A contender that fails or takes longer
    than `limit` for one answer is one that refuses.
    """
    threads, pace = threads or os.cpu_count(), pace or Pace()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    results, children = {}, {}
    for contender in contenders:
        tell(f"{row.name}: {contender}")
        child = children[contender] = _Child(contender, row, {"backend": backend} if contender == "ours" else {})
        result = results[contender] = Measured(contender)
        word, value = child.hear(limit)
        if word == "ready":
            took, result.extra, result.values = value
            if took >= ONCE:
                result.seconds.append(took)
        else:
            result.refused = value
    racing = [c for c in contenders if not results[c].refused and not results[c].seconds]
    began, spent, rounds = perf_counter(), 0.0, 0
    while racing and (rounds == 0 or (spent < budget and (rounds < runs or spent < seconds * len(racing)))):
        for contender in list(racing):
            _rest(children.values())
            results[contender].hurried += not pace.settled()
            word, value = children[contender].run(limit)
            if word == "refused":
                results[contender].refused = value
                racing.remove(contender)
                continue
            results[contender].seconds.append(value)
        spent = perf_counter() - began
        rounds += 1
        tell(f"{row.name}: round {rounds}")
    for child in children.values():
        child.stop()
    return results
