"""Renewable-colocated data centre, arXiv 2507.08011: what colocation saves, and scheduling on top of it.

Three configurations (no colocation; colocation, work runs as it arrives; optimal colocation) under two tariffs, with
perfect foresight and with an honest forecast, as a rolling run over a month; sweeps; and the laws of the problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from decomp.accounts import account
from decomp.extensive import solve_extensive
from decomp.instance import Array, Instance
from decomp.result import Result, Schedule, Status
from decomp.studies.market import DAY, Case, Market, Month, as_it_arrives, honest, instance_of
from decomp.studies.window import Plan, cut, operate, plan, roll

TARIFFS = ("wholesale", "retail")
CONFIGURATIONS = ("no colocation", "colocation, no scheduling", "optimal colocation")
PAPER = {  # savings against no colocation
    ("wholesale", CONFIGURATIONS[1]): 0.688,
    ("wholesale", CONFIGURATIONS[2]): 0.795,
    ("retail", CONFIGURATIONS[1]): 0.582,
    ("retail", CONFIGURATIONS[2]): 0.645,
}
LOOK_AHEAD = 2.5e-3  # of the cost: how much a step of the curve may fall because a day at a time is planned
Truth = tuple[str, int, float, float]  # tariff, day, net cost by the extensive form and by a plan, USD
WIND_USD_PER_KW_YEAR = 196.8  # 1,968 USD/kW over 30 years at 6.7 %, and 43 USD/kW a year to run
SHARES = tuple(k / 10 for k in range(11))
RATIOS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # wind power over the data centre's


@dataclass(frozen=True)
class Setting:
    """How the study is run: periods between plans and looked ahead, the base case, the demand charge in USD/kW."""

    month: Month = Month()
    every: int = 24
    ahead: int = DAY
    wind_mw: float = 150.0
    deferrable: float = 0.4
    demand_charge: float = 10.0
    truth_days: int = 2


@dataclass(frozen=True)
class Row:
    """One row of Table II, energies of the month, and savings as a share of the cost without colocation."""

    tariff: str
    configuration: str
    foresight: str
    imported_mwh: float
    exported_mwh: float
    self_consumed_mwh: float
    peak_kw: float
    cost_usd: float
    saving: float
    adjusted_saving: float
    paper: float | None


@dataclass(frozen=True)
class Point:
    """One point of a figure: the case, and net costs in USD without colocation, as it arrives, and scheduled."""

    tariff: str
    foresight: str
    deferrable: float
    wind_mw: float
    alone_usd: float
    arrives_usd: float
    scheduled_usd: float

    @property
    def saving(self) -> float:
        return 1.0 - self.scheduled_usd / self.alone_usd

    @property
    def benefit(self) -> float:
        """What scheduling is worth, as a share of the cost without colocation."""
        return (self.arrives_usd - self.scheduled_usd) / self.alone_usd


@dataclass(frozen=True)
class Law:
    """A law of the problem: whether it holds here (None: nothing here tests it) and the numbers behind that."""

    name: str
    holds: bool | None
    numbers: str


@dataclass
class Study:
    """Runs cases and remembers them."""

    market: Market
    setting: Setting
    tell: Callable[[str], None] = print
    _known: dict[tuple[Case, str], Schedule] = field(default_factory=dict)
    _bounds: dict[Case, float] = field(default_factory=dict)

    def instance(self, case: Case) -> Instance:
        return instance_of(self.market, case, self.setting.demand_charge)

    def run(self, case: Case, foresight: str) -> Schedule:
        """The month's schedule; foresight is "none" (work runs as it arrives), "perfect" or "forecast"."""
        key = (case, foresight)
        if key not in self._known:
            instance = self.instance(case)
            if foresight == "none":
                self._known[key] = operate(instance, as_it_arrives(self.market, case))
            else:
                expect = honest(self.market, case) if foresight == "forecast" else None
                self._known[key] = roll(instance, self.setting.every, self.setting.ahead, expect).schedule
                self.tell(
                    f"{case.tariff:9} wind {case.wind_mw:5.0f} MW, deferrable {case.deferrable:.0%}, {foresight}: "
                    f"{self.cost(case, foresight):,.0f} USD"
                )
        return self._known[key]

    def cost(self, case: Case, foresight: str) -> float:
        """Net cost of the month, USD."""
        return account(self.instance(case), self.run(case, foresight)).net_cost

    def result(self, case: Case, foresight: str) -> Result:
        """The run as a result, as from a solve; its bound is that of the month in one piece."""
        instance, cost = self.instance(case), self.cost(case, foresight)
        about = dict(instance_hash=instance.content_hash(), method=f"rolling, {foresight}")
        bound = min(self.lower_bound(case), cost)
        return Result(Status.LIMIT, bound, cost, self.run(case, foresight), None, provenance=about)

    def base(self, tariff: str) -> Case:
        return Case(tariff, self.setting.wind_mw, self.setting.deferrable)

    def table(self) -> list[Row]:
        """Table II, with both kinds of foresight."""
        rows = []
        for tariff in TARIFFS:
            case = self.base(tariff)
            alone = replace(case, wind_mw=0.0)
            rows.append(self._row(alone, CONFIGURATIONS[0], "none"))
            rows.append(self._row(case, CONFIGURATIONS[1], "none"))
            rows += [self._row(case, CONFIGURATIONS[2], foresight) for foresight in ("perfect", "forecast")]
        return rows

    def _row(self, case: Case, configuration: str, foresight: str) -> Row:
        found = account(self.instance(case), self.run(case, foresight))
        alone = self.cost(replace(case, wind_mw=0.0), "none")
        saving = 1.0 - found.net_cost / alone
        return Row(
            tariff=case.tariff,
            configuration=configuration,
            foresight=foresight,
            imported_mwh=found.bought_mwh,
            exported_mwh=found.sold_mwh,
            self_consumed_mwh=found.self_consumed_mwh,
            peak_kw=1000.0 * float(found.peak_mw[0]),
            cost_usd=found.net_cost,
            saving=saving,
            adjusted_saving=saving - self.investment_usd(case.wind_mw) / alone,
            paper=PAPER.get((case.tariff, configuration)) if foresight != "forecast" else None,
        )

    def investment_usd(self, wind_mw: float) -> float:
        """The wind park's annuity and upkeep for the days studied, USD."""
        month = self.setting.month
        return 1000.0 * wind_mw * WIND_USD_PER_KW_YEAR / 12.0 * month.n_days / month.length

    def sweep(self, cases: Sequence[Case], foresights: Sequence[str]) -> list[Point]:
        """Points of the figures."""
        return [
            Point(
                case.tariff,
                foresight,
                case.deferrable,
                case.wind_mw,
                self.cost(replace(case, wind_mw=0.0), "none"),
                self.cost(case, "none"),
                self.cost(case, foresight),
            )
            for foresight in foresights
            for case in cases
        ]

    def by_share(self, shares: Sequence[float] = SHARES) -> list[Point]:
        """Figures 1 and 2: over the deferrable share."""
        cases = [replace(self.base(tariff), deferrable=share) for tariff in TARIFFS for share in shares]
        return self.sweep(cases, ("perfect", "forecast"))

    def by_ratio(self, ratios: Sequence[float] = RATIOS) -> list[Point]:
        """Figures 3 and 4: over the wind's power, as a multiple of the data centre's 100 MW."""
        cases = [replace(self.base(tariff), wind_mw=100.0 * ratio) for tariff in TARIFFS for ratio in ratios]
        return self.sweep(cases, ("perfect",))

    def lower_bound(self, case: Case) -> float:
        """No schedule of the month costs less, USD: the month in one piece, by linear programming."""
        if case not in self._bounds:
            instance = self.instance(case)
            inexact = replace(instance, sites=replace(instance.sites, exact_power_curve=np.array([False])))
            self._bounds[case] = plan(inexact).relaxed
        return self._bounds[case]


def days(instance: Instance) -> list[Instance]:
    """The days of a month as instances of their own."""
    return [cut(instance, start, start + DAY) for start in range(0, instance.n_periods, DAY)]


def truth(study: Study) -> list[Truth]:
    """The days with the lowest prices, by the extensive form and by a plan."""
    order = np.argsort(study.market.real_time.reshape(-1, DAY).min(axis=1), kind="stable")[: study.setting.truth_days]
    rows = []
    for tariff in TARIFFS:
        for k in sorted(order.tolist()):
            day = days(study.instance(study.base(tariff)))[k]
            rows.append((tariff, k + 1, solve_extensive(day).incumbent, plan(day).cost))
    return rows


def laws(study: Study, shares: list[Point], ratios: list[Point], checked: Sequence[Truth]) -> list[Law]:
    """The laws of the problem, and the agreement with the extensive form."""
    return [
        _truth_law(checked),
        *_separation(ratios),
        *_diminishing([p for p in shares if p.foresight == "perfect"]),
        _curve_law(study),
        _ban_law(study),
        _peak_law(study),
    ]


def _truth_law(checked: Sequence[Truth]) -> Law:
    off = max(_off(a, b) for _, _, a, b in checked)
    name = "Windows are solved to the optimum of the extensive form, to 1e-6"
    return Law(name, off <= 1e-6, f"{len(checked)} single days, largest relative difference {off:.1e}")


def _separation(ratios: list[Point]) -> list[Law]:
    """Wholesale separates: the load does not see the wind."""
    points = [p for p in ratios if p.tariff == "wholesale"]
    benefit = [p.benefit for p in points]
    wind = np.array([p.wind_mw for p in points])
    saved = np.array([p.alone_usd - p.arrives_usd for p in points])
    per_mw = float(wind @ saved) / float(wind @ wind)
    bent = float(np.abs(saved - per_mw * wind).max()) / points[0].alone_usd
    spread = max(benefit) - min(benefit)
    over = f"{wind.min():.0f}–{wind.max():.0f} MW of wind"
    return [
        Law(
            "Wholesale: the benefit of scheduling does not depend on the wind's capacity, to 0.1 % of cost",
            spread <= 1e-3,
            f"{100 * min(benefit):.3f}–{100 * max(benefit):.3f} % of the cost without colocation over {over}",
        ),
        Law(
            "Wholesale: what colocation saves is linear in the wind's capacity",
            bent <= 1e-6,
            f"{per_mw:,.0f} USD per MW, off the line by at most {bent:.1e} of the cost without colocation",
        ),
    ]


def _diminishing(shares: list[Point]) -> list[Law]:
    """Savings over the deferrable share."""
    gains = {}
    found = []
    for tariff in TARIFFS:
        points = [p for p in shares if p.tariff == tariff]
        share, gain = np.array([p.deferrable for p in points]), np.array([p.benefit for p in points])
        slope = np.diff(gain) / np.diff(share)
        gains[tariff] = float(gain[-1] - gain[0])
        found.append(
            Law(
                f"{tariff.capitalize()}: savings rise with the deferrable share, and flatten",
                bool((np.diff(gain) >= -LOOK_AHEAD).all() and slope[-1] < 0.5 * slope[0]),
                f"first {share[1] - share[0]:.0%} of the work: {slope[0]:+.3f} points of savings per point, "
                f"last: {slope[-1]:+.3f}; {100 * gains[tariff]:.1f} points in all",
            )
        )
    found.append(
        Law(
            "Retail gains less from scheduling than wholesale, and its curve is flatter",
            gains["retail"] < gains["wholesale"],
            ", ".join(f"{tariff} {100 * gain:.1f} points" for tariff, gain in gains.items()),
        )
    )
    return found


def _curve_law(study: Study) -> Law:
    """The power curve at negative prices, with nothing deferrable and with the usual share."""
    real_time, lowered = study.market.real_time, 0.0
    if real_time.min() >= 0:
        lowered = float(np.quantile(real_time, 0.01))
    market = replace(study.market, real_time=real_time - lowered)
    burnt = promised = off = 0.0
    for share in (0.0, study.setting.deferrable):
        for day in days(instance_of(market, Case("wholesale", study.setting.wind_mw, share))):
            found = plan(day)
            off = max(off, _off(operated(day, found), found.cost))
            if _off(found.cost, found.relaxed) > 1e-6:
                burnt += found.burnt_mwh
                promised += found.cost - found.relaxed
    about = f"{(market.real_time < 0).mean():.2%} of the prices are negative"
    about += f" (all lowered by {lowered:.2f} USD/MWh, as none was)" if lowered else ""
    return Law(
        "At negative prices the power curve as an inequality burns power for money; the exact one does not",
        burnt > 0 and off <= 1e-6,
        f"{about}; the inequality burns {burnt:,.1f} MWh and promises {promised:,.0f} USD that do not exist",
    )


def _ban_law(study: Study) -> Law:
    """Days planned without the ban against what they cost when nothing is bought and sold at once."""
    off = 0.0
    for tariff in TARIFFS:
        for day in days(study.instance(study.base(tariff))):
            found = plan(day)
            off = max(off, _off(operated(day, found), found.cost))
    return Law(
        "The ban on importing and exporting at once is redundant when buying is not cheaper than selling",
        off <= 1e-6,
        f"planned without it, every day costs what it costs with it: largest relative difference {off:.1e}",
    )


def operated(instance: Instance, found: Plan) -> float:
    """What a window costs when its plan is carried out, USD."""
    return account(instance, operate(instance, found.pool_gpu)).net_cost


def _off(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), 1.0)


def _peak_law(study: Study) -> Law:
    instance = study.instance(study.base("retail"))
    rolled = roll(instance, DAY, DAY)
    month = account(instance, rolled.schedule)
    planned = sum(p.cost for p in rolled.plans)
    charge = month.components["demand_charge"]
    peaks = rolled.schedule.import_mw.reshape(-1, DAY).max(axis=1)
    daily = float(instance.sites.demand_charge[0] * peaks.sum())
    off = _off(month.net_cost, planned)
    return Law(
        "In a rolling run the demand charge counts only what exceeds the month's peak so far",
        off <= 1e-9,
        f"{charge:,.0f} USD for the month's {month.peak_mw[0]:.1f} MW; the windows' own costs add up to the month's, "
        f"to {off:.1e}; charged anew every day it would be {daily:,.0f} USD",
    )


def wind_energy(market: Market) -> tuple[float, float]:
    """Capacity factor of the wind; its mean price weighted by output, USD/MWh."""
    factor: Array = market.wind_factor
    return float(factor.mean()), float(factor @ market.real_time / max(factor.sum(), 1e-12))
