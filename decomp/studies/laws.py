"""The laws of the colocation problem, checked against what the study found, and plans against the extensive form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from decomp.extensive.pyomo_model import solve_extensive
from decomp.model.accounts import account
from decomp.model.instance import Instance
from decomp.studies.colocation import TARIFFS, Point, Study
from decomp.studies.market import DAY, Case, instance_of
from decomp.studies.window import WindowPlan, cut, operate, plan, roll

Truth = tuple[str, int, float, float]  # tariff, day, net cost by the extensive form and by a plan, USD
LOOK_AHEAD = 2.5e-3  # of the cost: how much a step of the curve may fall because a day at a time is planned


@dataclass(frozen=True)
class Law:
    """A law of the problem: whether it holds here (None: nothing here tests it) and the numbers behind that."""

    name: str
    holds: bool | None
    numbers: str


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
        *_retail(study, [p for p in shares if p.foresight == "perfect"]),
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
    found = []
    for tariff in TARIFFS:
        points = [p for p in shares if p.tariff == tariff]
        share, gain = np.array([p.deferrable for p in points]), np.array([p.benefit for p in points])
        slope = np.diff(gain) / np.diff(share)
        found.append(
            Law(
                f"{tariff.capitalize()}: savings rise with the deferrable share, and flatten",
                bool((np.diff(gain) >= -LOOK_AHEAD).all() and slope[-1] < 0.5 * slope[0]),
                f"from 0 to {share[1]:.0%} {100 * gain[1]:.1f} points, to {share[-1]:.0%} {100 * gain[-1]:.1f}; "
                f"the last step has {slope[-1] / slope[0]:.0%} of the first one's slope",
            )
        )
    return found


def _retail(study: Study, shares: list[Point]) -> list[Law]:
    """Retail beside wholesale: level, gain, and shape of the curve beyond the base case."""
    at = {(p.tariff, p.deferrable): p for p in shares}
    base, most = study.setting.deferrable, max(p.deferrable for p in shares)
    whole, retail = (study.sweep([study.base(tariff)], ("perfect",))[0] for tariff in TARIFFS)
    rise = {t: at[t, most].saving - p.saving for t, p in zip(TARIFFS, (whole, retail), strict=True)}
    case = study.base("retail")
    charge = [
        account(study.instance(case), study.run(case, foresight)).components["demand_charge"]
        for foresight in ("none", "perfect")
    ]
    return [
        Law(
            "Retail saves a smaller share than wholesale",
            retail.saving < whole.saving,
            f"{retail.saving:.1%} against {whole.saving:.1%} with {base:.0%} deferrable",
        ),
        Law(
            "Retail gains less from scheduling than wholesale",
            retail.benefit < whole.benefit,
            f"{100 * retail.benefit:.1f} points against {100 * whole.benefit:.1f} with {base:.0%} deferrable; "
            f"{100 * (charge[0] - charge[1]) / retail.alone_usd:.1f} of the retail points are demand charge",
        ),
        Law(
            "Retail is flatter over the deferrable share",
            rise["retail"] < rise["wholesale"],
            f"from {base:.0%} to {most:.0%} deferrable {100 * rise['retail']:+.1f} points against "
            f"{100 * rise['wholesale']:+.1f}",
        ),
    ]


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


def operated(instance: Instance, found: WindowPlan) -> float:
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
