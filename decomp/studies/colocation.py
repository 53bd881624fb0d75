"""Renewable-colocated data centre, arXiv 2507.08011: what colocation saves, and scheduling on top of it.

Three configurations (no colocation; colocation, work runs as it arrives; optimal colocation) under two tariffs, with
perfect foresight and with an honest forecast, as a rolling run over a month; sweeps; and the laws of the problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from decomp.model.accounts import account
from decomp.model.instance import Instance
from decomp.model.result import Result, Schedule, Status
from decomp.studies.errors import among_errors
from decomp.studies.market import DAY, Case, Market, Month, as_it_arrives, honest, instance_of, read_market
from decomp.studies.window import operate, plan, roll

TARIFFS = ("wholesale", "retail")
CONFIGURATIONS = ("no colocation", "colocation, no scheduling", "optimal colocation")
PAPER = {  # savings against no colocation
    ("wholesale", CONFIGURATIONS[1]): 0.688,
    ("wholesale", CONFIGURATIONS[2]): 0.795,
    ("retail", CONFIGURATIONS[1]): 0.582,
    ("retail", CONFIGURATIONS[2]): 0.645,
}
WIND_USD_PER_KW_YEAR = 196.8  # 1,968 USD/kW over 30 years at 6.7 %, and 43 USD/kW a year to run
SHARES = tuple(k / 10 for k in range(11))
PACES = (96, 24, 4)  # periods between plans: a day, six hours, an hour
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
class Foreseen:
    """What scheduling by one kind of foresight costs, USD, and saves, as a share of the cost without colocation.

    `won_back` is the share of what the forecast loses against perfect foresight that this kind does not lose.
    """

    tariff: str
    foresight: str
    cost_usd: float
    saving: float
    won_back: float


@dataclass(frozen=True)
class MonthRow:
    """One month of the year: what prices and wind were, and savings as in Table II."""

    month: str
    missing_prices: float
    capacity_factor: float
    real_time_usd_per_mwh: float
    wind_usd_per_mwh: float
    wholesale_arrives: float
    wholesale_scheduled: float
    retail_arrives: float
    retail_scheduled: float


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
        """The month's schedule; foresight is "none" (work runs as it arrives), "perfect", "forecast" or "scenarios"."""
        key = (case, foresight)
        if key not in self._known:
            instance = self.instance(case)
            if foresight == "none":
                self._known[key] = operate(instance, as_it_arrives(self.market, case))
            else:
                expect = honest(self.market, case) if foresight == "forecast" else None
                futures = among_errors(self.market, case) if foresight == "scenarios" else None
                self._known[key] = roll(instance, self.setting.every, self.setting.ahead, expect, futures).schedule
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

    def by_foresight(self) -> list[Foreseen]:
        """Forecast, scenarios around it, and perfect foresight, under both tariffs."""
        rows = []
        for case in self._bases():
            alone = self.cost(replace(case, wind_mw=0.0), "none")
            cost = {foresight: self.cost(case, foresight) for foresight in ("forecast", "scenarios", "perfect")}
            lost = cost["forecast"] - cost["perfect"]
            rows += [
                Foreseen(case.tariff, foresight, usd, 1.0 - usd / alone, (cost["forecast"] - usd) / max(lost, 1e-9))
                for foresight, usd in cost.items()
            ]
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

    def wind_worth(self) -> tuple[float, float]:
        """Capacity factor of the wind; its mean real-time price weighted by output, USD/MWh."""
        factor = self.market.wind_factor
        return float(factor.mean()), float(factor @ self.market.real_time / max(factor.sum(), 1e-12))

    def gain_when_dear(self) -> float:
        """The part of the wholesale gain of scheduling, perfect foresight, in the dearest 5 % of periods."""
        case = self.base("wholesale")
        before, after = (self.run(case, foresight) for foresight in ("none", "perfect"))
        gain = self.market.real_time * (before.import_mw - before.export_mw - after.import_mw + after.export_mw)[0]
        dear = np.argsort(-self.market.real_time, kind="stable")[: round(0.05 * len(gain))]
        return float(gain[dear].sum() / gain.sum()) if abs(gain.sum()) > 1e-9 else 0.0

    def by_pace(self, paces: Sequence[int] = PACES) -> list[tuple[int, str, float]]:
        """(periods between plans, tariff, savings with the forecast), seldom to often."""
        found = []
        for every in paces:
            other = replace(self, setting=replace(self.setting, every=every), _known={})
            found += [(every, point.tariff, point.saving) for point in other.sweep(self._bases(), ("forecast",))]
        return found

    def _bases(self) -> list[Case]:
        return [self.base(tariff) for tariff in TARIFFS]


def by_month(setting: Setting, data: Path, tell: Callable[[str], None]) -> list[MonthRow]:
    """The twelve months of the year with perfect foresight, planned a day at a time."""
    rows = []
    for number in range(1, 13):
        month = replace(setting.month, month=f"{setting.month.start.year}-{number:02d}")
        study = Study(read_market(month, data), replace(setting, month=month, every=DAY), tell)
        wholesale, retail = study.sweep([study.base(tariff) for tariff in TARIFFS], ("perfect",))
        capacity, worth = study.wind_worth()
        rows.append(
            MonthRow(
                month=month.month,
                missing_prices=study.market.missing,
                capacity_factor=capacity,
                real_time_usd_per_mwh=float(study.market.real_time.mean()),
                wind_usd_per_mwh=worth,
                wholesale_arrives=1.0 - wholesale.arrives_usd / wholesale.alone_usd,
                wholesale_scheduled=wholesale.saving,
                retail_arrives=1.0 - retail.arrives_usd / retail.alone_usd,
                retail_scheduled=retail.saving,
            )
        )
    return rows
