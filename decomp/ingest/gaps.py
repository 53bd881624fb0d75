"""Records on an even grid of time: duplicates, strays, changes of resolution, gaps and the rules that fill them."""

from __future__ import annotations

import math

import numpy as np

from decomp.ingest.layout import Series
from decomp.model.instance import Array, InputError

RULES = ("refuse", "interpolate", "hold", "day_before")


def phase(times: Array, step: int) -> int:
    """The remainder by a step, s, that most times have."""
    if not len(times):
        return 0
    found, count = np.unique(np.mod(times, step), return_counts=True)
    return int(found[count.argmax()])


def spacing(times: Array) -> int:
    """The most frequent time between records, s; 0 if there are fewer than two."""
    apart = np.diff(np.unique(times))
    if not len(apart):
        return 0
    found, count = np.unique(apart, return_counts=True)
    return int(found[count.argmax()])


def resolution_changes(times: Array, steps: list[int]) -> list[tuple[int, int]]:
    """(first time, step), s, of each resolution, in the order in which `steps` names them."""
    times = np.unique(times)
    apart = np.diff(times)
    begin, found = 0, [(int(times[0]) if len(times) else 0, steps[0])]
    for before, after in zip(steps, steps[1:], strict=False):
        rest = apart[begin:]
        if after < before:
            first = np.flatnonzero(rest == after)
            at = begin + int(first[0]) if first.size else len(apart) + 1
        else:
            last = np.flatnonzero(rest == before)
            at = begin + (int(last[-1]) + 1 if last.size else 0)
        if at >= len(times):
            break
        begin = at
        found.append((int(times[at]), after))
    return found


def steps_of(times: Array, changes: list[tuple[int, int]]) -> Array:
    """Length of each record, s."""
    begin = np.array([b for b, _ in changes])
    length = np.array([s for _, s in changes])
    return length[np.maximum(np.searchsorted(begin, times, side="right") - 1, 0)]


def held_hours(times: Array, step: int) -> Array:
    """Records, sorted, that hold for a whole hour although records are `step` apart elsewhere, (record,).

    They stand on the hour, and so does the next: two such hours in a row are a coarser resolution, no gap.
    """
    whole = np.zeros(len(times), dtype=bool)
    if step >= 3600 or len(times) < 3:
        return whole
    hourly = (np.diff(times) == 3600) & (times[:-1] % 3600 == 0)
    twice = hourly[:-1] & hourly[1:]
    whole[:-2] |= twice
    whole[1:-1] |= twice
    whole[-1] = whole[-2] and hourly[-1]
    return whole


def on_grid(times: Array, step: int) -> tuple[Array, Array]:
    """Even times from the first to the last, s, and the position of each of `times` among them."""
    first = int(times.min())
    at = (times - first) // step
    return first + step * np.arange(int(at.max()) + 1), at


def check_rule(rule: object) -> None:
    """Refuse a rule for missing values that does not exist."""
    number = isinstance(rule, (int, float)) and not isinstance(rule, bool) and math.isfinite(rule)
    if rule not in RULES and not number:
        raise InputError(f'missing = {rule!r}: must be "refuse", "interpolate", "hold", "day_before" or a number')


def fill_gaps(values: Array, series: Series, step_h: float) -> Array:
    """Missing values filled by the rule wherever a gap is short enough."""
    rule, n = series.missing, len(values)
    missing = np.isnan(values)
    if rule == "refuse" or not missing.any():
        return values
    usual = {"interpolate": 3.0, "hold": 3.0, "day_before": 24.0}.get(rule, math.inf)
    longest = series.max_gap_h if series.max_gap_h is not None else usual
    filled, day = values.copy(), round(24 / step_h)
    starts = np.flatnonzero(missing & ~np.r_[False, missing[:-1]])
    stops = np.flatnonzero(missing & ~np.r_[missing[1:], False]) + 1
    for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
        if (b - a) * step_h > longest + 1e-9:
            continue
        if rule == "hold" and a > 0:
            filled[a:b] = values[a - 1]
        elif rule == "interpolate" and a > 0 and b < n:
            filled[a:b] = np.interp(np.arange(a, b), [a - 1, b], values[[a - 1, b]])
        elif rule == "day_before":
            for k in range(max(a, day), b):
                filled[k] = filled[k - day]
        elif not isinstance(rule, str):
            filled[a:b] = rule
    return filled


def resample(seconds: Array, values: Array, edges: Array, step: float, how: str, lead: float) -> Array:
    """Values per period, (period,), from records at `seconds` that last `step` seconds.

    "step" is the time average of held values: the mean of shorter records, the held value of longer ones.
    "linear" interpolates at the middle of each period between the middles of the records, "samples" between
    their stamps, `lead` after their start; records shorter than a period are averaged.
    """
    good = ~np.isnan(values)
    if how != "step" and step >= edges[1]:
        middle = seconds + (step / 2 if how == "linear" else lead)
        return np.interp((edges[:-1] + edges[1:]) / 2, middle[good], values[good])
    total = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0) * step)])
    at = np.interp(edges, np.append(seconds, seconds[-1] + step), total)
    return np.diff(at) / np.diff(edges)
