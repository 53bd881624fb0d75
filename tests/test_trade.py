"""A schedule along its curve: feasible at every budget, about as cheap as a linear program of its own says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from decomp.accounts import account, emissions_t
from decomp.certificate import check
from decomp.families import generate
from decomp.frontier import at_budget
from decomp.instance import Instance
from decomp.options import Options
from decomp.polish import PolishTask, polish
from decomp.recovery import Incumbent
from decomp.restriction import restrict
from decomp.result import Result, Schedule, Status
from decomp.solve import muster, solve
from decomp.team import Serial
from decomp.trade import Trade, mix, trade_all

SEEDS = (5, 8, 14)
TOP = 2000.0  # USD/t
ACCURACY = 1e-3  # of the cost
MODES = 1e-2  # likewise: what modes of batteries cost that are chosen at the least price of a tonne


@cache
def traded(seed: int) -> tuple[Instance, Trade]:
    instance = at_budget(generate("small", seed=seed), np.inf)
    result = solve(instance, Serial(), Options.from_dict(dict(rel_gap=0.05, method="lagrangian")))
    assert result is not None and result.schedule is not None
    schedule: Schedule = result.schedule
    found = Incumbent(schedule, result.incumbent, None)  # type: ignore[arg-type]  # its fixing is only passed on
    crew = muster(instance, Serial())
    trade = trade_all(instance, found, crew, instance.n_sites, (0.0, 0.0, TOP), ACCURACY * abs(result.incumbent))
    assert trade is not None
    return instance, trade


@pytest.mark.parametrize("seed", SEEDS)
def test_every_schedule_of_a_curve_is_feasible_and_as_cheap_as_the_curve_says(seed: int) -> None:
    instance, trade = traded(seed)
    assert (np.diff(trade.tonnes) > 0).all() and (np.diff(trade.cost) < 0).all()
    middle = 0.5 * (trade.tonnes[1:] + trade.tonnes[:-1])
    for tonnes in (*trade.tonnes[1:], *middle):
        found = trade.at(tonnes)
        assert found is not None and emissions_t(instance, found.schedule).sum() <= tonnes
        claim = Result(Status.LIMIT, -np.inf, found.cost, found.schedule, None)
        at = at_budget(instance, tonnes)
        claim.provenance["instance_hash"] = at.content_hash()
        certificate = check(at, claim, bound=False)
        assert certificate.ok, certificate.findings
        assert found.cost <= trade.cost_at(tonnes) + 1e-6 * abs(found.cost)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_curve_is_the_linear_programs_with_the_integers_held_but_for_modes(seed: int) -> None:
    instance, trade = traded(seed)
    whole = np.arange(instance.n_sites)
    for tonnes in np.linspace(trade.tonnes[0], trade.tonnes[-1], 5)[1:-1]:
        part = restrict(at_budget(instance, tonnes), trade.incumbent.schedule, whole)
        best = polish(PolishTask(part.instance, trade.incumbent.schedule))
        found = trade.at(tonnes)
        assert best is not None and found is not None
        least = account(instance, best).net_cost
        assert -1e-6 * abs(least) <= found.cost - least <= MODES * abs(least)


def test_no_schedule_below_the_cleanest_and_the_cheapest_above_all() -> None:
    trade = traded(8)[1]
    assert np.isinf(trade.cost_at(trade.tonnes[0] - 1.0)) and trade.cost_at(1e9) == trade.cost[-1]
    found = trade.at(1e9)
    assert found is not None and found.cost == pytest.approx(trade.cost[-1], rel=1e-9)


def test_a_mixture_cancels_what_is_bought_and_sold_at_once() -> None:
    instance, trade = traded(8)
    schedule = trade.incumbent.schedule
    two, none = np.full_like(schedule.import_mw, 2.0), np.zeros_like(schedule.import_mw)
    one = replace(schedule, import_mw=two, export_mw=none)
    other = replace(schedule, import_mw=none, export_mw=two)
    mixed = mix(one, other, 0.25)
    assert (mixed.import_mw == 1.0).all() and (mixed.export_mw == 0.0).all()
    assert (mixed.job_site == schedule.job_site).all() and (mixed.generator_on == schedule.generator_on).all()
