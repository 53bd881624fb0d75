"""Devices written in Pyomo: what becomes rows, and what is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyomo.environ as pyo
import pytest

import decomp
from decomp.model.instance import InputError, Instance
from tiny import tiny

SITE = "Albany"


def block_of(instance: Instance) -> Any:
    block = decomp.site_block(instance, SITE)
    block.x = pyo.Var(block.T, bounds=(0, 2), doc="cold, MW")
    return block


def over_time(block: Any, rule: Callable[[Any, int], Any]) -> Any:
    return pyo.Constraint(block.T, rule=rule)


def test_a_block_becomes_rows() -> None:
    instance = tiny()
    block, n = block_of(instance), instance.n_periods
    block.tank = pyo.Var(block.T_ends, bounds=(0, 5), doc="stored cold, MWh")
    block.on = pyo.Var(domain=pyo.Binary)
    block.off = pyo.Var(bounds=(0, 1))
    block.off.fix(1.0)
    block.keep = over_time(block, lambda b, t: b.tank[t + 1] - b.tank[t] == 0.5 * b.x[t] + b.off - 1)
    block.room = over_time(block, lambda b, t: pyo.inequality(None, b.x[t] - 3 * b.it_power[t], 1))
    block.unused = over_time(block, lambda b, t: b.x[t] <= 1)
    block.unused.deactivate()
    block.one = pyo.Constraint(expr=block.generation[2] + block.stored[3] >= -1)
    block.power = pyo.Expression(block.T, rule=lambda b, t: -0.25 * b.x[t])
    block.cost = pyo.Expression(expr=2 * block.on + 3 * block.x[1])
    block.emissions = pyo.Expression(block.T, rule=lambda b, t: 0.1 * b.x[t])
    found = decomp.attach(instance, SITE, block, name="chilled water")
    v, r, e = found.device_variables, found.device_rows, found.device_entries
    assert found.devices.name.tolist() == ["chilled water"] and found.devices.kind.tolist() == ["pyomo"]
    assert len(v.low) == n + (n + 1) + 1
    x = v.name == "x"
    assert v.unit[x].tolist() == ["MW"] * n and v.index[x].tolist() == v.period[x].tolist() == list(range(n))
    assert (v.power[x] == -0.25).all() and (v.emission[x] == 0.1).all()
    assert v.cost[x].tolist() == [0.0, 3.0] + [0.0] * (n - 2)
    tank = v.name == "tank"
    assert v.index[tank].tolist() == list(range(n + 1)) and v.period[tank].tolist() == [0, *range(n)]
    assert v.integer[v.name == "on"].all() and v.cost[v.name == "on"].tolist() == [2.0]
    assert sorted(set(r.name.tolist())) == ["keep", "one", "room"]
    keep = np.flatnonzero(r.name == "keep")
    assert (r.low[keep] == 0.0).all() and (r.high[keep] == 0.0).all()
    room = np.flatnonzero(r.name == "room")
    assert (r.high[room] == 1.0).all() and np.isneginf(r.low[room]).all()
    used = e.quantity[e.row == room[0]].tolist()
    assert sorted(used) == [0, 2]
    assert found.content_hash() != instance.content_hash()


def test_power_of_what_the_site_does_becomes_a_variable_of_its_own() -> None:
    instance = tiny()
    block = block_of(instance)
    block.power = pyo.Expression(block.T, rule=lambda b, t: 0.1 - 0.05 * b.it_power[t])
    block.cost = pyo.Expression(expr=7 + 0.5 * block.grid_import[0])
    found = decomp.attach(instance, SITE, block, name="pumps")
    v = found.device_variables
    power, cost = v.name == "power_of_device", v.name == "cost_of_device"
    assert power.sum() == instance.n_periods and (v.power[power] == 1.0).all()
    assert (v.high[power] <= 0.1).all() and (v.low[power] < 0.1).all()
    assert cost.sum() == 1 and v.cost[cost].tolist() == [1.0] and v.low[cost].tolist() == [7.0]


REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {}


def refused(text: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def note(spoil: Callable[[Any], None]) -> Callable[[Any], None]:
        REFUSED[spoil.__name__] = spoil, text
        return spoil

    return note


@refused(r"x\[0\]: has no finite upper bound")
def unbounded(b: Any) -> None:
    b.x[0].setub(None)


@refused(r"x\[0\]: has no finite lower bound")
def infinite(b: Any) -> None:
    b.x[0].setlb(-np.inf)


@refused(r"x\[0\]: has a bound that is not a number")
def bound_is_nan(b: Any) -> None:
    b.x[0].setub(np.nan)


@refused(r"x\[0\]: its bounds 3 and 2 admit no value")
def crossed_bounds(b: Any) -> None:
    b.x[0].setlb(3.0)


@refused("n: no whole number is between its bounds 0.2 and 0.8")
def no_whole_number(b: Any) -> None:
    b.n = pyo.Var(bounds=(0.2, 0.8), domain=pyo.Integers)


@refused("bad: is not linear in the variables")
def quadratic(b: Any) -> None:
    b.bad = pyo.Constraint(expr=b.x[0] * b.x[1] <= 1)


@refused(r"bad\[0\]: is not linear in the variables")
def product_with_the_site(b: Any) -> None:
    b.bad = over_time(b, lambda b, t: b.x[t] * b.load[t] <= 1)


@refused("bad: is not linear in the variables")
def absolute(b: Any) -> None:
    b.bad = pyo.Constraint(expr=abs(b.x[0]) <= 1)


@refused(r"power\[0\]: is not linear in the variables")
def power_not_linear(b: Any) -> None:
    b.power = pyo.Expression(b.T, rule=lambda b, t: b.x[t] ** 2)


@refused("bad: a coefficient is nan at x")
def coefficient_is_nan(b: Any) -> None:
    b.bad = pyo.Constraint(expr=np.nan * b.x[0] <= 1)


@refused("bad: (a side is not a number|its sides)")
def side_is_nan(b: Any) -> None:
    b.bad = pyo.Constraint(expr=b.x[0] <= np.nan)


@refused("bad: uses .*foreign.*, which is neither the site's nor the device's")
def unknown_quantity(b: Any) -> None:
    other = pyo.ConcreteModel()
    other.foreign = pyo.Var(bounds=(0, 1))
    b.bad = pyo.Constraint(expr=b.x[0] + other.foreign <= 1)


@refused(r"power\[8\]: no such period, must be 0 to 7")
def power_outside(b: Any) -> None:
    b.power = pyo.Expression([0, 8], rule=lambda b, t: b.x[0])


@refused("power: must be indexed by the periods")
def power_of_no_period(b: Any) -> None:
    b.power = b.x[0] + 1


@refused("never: has no variable, and 0 is not between 1 and inf: it never holds")
def empty_row(b: Any) -> None:
    b.off = pyo.Var(bounds=(0, 1))
    b.off.fix(0.0)
    b.never = pyo.Constraint(expr=b.off >= 1)


@refused("row high: within all bounds|row high.*sums to at most 16")
def row_that_cannot_hold(b: Any) -> None:
    b.high = pyo.Constraint(expr=sum(b.x[t] for t in b.T) >= 17)


@refused(r"grid_import\[0\]: is fixed")
def fixed_quantity(b: Any) -> None:
    b.grid_import[0].fix(0.0)


@refused("goal: a device may have no Objective; set cost instead")
def objective(b: Any) -> None:
    b.goal = pyo.Objective(expr=b.x[0])


@refused("order: a device may have no SOSConstraint")
def special_ordered_set(b: Any) -> None:
    b.order = pyo.SOSConstraint(var=b.x, sos=2)


@refused(r"bad: its sides 2 and 1 admit no value")
def crossed_sides(b: Any) -> None:
    b.least = pyo.Param(initialize=2.0, mutable=True)
    b.bad = pyo.Constraint(expr=(b.least, b.x[0], 1))


@refused("stored: is what the site does; give what the device has another name")
def name_of_a_quantity(b: Any) -> None:
    b.del_component("stored")
    b.stored = pyo.Var(b.T, bounds=(0, 1))


@refused("s: its domain .* is neither real nor whole numbers")
def odd_domain(b: Any) -> None:
    b.s = pyo.Var(bounds=(0, 4), domain=pyo.Set(initialize=[0, 1, 4]))


@refused(r"grid_import\[3\]: has other bounds or another domain")
def bounds_of_the_site(b: Any) -> None:
    b.grid_import[3].setub(0.1)


@refused(r"load\[0\]: has other bounds or another domain")
def domain_of_the_site(b: Any) -> None:
    b.load[0].domain = pyo.Integers


@refused(r"x\[0\]: is fixed, but has no value")
def fixed_without_value(b: Any) -> None:
    b.x[0].fix()


@refused(r"x\[0\]: is fixed at 5, which its domain or bounds do not admit")
def fixed_outside(b: Any) -> None:
    b.x[0].fix(5.0, skip_validation=True)


@refused("cost: cannot be read as a number or an expression")
def cost_is_text(b: Any) -> None:
    b.cost = "5"


@refused("cost: cannot be read as a number or an expression")
def cost_is_a_list(b: Any) -> None:
    b.cost = [b.x[0], b.x[1]]


@refused(r"power\[0\]: cannot be read as a number or an expression")
def power_without_rule(b: Any) -> None:
    b.power = pyo.Expression(b.T)


@refused("cost: a coefficient is inf at x")
def cost_is_infinite(b: Any) -> None:
    b.cost = np.inf * b.x[0]


@refused("emission: has no effect; call it emissions")
def emissions_of_another_name(b: Any) -> None:
    b.emission = pyo.Expression(expr=0.5 * b.x[0])


@refused("Costs: has no effect; call it cost")
def cost_of_another_name(b: Any) -> None:
    b.Costs = 3.0 * b.x[0]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_rows_is_refused_by_its_name(kind: str) -> None:
    spoil, text = REFUSED[kind]
    instance = tiny()
    block = block_of(instance)
    spoil(block)
    with pytest.raises(InputError, match=f"device 'tank' at site 'Albany'.*{text}") as refusal:
        decomp.attach(instance, SITE, block, name="tank")
    assert "\n" not in str(refusal.value)


def test_there_are_twenty_kinds_of_refusal() -> None:
    assert len(REFUSED) >= 20


def test_names_and_places() -> None:
    instance = tiny()
    with pytest.raises(InputError, match="site 'Nowhere': no such site; there are Albany"):
        decomp.site_block(instance, "Nowhere")
    block = block_of(instance)
    with pytest.raises(InputError, match="its block was made for site 'Albany'; make one for 'Buffalo'"):
        decomp.attach(instance, "Buffalo", block, name="tank")
    with pytest.raises(InputError, match="must be a block made by decomp.site_block"):
        decomp.attach(instance, SITE, pyo.ConcreteModel(), name="tank")
    once = decomp.attach(instance, SITE, block, name="tank")
    with pytest.raises(InputError, match="device 'tank' at site 'Albany': this name is taken"):
        decomp.attach(once, SITE, block, name="tank")


def test_constant_parameters_are_numbers() -> None:
    instance = tiny()
    block = block_of(instance)
    block.share = pyo.Param(block.T, initialize=lambda b, t: t + 1.0)
    block.most = pyo.Param(block.T, initialize=2.0, mutable=True)
    block.kept = over_time(block, lambda b, t: b.share[t] * b.x[t] <= b.most[t])
    found = decomp.attach(instance, SITE, block)
    rows = np.flatnonzero(found.device_rows.name == "kept")
    assert (found.device_rows.high[rows] == 2.0).all()
    assert found.device_entries.coefficient[np.isin(found.device_entries.row, rows)].tolist() == [*range(1, 9)]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (dict(name=5), "name: 5, must be text"),
        (dict(name="a\0"), "must be text"),
        (dict(site=0), "site: 0, must be a name or several"),
        (dict(site=[]), r"site: \[\], must be a name or several, each once"),
        (dict(site=[SITE, SITE]), "must be a name or several, each once"),
        (dict(cumulative=("kepd",)), "cumulative: the device has no constraint 'kepd'; there are kept"),
        (dict(end_low={"y": 1.0}), "end_low: the device has no variable 'y'; there are x"),
        (dict(end_low={"x": 50.0}), "device_variables.end_low: .* 50, must be at most high = 2"),
    ],
)
def test_what_is_said_beside_a_block_has_an_effect(how: dict[str, Any], words: str) -> None:
    instance = tiny()
    block = block_of(instance)
    block.kept = over_time(block, lambda b, t: b.x[t] <= 1)
    with pytest.raises(InputError, match=words):
        decomp.attach(instance, **{"site": SITE, "device": block} | how)
    if {"cumulative", "end_low"} & set(how):
        with pytest.raises(InputError, match="only for a block"):
            decomp.attach(instance, SITE, decomp.devices.battery(), **how)


def test_one_name_is_no_list_of_letters() -> None:
    instance = tiny()
    block = block_of(instance)
    block.kept = over_time(block, lambda b, t: b.x[t] <= 1)
    assert decomp.attach(instance, SITE, block, cumulative="kept").device_rows.cumulative.all()
