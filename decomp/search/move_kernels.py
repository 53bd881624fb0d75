"""Numba kernels that list moves of jobs: a run for one job, or exchanges in which another job gives way.

A move is a row (job, candidate, start, other job, its candidate, its start); -1: rejected, or no other job.
"""

from __future__ import annotations

from decomp.bound.job_kernels import run_value
from decomp.compiled import compiled
from decomp.schedule.placing import best_place, exchange, put_run, runs_fit


@compiled
def list_moves(price, room, rows, run, start, least, found):
    """Write all moves into `found` that gain more than `least` at the prices, as far as it goes; their number.

    `room` (S, T) : left by the jobs, which run as `run` and `start` (J,) say; the same again in the end.
    """
    n = 0
    for j in range(len(run)):
        now = run_value(price, rows, j, run[j], start[j])
        put_run(room, rows, j, run[j], start[j], -1.0)
        if rows.optional[j] and now > least and n < len(found):
            found[n] = j, -1, -1, -1, -1, -1
            n += 1
        for k in range(rows.ptr[j], rows.ptr[j + 1]):
            n = list_runs(price, room, rows, j, k, now - least, found, n)
            n = list_exchanges(price, room, rows, j, k, now - least, run, start, found, n)
        put_run(room, rows, j, run[j], start[j], 1.0)
    return n


@compiled
def list_runs(price, room, rows, j, k, most, found, n):
    """The runs of job j at candidate k that fit and are worth less than `most`, written from row n on; the next row."""
    for s in range(rows.release[j], rows.release[j] + rows.n_starts[j]):
        allowed = rows.allowed[rows.first[k] + s - rows.release[j]] and n < len(found)
        if allowed and run_value(price, rows, j, k, s) < most and runs_fit(room, rows, j, k, s):
            found[n] = j, k, s, -1, -1, -1
            n += 1
    return n


@compiled
def list_exchanges(price, room, rows, j, k, most, run, start, found, n):
    """The same for the best run of job j where another gives way, see `exchange`."""
    for other in range(len(run)):
        here = run[other]
        if other == j or here < 0 or rows.site[here] != rows.site[k] or n == len(found):
            continue
        value, s, k2, s2 = exchange(price, room, rows, j, k, other, run, start)
        if value < most and (k2 != here or s2 != start[other]):
            found[n] = j, k, s, other, k2, s2
            n += 1
    return n


@compiled
def change_loads(rows, run, start, moves, load):
    """Change each of the loads (move, S, T), all of them the present one, by a move."""
    for m in range(len(moves)):
        for q in range(0, 6, 3):
            j, k, s = moves[m, q], moves[m, q + 1], moves[m, q + 2]
            if j >= 0:
                put_run(load[m], rows, j, run[j], start[j], 1.0)
                put_run(load[m], rows, j, k, s, -1.0)


@compiled
def place_again(price, room, rows, run, start, chosen):
    """Reject the chosen jobs, then place them one after the other where they fit best at the prices.

    False if a job that may not be rejected finds no place.
    """
    for j in chosen:
        put_run(room, rows, j, run[j], start[j], -1.0)
    for j in chosen:
        _, run[j], start[j] = best_place(price, room, rows, j)
        if run[j] < 0 and not rows.optional[j]:
            return False
        put_run(room, rows, j, run[j], start[j], 1.0)
    return True
