"""Logs of jobs with their attempts, in JSON, as the Philly clusters publish them: a table with a row for each job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from decomp.ingest.layout import Layout
from decomp.ingest.table import Table
from decomp.model.instance import InputError

LAST = ("start_time", "end_time", "gpus")


def parse_attempts(text: str, name: str, layout: Layout) -> Table:
    """A row for each job: its own texts, and start, end and GPUs of its last attempt, blank if it never ran.

    Raises
    ------
    InputError : not a JSON list of jobs with attempts; names file and line.
    """
    import pandas as pd

    rows, lines = [], []
    for line, job in _members(text, name):
        if not isinstance(job, dict) or not isinstance(job.get("attempts"), list):
            raise InputError(f'{name}, line {line}: is no job with a list of "attempts"; is the format right?')
        try:
            rows.append(_row(job))
        except (TypeError, AttributeError) as error:
            raise InputError(f"{name}, line {line}: an attempt of this job cannot be understood: {error}") from error
        lines.append(line)
    if not rows:
        raise InputError(f"{name}: has no jobs")
    header = list(dict.fromkeys(key for row in rows for key in row))
    frame = pd.DataFrame([[row.get(key, "") for key in header] for row in rows], columns=range(len(header)), dtype=str)
    return Table(name, layout, header, frame, lines=np.array(lines))


def _row(job: dict[str, Any]) -> dict[str, str]:
    own = {key: "" if value is None else str(value) for key, value in job.items() if not isinstance(value, list)}
    last = job["attempts"][-1] if job["attempts"] else {}
    gpus = sum(len(place["gpus"]) for place in last.get("detail") or [])
    return own | dict(zip(LAST, (last.get("start_time") or "", last.get("end_time") or "", str(gpus)), strict=True))


def _members(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """(line, member) of a JSON list."""
    decoder = json.JSONDecoder()
    at, line = len(text) - len(text.lstrip()), 1
    if text[at : at + 1] != "[":
        raise InputError(f"{name}: is no JSON list of jobs")
    counted, at = 0, at + 1
    while True:
        while text[at : at + 1] in (" ", "\n", "\t", ","):
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if text[at : at + 1] == "]":
            return
        try:
            member, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InputError(f"{name}, line {error.lineno}: is no JSON: {error.msg}") from error
        yield line, member
