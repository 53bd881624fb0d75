"""What a rolling run goes on from: after every window, what run it is, the rows of its plans and its last prices.

The plans themselves are where `write` puts them. Going on carries out their first steps again, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from decomp.bound.lagrangian import Start
from decomp.files.atomic import atomic_path
from decomp.files.store import instance_hash, read_instance, read_result
from decomp.model.instance import InputError
from decomp.model.validate_result import validate_result
from decomp.rolling.planner import Done, Planned
from decomp.rolling.write import STATE, plan_path
from decomp.state.checkpoint import FREE_TO_CHANGE, differences


class Saved(NamedTuple):
    """What a run had done when it ended, the start of its next solve, and the digests of the data that it had read."""

    done: list[Done]
    start: Start | None
    data: Mapping[str, str]


def save(
    folder: Path, facts: Mapping[str, Any], plans: Sequence[Planned], start: Start | None, data: Mapping[str, str]
) -> None:
    """Keep what the run `facts` (numbers, texts, lists and mappings of them) has come to.

    `start` : from which the next window's solve begins, if not cold. `data` : digests of the files read, by name.
    """
    arrays = {} if start is None else dict(price=start.price, columns=start.columns)
    numbers = None if start is None else (start.carbon_price, start.step)
    text = json.dumps(dict(facts=facts, plans=[asdict(p) for p in plans], start=numbers, data=data))
    with atomic_path(folder / STATE) as beside, open(beside, "wb") as file:
        np.savez(file, allow_pickle=False, state=np.array(text), **arrays)


def saved(folder: Path, facts: Mapping[str, Any]) -> Saved:
    """What the run `facts` had come to when it ended.

    Raises
    ------
    InputError : nothing to go on from, of another run (which fact, before and now), or damaged.
    """
    path = folder / STATE
    try:
        with np.load(path, allow_pickle=False) as file:
            state = json.loads(str(file["state"]))
            was, plans, start, data = state["facts"], state["plans"], None, dict(state["data"])
            if state["start"] is not None:
                carbon_price, step = state["start"]
                start = Start(file["price"], carbon_price, file["columns"], step)
    except FileNotFoundError:
        raise InputError(f"{folder}: no run to go on with; {STATE}, which every window leaves, is not there") from None
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'damaged').lower()}") from None
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile):
        raise InputError(f"{path}: damaged") from None
    before = json.loads(json.dumps(facts))
    changes = [
        f"{key} was {old}, is {new}"
        for key, old, new in differences(was, before)
        if key.removeprefix("options.") not in FREE_TO_CHANGE
    ]
    if changes:
        raise InputError(f"{folder}: the run there is another one: {'; '.join(changes)}")
    return Saved(list(_done(folder, plans)), start, data)


def refuse_changed(folder: Path, before: Mapping[str, str], data: Mapping[str, str]) -> None:
    """Refuse to go on where a data file is not what the run read before; digests by name."""
    if changed := [name for name in data if before.get(name, data[name]) != data[name]]:
        raise InputError(f"{folder}: the run there is another one: {', '.join(changed)}: changed since")


def _done(folder: Path, plans: Sequence[Mapping[str, Any]]) -> Iterator[Done]:
    for number, row in enumerate(plans):
        fleet, plan = plan_path(folder, number, "fleet.h5"), plan_path(folder, number, "h5")
        instance, result = read_instance(fleet), read_result(plan)
        if result.schedule is None or instance_hash(plan) != instance.content_hash():
            raise InputError(f"{plan}: not a plan for {fleet.name}")
        try:
            validate_result(instance, result)
        except InputError as error:
            raise InputError(f"{plan}: {error}") from error
        yield Done(Planned(**row), instance, result.schedule)
