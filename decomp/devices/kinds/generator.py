"""A generator with commitment, minimum times and ramps: the rows of the built-in ones (equation 7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from decomp.devices.draft import Draft
from decomp.devices.kind import Kind, Place, setting
from decomp.model.instance import Array, InputError
from decomp.model.refusal import INTENSITY_LIMIT
from decomp.model.rounding import fits


@dataclass(frozen=True)
class Generator(Kind):
    """Output between least and largest when on; minimum up and down times, ramps; fuel, no-load and start cost.

    Defaults are those of a gas engine: 8.5 MMBtu/MWh at 4 USD/MMBtu, and 53.06 kg CO2/MMBtu (EIA, Carbon Dioxide
    Emissions Coefficients).
    """

    p_max_mw: float | None = setting(None, "MW", "largest output (default: half of full load)")
    p_min_mw: float | None = setting(None, "MW", "least output when on (default: 40 % of the largest)")
    fuel_usd_per_mwh: float = setting(34.0, "USD/MWh", "fuel cost of output", low=-np.inf)
    no_load_usd_per_h: float = setting(0.0, "USD/h", "cost of being on")
    start_usd: float = setting(0.0, "USD", "cost of a start")
    ramp_mw_per_h: float | None = setting(None, "MW/h", "fastest rise and fall when on (default: any)")
    min_up_h: float = setting(1.0, "h", "least time on after a start")
    min_down_h: float = setting(1.0, "h", "least time off after a stop")
    emission_t_per_mwh: float = setting(0.45, "t/MWh", "emissions of output", high=INTENSITY_LIMIT)
    initial_mw: float = setting(0.0, "MW", "output before the first period (0: off)")
    initial_h: float = setting(1e4, "h", "time already on or off")

    def usual_least(self, most: float) -> float:
        """Least output when on where none is given, MW."""
        return 0.4 * most

    def sizes(self, site: Place) -> tuple[float, float]:
        """Least output when on, and largest, MW.

        Raises
        ------
        InputError : no output can be between them, or that before the first period is not.
        """
        most = 0.5 * site.full_mw if self.p_max_mw is None else self.p_max_mw
        least, now = self.usual_least(most) if self.p_min_mw is None else self.p_min_mw, self.initial_mw
        if not fits(least, most):
            raise InputError(f"{self.called()}.p_min_mw: {least:g} MW, must be at most p_max_mw = {most:g} MW")
        if now > 0 and not (fits(least, now) and fits(now, most)):
            raise InputError(f"{self.called()}.initial_mw: {now:g} MW, must be 0 or between {least:g} and {most:g} MW")
        return least, most

    def draft(self, site: Place) -> Draft:
        t, hours, draft = site.periods, site.hours, Draft()
        low, high = self.sizes(site)
        was_on, first = self.initial_mw > 0, t == 0
        up, down = (max(math.ceil(least / hours - 1e-9), 1) for least in (self.min_up_h, self.min_down_h))
        owed = t * hours < (self.min_up_h if was_on else self.min_down_h) - self.initial_h - 1e-9
        price, emitted = hours * self.fuel_usd_per_mwh, hours * self.emission_t_per_mwh
        output = draft.variables("output", 0.0, high, index=t, unit="MW", power=1.0, cost=price, emission=emitted)
        ends = np.where(owed & was_on, 1.0, 0.0), np.where(owed & (not was_on), 0.0, 1.0)
        on = draft.variables("on", *ends, index=t, integer=True, cost=hours * self.no_load_usd_per_h)
        start = draft.variables("start", 0.0, 1.0, index=t, cost=self.start_usd)
        stop = draft.variables("stop", 0.0, 1.0, index=t)
        draft.rows("most", -np.inf, 0.0, (1.0, output), (-high, on), index=t, unit="MW")
        draft.rows("least", 0.0, np.inf, (1.0, output), (-low, on), index=t, unit="MW")
        before = np.where(first, float(was_on), 0.0)
        earlier = np.where(first, 0.0, 1.0)
        terms = [(1.0, on), (-earlier, np.roll(on, 1)), (-1.0, start), (1.0, stop)]
        draft.rows("switch", before, before, *terms, index=t)
        _window(draft, "min_up", start, on, up, -1.0, 0.0)
        _window(draft, "min_down", stop, on, down, 1.0, 1.0)
        step = high if self.ramp_mw_per_h is None else min(hours * self.ramp_mw_per_h, high)
        if step < high:
            jump, mw = max(low, step), np.where(first, self.initial_mw, 0.0)
            rise = [(1.0, output), (-earlier, np.roll(output, 1)), (-step * earlier, np.roll(on, 1)), (-jump, start)]
            draft.rows("ramp_up", -np.inf, mw + np.where(first, step * was_on, 0.0), *rise, index=t, unit="MW")
            fall = [(-1.0, output), (earlier, np.roll(output, 1)), (-step, on), (-jump, stop)]
            draft.rows("ramp_down", -np.inf, -mw, *fall, index=t, unit="MW")
        return draft


def _window(draft: Draft, name: str, event: Array, on: Array, length: int, sign: float, most: float) -> None:
    """The last `length` events are at most on (sign -1), or at most 1 - on (sign 1)."""
    t = np.arange(len(on))
    back = [(np.where(t >= k, 1.0, 0.0), np.roll(event, k)) for k in range(min(length, len(on)))]
    draft.rows(name, -np.inf, most, (sign, on), *back, index=t)
