"""What a metric returns: a number, or a curve, for every sample; their mean, and how sure it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pyref.check import check_choice, nearest
from pyref.numerics import is_exact, zeros_like

__all__ = ["Summary", "Measurement", "Scores", "Curves", "bootstrap_interval", "joined"]


@dataclass(frozen=True)
class Summary:
    """The mean over samples and how sure it is. Each field is a number, or an array with one for each point of a curve.

    standard_error  s/√n with the n - 1 estimate of s; NaN for a single sample
    low, high       bootstrap interval of the mean: `bootstrap_interval`
    count           samples that have a value
    """

    mean: Any
    standard_error: Any
    low: Any
    high: Any
    count: Any


def bootstrap_interval(values, level=0.95, resamples=1000, seed=0, of="mean"):
    """(low, high): where the mean of the samples (axis 0) lies in a fraction `level` of resamplings with replacement.

    The percentile interval: quantiles (1 - level)/2 and (1 + level)/2 of the resampled means, or medians. NaN stands
    for a sample without a value. Computed in float64; NaN where fewer than two samples have a value.

    Parameters
        of  "mean" or "median"
    Source
        [efron1993] sec. 13.3.
    Raises
        ValueError  level is not between 0 and 1; resamples < 1; another `of`.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a number between 0 and 1")
    if int(resamples) != resamples or resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected a whole number, at least 1")
    check_choice("of", of, ("mean", "median"))
    v = np.asarray(values).astype(np.float64)
    n, there = v.shape[0], ~np.isnan(v)
    flat, known = np.reshape(np.where(there, v, 0), (n, -1)), np.reshape(there, (n, -1)).astype(np.float64)
    random = np.random.default_rng([seed, n])
    found = []
    for _ in range(resamples):
        drawn = random.integers(n, size=n)
        if of == "median":
            found.append(np.ravel(median(v[drawn])))
            continue
        weights = np.bincount(drawn, minlength=n).astype(np.float64)
        count = weights @ known
        found.append(np.where(count > 0, weights @ flat / np.maximum(count, 1), np.nan))
    single = np.sum(known, axis=0) < 2
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.nanquantile(np.where(single, 0, np.stack(found)), tails, axis=0)
    return tuple(np.reshape(np.where(single, np.nan, bound), v.shape[1:])[()] for bound in (low, high))


@dataclass(frozen=True)
class Measurement:
    """Values by series (what is compared: a method, an order of removal), and what was noted beside them.

    metric    name of the metric
    values    {series: array, sample first}; NaN only where `notes` says why there is no value
    unit      what a value is
    notes     {what: {series: array, sample first}}: ties, undefined cases, anything that tells how far to trust a value
    settings  what was asked for or chosen
    level     of the confidence interval of the mean
    """

    metric: str
    values: dict[str, Any]
    unit: str = ""
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    level: float = 0.95
    resamples: int = 1000

    def __getitem__(self, series):
        """The values of one series."""
        return self.values[series]

    @property
    def series(self):
        """Names of the series, in order."""
        return tuple(self.values)

    def only(self, *names):
        """The same measurement with some of its series, in that order.

        Raises
            ValueError  an unknown series.
        """
        for name in names:
            if name not in self.values:
                raise ValueError(f"{self.metric} has no series {name!r}; {nearest(name, self.values)}")
        parts: dict[str, Any] = {"values": _chosen(self.values, names)}
        parts |= {
            group: {what: _chosen(by_series, names) for what, by_series in getattr(self, group).items()}
            for group in ("notes", "statistics")
            if hasattr(self, group)
        }
        if hasattr(self, "distance"):
            parts["distance"] = _chosen(self.distance, names)
        return replace(self, **parts)

    @property
    def mean(self):
        """{series: mean over samples}; Fractions stay Fractions."""
        return {name: _mean(v)[0] for name, v in self.values.items()}

    def summary(self, series):
        """The `Summary` of one series."""
        return summarized(self.values[series], self.level, self.resamples)

    def rows(self):
        """The table as a list of dicts of strings, floats and integers, one for each series."""
        raise NotImplementedError

    def __str__(self):
        return table_text(f"{self.metric}: {self.unit}" if self.unit else self.metric, self.rows())


@dataclass(frozen=True)
class Scores(Measurement):
    """One number for each sample: values {series: (n,)}."""

    def rows(self):
        """series, mean, standard error, interval, median, samples, then the mean of each note."""
        rows = []
        for name, v in self.values.items():
            s = self.summary(name)
            rows.append(
                {
                    "series": name,
                    "mean": _plain(s.mean),
                    "s.e.": _plain(s.standard_error),
                    f"{100 * self.level:g}% from": _plain(s.low),
                    "to": _plain(s.high),
                    "median": _plain(median(v)),
                    "samples": int(s.count),
                    **_noted(self.notes, name),
                }
            )
        return rows


@dataclass(frozen=True)
class Curves(Measurement):
    """A curve for each sample: values {series: (n, k)}, its k points at `at` along `axis`.

    statistics  numbers that sum a curve up, {name: {series: (n,)}}
    """

    at: Any = None
    axis: str = ""
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)

    def rows(self):
        """A row for each series: the mean of every statistic over the samples, with its standard error, and notes."""
        rows = []
        for name, v in self.values.items():
            row: dict[str, Any] = {"series": name}
            for what, by_series in self.statistics.items():
                if name in by_series:
                    s = summarized(by_series[name], self.level, self.resamples)
                    row |= {what: _plain(s.mean), f"± {what}": _plain(s.standard_error)}
            rows.append(row | {"samples": v.shape[0], **_noted(self.notes, name)})
        return rows

    def points(self):
        """A row for each point of the axis: the mean of every series there, and its interval."""
        summaries = {name: self.summary(name) for name in self.values}
        return [
            {self.axis or "at": _plain(place)}
            | {
                title: _plain(part[k])
                for name, s in summaries.items()
                for title, part in ((name, s.mean), (f"{name} from", s.low), (f"{name} to", s.high))
            }
            for k, place in enumerate(self.at)
        ]

    def __str__(self):
        text = super().__str__()
        if self.statistics:
            return text
        means = [{k: v for k, v in row.items() if not k.endswith((" from", " to"))} for row in self.points()]
        return text + "\n" + table_text("", means).lstrip("\n")


def _chosen(by_series, names):
    return {name: by_series[name] for name in names if name in by_series}


def joined(parts):
    """One result of several parts of a data set: the samples of all of them, in order.

    A sample's values do not depend on the batch that it is in, where its index is passed in `indices`; so a job can
    measure a data set piece by piece, keep what is done, and join it at the end.

    Raises
        ValueError  nothing to join; parts of different metrics, series or positions.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("there is nothing to join")
    first = parts[0]
    for part in parts[1:]:
        same_axis = _places(part) == _places(first)
        if type(part) is not type(first) or part.series != first.series or part.metric != first.metric or not same_axis:
            raise ValueError(f"parts differ: {first.metric} of {first.series} and {part.metric} of {part.series}")
    per_sample = [name for name in ("values", "notes", "statistics", "distance", "output") if hasattr(first, name)]
    return replace(first, **{name: _joined([getattr(part, name) for part in parts]) for name in per_sample})


def _places(part):
    at = getattr(part, "at", None)
    return None if at is None else list(at)


def _joined(parts):
    """Arrays end to end along the sample, through dicts."""
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    return parts[0] if parts[0] is None else np.concatenate(parts)


def summarized(values, level=0.95, resamples=1000):
    """The `Summary` of values whose axis 0 is the sample."""
    mean, count = _mean(values)
    v = values.astype(np.float64)
    away = np.where(np.isnan(v), 0, v - np.asarray(mean).astype(np.float64))
    n = np.asarray(count, dtype=np.float64)
    spread = np.sqrt(np.sum(away * away, axis=0) / np.where(n > 1, (n - 1) * n, 1))
    low, high = bootstrap_interval(values, level, resamples)
    return Summary(mean, np.where(n > 1, spread, np.nan)[()], low, high, count)


def _mean(values):
    """(mean over axis 0 of what is there, how many are there)."""
    if is_exact(values):
        there = np.reshape(np.array([v == v for v in np.ravel(values)], dtype=bool), values.shape)
    else:
        there = ~np.isnan(values)
    count = np.sum(there, axis=0)
    total = np.sum(np.where(there, values, zeros_like(values)), axis=0)
    if is_exact(values):
        return total / np.maximum(count, 1).astype(object), count
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[()], count


def median(values):
    """The median over axis 0 of what is there, in float64; NaN where nothing is."""
    columns = np.reshape(values.astype(np.float64), (values.shape[0], -1)).T
    there = [column[~np.isnan(column)] for column in columns]
    return np.reshape([np.median(v) if len(v) else np.nan for v in there], values.shape[1:])[()]


def _noted(notes, name):
    return {what: _plain(np.mean(by[name].astype(np.float64))) for what, by in notes.items() if name in by}


def _plain(value):
    """A number as JSON and a table know it."""
    if isinstance(value, np.integer | int):
        return int(value)
    return float(value) if hasattr(value, "__float__") else str(value)


def table_text(title, rows):
    """Rows of one kind as aligned text under a title."""
    if not rows:
        return title
    head = list(dict.fromkeys(name for row in rows for name in row))
    lines = [head, *([_cell(row.get(name)) for name in head] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    left = {k for k, name in enumerate(head) if isinstance(rows[0].get(name), str)}
    text = (
        "  ".join(c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "\n".join([*([title] if title else []), *(line.rstrip() for line in text)])


def _cell(value):
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def series(label, part):
    """The name of a series: the method that was given, and the part of the metric."""
    return f"{label} {part}".strip()


def labelled(attributions, is_single: Any) -> dict[str, Any]:
    """{label: what was given}: a mapping of several as it is, a single thing under the empty label."""
    if isinstance(attributions, Mapping) and not is_single(attributions):
        if not attributions:
            raise ValueError("there is nothing to measure: attributions is an empty mapping")
        return {str(label): value for label, value in attributions.items()}
    return {"": attributions}
