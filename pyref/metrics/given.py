"""Outputs that were computed elsewhere: what a metric asks a model, and the answers given back to it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyref.metrics.removal import Removal, removal, silent

__all__ = ["masked_inputs", "given_outputs"]


@dataclass(frozen=True)
class _Asking(Removal):
    """Notes what is asked, and answers 1 + the number of the question, so that no metric finds a reason to stop."""

    questions: list = field(default_factory=list)

    @property
    def output(self):
        return np.ones(len(self.changes))

    def scores(self, rows, removed):
        first = len(self.questions)
        self.questions.extend(zip(rows.tolist(), removed, strict=True))
        return np.arange(first + 1.0, len(self.questions) + 1.0)


@dataclass(frozen=True)
class _Answering(Removal):
    """Answers from a table (n, questions), each sample's in the order in which they come."""

    answers: Any = None
    asked: Any = None  # (n,): how many of each sample have been answered

    @property
    def output(self):
        return self.answers[:, 0]

    def scores(self, rows, removed):
        found = []
        for row in rows.tolist():
            self.asked[row] += 1
            if self.asked[row] >= self.answers.shape[1]:
                raise ValueError(
                    f"outputs has {self.answers.shape[1]} columns, but more are asked for; "
                    "they come from masked_inputs with the same metric and options, and serve one call"
                )
            found.append(self.answers[row, self.asked[row]])
        return np.array(found, dtype=self.answers.dtype)


def masked_inputs(metric, x, attributions, *, mask=None, baseline="zero", **options):
    """The inputs at which a metric wants the output, for a model that is not at hand.

    Parameters
        metric     a function that removes features: `sensitivity_n`, `morf_lerf`, `insertion_deletion`,
                   `pixel_perturbation`, `digit_flip`, `completeness`, or `infidelity` by subsets
        the others as for the metric, but for the model and what belongs to it
    Yields
        for each sample the array (1 + K, …) of the sample itself and its K masked copies ({name: array} for several
        inputs). S_c of all of them, stacked to (n, 1 + K), goes into `given_outputs`.
    """
    plain = removal(silent, x, mask=mask, baseline=baseline)
    asking = _Asking(plain.run, plain.labels, plain.fills, plain.features, plain.changes)
    metric(asking, x, attributions, **options)
    for row in range(len(plain.output)):
        masks = [np.zeros(plain.features, dtype=bool), *(m for k, m in asking.questions if k == row)]
        values = plain.masked(np.full(len(masks), row), np.stack(masks))
        yield values if len(values) > 1 else next(iter(values.values()))


def given_outputs(outputs, x, *, mask=None):
    """Outputs that were computed at `masked_inputs`, for one call of the same metric in the place of the network.

    Shapes
        outputs (n, 1 + K): S_c(x) of each sample, then that of its K masked copies
    Raises
        ValueError  another number of samples than x has; later, fewer columns than the metric asks for.
    """
    plain = removal(silent, x, mask=mask)
    outputs = np.asarray(outputs)
    if outputs.ndim != 2 or outputs.shape[0] != len(plain.output):
        raise ValueError(f"outputs has shape {outputs.shape}, expected ({len(plain.output)}, 1 + the masked copies)")
    asked = np.zeros(len(outputs), dtype=int)
    return _Answering(plain.run, plain.labels, plain.fills, plain.features, plain.changes, outputs, asked)
