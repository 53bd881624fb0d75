"""Devices authored in Pyomo: a block that holds what a site does, and the draft that what is added to it makes.

The block's own variables stand for the site's quantities; a user adds variables and constraints, and may set `power`
(MW by period, + supplies), `cost` (USD) and `emissions` (t). Only what is linear and bounded becomes rows; all else is
refused by the component's name. Beside the extensive form, the only importer of pyomo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.base.set import SetOperator
from pyomo.repn import generate_standard_repn

from decomp.devices.draft import Draft, Terms, Use
from decomp.devices.kind import Place
from decomp.model.device_ranges import site_ranges
from decomp.model.instance import QUANTITIES, InputError
from decomp.model.rounding import FIT, fits

Block = Any
KNOWN = (
    pyo.Var,
    pyo.Constraint,
    pyo.Expression,
    pyo.Param,
    pyo.Set,
    pyo.RangeSet,
    pyo.Block,
    pyo.Suffix,
    pyo.BuildAction,
)
ASIDE = {pyo.Objective: "set cost instead", pyo.SOSConstraint: "write it with integer variables"}
SITE = "decomp_site"
SET = ("power", "cost", "emissions")  # what a user may set
VARIABLES = (*QUANTITIES[1:-1], "output")  # of the site; the generation is a sum of these


def site_block(place: Place) -> Block:
    """A Pyomo block of a site: sets `T` of periods and `T_ends` of instants (0 to their number), and its quantities.

    `load` (GPU), `it_power`, `facility`, `grid_import`, `grid_export`, `renewable`, `charge`, `discharge`, `generation`
    (MW, all generators) and `stored` (MWh, at the end of the period) over T; `output` (MW) over generators and T.
    """
    block = pyo.Block(concrete=True)  # a model has a method `load`
    n, g = len(place.periods), place.grids.generators
    block.T, block.T_ends, block.G = pyo.RangeSet(0, n - 1), pyo.RangeSet(0, n), pyo.RangeSet(0, len(g.site) - 1)
    for name, (low, high) in zip(QUANTITIES[1:-1], site_ranges(place.grids), strict=True):
        ends = low[0].tolist(), high[0].tolist()
        setattr(block, name, pyo.Var(block.T, bounds=lambda m, t, ends=ends: (ends[0][t], ends[1][t])))
    most = g.p_max_mw.tolist()
    block.output = pyo.Var(block.G, block.T, bounds=lambda m, k, t: (0.0, most[k]))
    block.generation = pyo.Expression(block.T, rule=lambda m, t: pyo.quicksum(m.output[k, t] for k in m.G))
    made = {name: getattr(block, name) for name in (*QUANTITIES[1:], "output", "T", "T_ends")}
    limits = {name: {key: one.bounds for key, one in made[name].items()} for name in VARIABLES}
    setattr(block, SITE, (str(place.grids.sites.name[0]), made, limits))
    return block


class _Reader:
    """Reads a block into a draft."""

    def __init__(self, block: Block, label: str, cumulative: tuple[str, ...], end_low: dict[str, float]):
        self.block, self.label, self.cumulative, self.draft = block, label, set(cumulative), Draft()
        self.end_low = end_low
        self.uses: dict[int, Use] = {}
        self.numbers: dict[int, int] = {}
        self.of: dict[int, tuple[Any, int]] = {}  # variable and the period it acts in
        self.extra: dict[int, dict[str, float]] = {}  # what a unit of a variable costs, emits, gives
        self.sites: set[int] = set()
        self.names: dict[str, set[str]] = {"variable": set(), "constraint": set()}
        for name in VARIABLES:
            self._quantity(getattr(block, name), name)

    def refuse(self, component: Any, text: str) -> InputError:
        name = component if isinstance(component, str) else component.name
        return InputError(f"{self.label}: {name}: {text}")

    def _refuse_misspelt(self) -> None:
        """What is nearly called as one of SET would be without effect, and nothing would tell."""
        for name in (*self.block.component_map(), *vars(self.block)):
            for meant in SET:
                near = name != meant and name.lower().rstrip("s") == meant.rstrip("s")
                if near and getattr(self.block, meant, None) is None:
                    raise self.refuse(name, f"has no effect; call it {meant}, or otherwise if it is another thing")

    def _quantity(self, component: Any, name: str) -> None:
        self.sites.add(id(component))
        limits = getattr(self.block, SITE)[2][name]
        for key, one in component.items():
            at, t = key if isinstance(key, tuple) else (0, key)
            if one.fixed or one.bounds != limits[key] or one.domain.name != pyo.Reals.name:
                how = "is fixed" if one.fixed else "has other bounds or another domain than it was made with"
                raise self.refuse(one, f"{how}, but what the site does is not the device's to fix; write a constraint")
            self.uses[id(one)] = Use("generation" if name == "output" else name, np.array([t]), at)

    def read(self) -> Draft:
        block = self.block
        self._refuse_misspelt()
        for one in block.component_objects(active=True, descend_into=pyo.Block):
            if one.ctype in ASIDE:
                raise self.refuse(one, f"a device may have no {one.ctype.__name__}; {ASIDE[one.ctype]}")
            if one.ctype not in KNOWN:
                raise self.refuse(one, f"a {one.ctype.__name__} cannot be stored as rows")
        own = [
            v for v in block.component_data_objects(pyo.Var, active=True) if id(v.parent_component()) not in self.sites
        ]
        for one in own:
            if one.fixed:
                self._fixed(one)
            else:
                self._bounds(one)
                self.of[id(one)] = one, _time(block, one)[1]
                self.extra[id(one)] = dict(cost=0.0, emission=0.0, power=0.0)
        defined: list[tuple[str, int, Any, str]] = []
        for key, expression in self._power():
            if not self._direct(expression, f"power[{key}]", "power", key):
                defined.append(("power", key, expression, "power"))
        for what, per_unit in (("cost", "cost"), ("emissions", "emission")):
            for expression in _summands(getattr(block, what, None)):
                if not self._direct(expression, what, per_unit, None):
                    defined.append((what, -1, expression, per_unit))
        self._variables()
        for one in block.component_data_objects(pyo.Constraint, active=True):
            self._row(one)
        for place, (what, key, expression, per_unit) in enumerate(defined):
            self._defined(what, key, expression, per_unit, place)
        for said, names, kind in (
            ("cumulative", self.cumulative, "constraint"),
            ("end_low", self.end_low, "variable"),
        ):
            for name in sorted(set(names) - self.names[kind]):
                there = ", ".join(sorted(self.names[kind])) or "none"
                raise self.refuse(said, f"the device has no {kind} {name!r}; there are {there}")
        return self.draft

    # ------------------------------------------------------------ variables

    def _fixed(self, one: Any) -> None:
        """A fixed variable is a constant, if it may have that value."""
        value, (low, high) = one.value, one.bounds
        if value is None or not np.isfinite(value):
            raise self.refuse(one, "is fixed, but has no value")
        off = one.is_integer() and abs(value - round(value)) > FIT
        if off or not (low is None or fits(low, value)) or not (high is None or fits(value, high)):
            raise self.refuse(one, f"is fixed at {value:g}, which its domain or bounds do not admit")

    def _bounds(self, one: Any) -> tuple[float, float]:
        if not (one.is_continuous() or one.is_integer()):
            raise self.refuse(one, f"its domain {one.domain} is neither real nor whole numbers")
        try:
            low, high = (np.nan if end is None else float(end) for end in one.bounds)
        except ValueError as error:  # pyomo's own, of what is no number
            raise self.refuse(one, "has a bound that is not a number") from error
        for end, side in ((low, "lower"), (high, "upper")):
            if not np.isfinite(end):
                raise self.refuse(
                    one, f"has no finite {side} bound; every variable needs one, for a bound to be proved"
                )
        if low > high:
            raise self.refuse(one, f"its bounds {low:g} and {high:g} admit no value")
        if one.is_integer() and np.ceil(low - FIT) > np.floor(high + FIT):
            raise self.refuse(one, f"no whole number is between its bounds {low:g} and {high:g}")
        return low, high

    def _variables(self) -> None:
        for key, (one, period) in self.of.items():
            low, high = self._bounds(one)
            name, index = _name(self.block, one)
            self.names["variable"].add(name)
            integer, unit = not one.is_continuous(), _unit(one)
            end_low = self.end_low.get(name, -np.inf)
            more = dict(integer=integer, unit=unit, period=period, end_low=end_low, **self.extra[key])
            self.numbers[key] = int(self.draft.variables(name, low, high, index=index, **more)[0])

    # ------------------------------------------------------------ expressions

    def linear(self, expression: Any, component: Any) -> tuple[float, list[tuple[float, Any]]]:
        """Constant and terms of a linear expression; fixed variables are constants."""
        try:
            repn = generate_standard_repn(expression, quadratic=False)
        except (AttributeError, TypeError, ValueError) as error:  # whatever is no expression, or has no value
            reason = " ".join(str(error).split())
            raise self.refuse(component, f"cannot be read as a number or an expression: {reason}") from error
        if repn.nonlinear_expr is not None:
            raise self.refuse(component, "is not linear in the variables")
        terms = list(zip((float(c) for c in repn.linear_coefs), repn.linear_vars, strict=True))
        constant = float(pyo.value(repn.constant))
        for coefficient, one in [(constant, None), *terms]:
            if not np.isfinite(coefficient):
                raise self.refuse(
                    component, f"a coefficient is {coefficient:g}" + (f" at {one.name}" if one is not None else "")
                )
            if one is not None and id(one) not in self.uses and id(one) not in self.of:
                raise self.refuse(component, f"uses {one.name}, which is neither the site's nor the device's")
        return constant, terms

    def _power(self) -> Iterator[tuple[int, Any]]:
        power = getattr(self.block, "power", None)
        if power is None:
            return
        if not hasattr(power, "items") or not hasattr(power, "index_set"):
            raise self.refuse("power", "must be indexed by the periods, as in Expression(site.T, rule=...)")
        for key, one in power.items():
            if key not in self.block.T:
                raise self.refuse(f"power[{key}]", f"no such period, must be 0 to {len(self.block.T) - 1}")
            yield key, one

    def _direct(self, expression: Any, what: str, per_unit: str, period: int | None) -> bool:
        """Put an expression on its variables, if it is a sum of own ones that act then."""
        constant, terms = self.linear(expression, what)
        if constant != 0.0 or any(id(one) in self.uses for _, one in terms):
            return False
        if period is not None and any(self.of[id(one)][1] != period for _, one in terms):
            return False
        for coefficient, one in terms:
            self.extra[id(one)][per_unit] += coefficient
        return True

    def _defined(self, what: str, key: int, expression: Any, per_unit: str, place: int) -> None:
        """A further variable that equals an expression, and carries its cost, emissions or power."""
        constant, terms = self.linear(expression, what)
        ends = np.sort([[c * one.lb, c * one.ub] for c, one in terms] or np.zeros((0, 2)), axis=1)
        low, high = (constant + float(side) for side in ends.sum(axis=0)) if len(ends) else (constant, constant)
        unit = dict(power="MW", cost="USD", emissions="t")[what]
        index = key if what == "power" else place
        more = {per_unit: 1.0}
        number = self.draft.variables(f"{what}_of_device", low, high, index=index, period=key, unit=unit, **more)
        uses = self._uses([(-coefficient, one) for coefficient, one in terms])
        self.draft.total(f"{what}_of_device", constant, constant, (1.0, number), *uses, unit=unit, index=index)

    def _row(self, one: Any) -> None:
        name, index = _name(self.block, one)
        self.names["constraint"].add(name)
        if one.body is None:
            raise self.refuse(one, "has no body")
        constant, terms = self.linear(one.body, one)
        low, high = (
            end if side is None else float(pyo.value(side)) for side, end in ((one.lower, -np.inf), (one.upper, np.inf))
        )
        if np.isnan(low) or np.isnan(high):
            raise self.refuse(one, "a side is not a number")
        low, high = low - constant, high - constant
        if low > high:
            raise self.refuse(one, f"its sides {low:g} and {high:g} admit no value")
        if not terms:
            if not low <= 1e-9 or not high >= -1e-9:
                raise self.refuse(one, f"has no variable, and 0 is not between {low:g} and {high:g}: it never holds")
            return
        self.draft.total(name, low, high, *self._uses(terms), index=index, cumulative=name in self.cumulative)

    def _uses(self, terms: list[tuple[float, Any]]) -> Terms:
        """Terms as a draft takes them: of the site, or of the device's variables by number."""
        return [(c, self.uses[id(v)] if id(v) in self.uses else np.array([self.numbers[id(v)]])) for c, v in terms]


def read_block(block: Block, site: str, name: str, cumulative: tuple[str, ...], end_low: dict[str, float]) -> Draft:
    """The device that a block describes.

    Parameters
    ----------
    cumulative, end_low : as of `attach`.

    Raises
    ------
    InputError : something in the block is not linear, not bounded, or not of this site; it names the component.
    """
    label = f"device {name!r} at site {site!r}"
    made_for, made, _ = getattr(block, SITE, (None, {}, {}))
    if made_for is None:
        raise InputError(f"{label}: must be a block made by decomp.site_block, or a kind of decomp.devices")
    for taken, component in made.items():
        if getattr(block, taken, None) is not component:
            raise InputError(f"{label}: {taken}: is what the site does; give what the device has another name")
    if made_for != site:
        raise InputError(f"{label}: its block was made for site {made_for!r}; make one for {site!r}")
    return _Reader(block, label, cumulative, end_low).read()


def _summands(expression: Any) -> list[Any]:
    """A cost or emissions as given: nothing, one expression, or one for each index."""
    if expression is None:
        return []
    indexed = hasattr(expression, "is_indexed") and expression.is_indexed()
    return list(expression.values()) if indexed else [expression]


def _time(block: Block, one: Any) -> tuple[int, int]:
    """Place in time of a variable or row by the last of its index sets, and the period it acts in; -1: none."""
    component = one.parent_component()
    if not component.is_indexed():
        return -1, -1
    key, last = one.index(), component.index_set()
    while isinstance(last, SetOperator):
        last = list(last.subsets())[-1]
    for among in (last, getattr(last, "domain", None)):
        if among is block.T or among is block.T_ends:
            t = int(key[-1] if isinstance(key, tuple) else key)
            return t, t if among is block.T else max(t - 1, 0)
    return -1, -1


def _name(block: Block, one: Any) -> tuple[str, int]:
    """Name without the place in time, and that place."""
    component = one.parent_component()
    name = component.getname(fully_qualified=True, relative_to=block)
    key = one.index() if component.is_indexed() else ()
    key = key if isinstance(key, tuple) else (key,)
    t = _time(block, one)[0]
    words = [name, *(str(part) for part in (key[:-1] if t >= 0 else key))]
    return "_".join(words), t


def _unit(one: Any) -> str:
    """The unit of a variable: what follows the last comma of its documentation."""
    text = one.parent_component().doc or ""
    return text.rsplit(",", 1)[1].strip() if "," in text else "1"
