"""Whether the machine is at its best: others may share its processors with us."""

from time import perf_counter

import numpy as np

__all__ = ["Pace"]

SLOWED = 1.1  # times its best that a calm machine may take
PATIENCE = 2.0  # seconds for which a machine that is slower is waited for


class Pace:
    """The time of one matrix product on all threads, beside the least that it ever took here.

    Two virtual processors of a shared machine may be put on the two threads of one core, where products take twice as
    long, and elsewhere again a second later; a processor that has slept is put anew.
    """

    def __init__(self, n=1024):
        from relprop import cpu

        x, b = np.ones((n, n), np.float32), np.zeros(n, np.float32)
        self.work = lambda: cpu.dense_forward(x, x, b)
        self.best = min(self._seconds() for _ in range(20))

    def settled(self):
        """Wait, at work, until the machine is at its best; whether it came to be."""
        end = perf_counter() + PATIENCE
        while perf_counter() < end:
            now = self._seconds()
            self.best = min(self.best, now)
            if now < SLOWED * self.best:
                return True
        return False

    def _seconds(self):
        began = perf_counter()
        self.work()
        return perf_counter() - began
