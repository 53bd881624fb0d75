"""One site's energy problem as matrices: equations (1)-(9) with the load as a variable.

A `Block` is plain arrays: columns with bounds, cost and emissions, rows with bounds. Several blocks
side by side make the problem of a cluster of sites. Nothing here knows a solver.
"""

from __future__ import annotations

import numpy as np

from decomp.lp.block import Block, Terms, either
from decomp.model.instance import Array, Generators, Microgrids, Sites
from decomp.model.reach import both_tempt, generation_reach, grid_reach, storable
from decomp.site.devices import Expression, Quantities, add_devices


def add_site(block: Block, grids: Microgrids, i: int, period_h: float, prefix: str = "", relaxed: bool = False) -> None:
    """Add site `i` to the block; its load is the variable `prefix + "load"` (GPU, one per period).

    Every variable has finite bounds, so that any dual vector proves a lower bound. With `relaxed` the
    binaries of (2), (5) and (6) are projected out: one row per period has the same linear relaxation.
    Without, `import_mode` and `battery_mode` are columns that a caller makes integer where a solution
    breaks the ban: a solution that keeps all bans is optimal for the problem with all of them. And generators are no
    larger than their site can use, or one with a wide limit would deliver while it is off by a solver's tolerance.
    """
    sites, generators = grids.sites, grids.generators
    n = sites.capacity_gpu.shape[1]
    dt = period_h
    load = block.add_columns(prefix + "load", n, 0.0, sites.capacity_gpu[i])
    power = _it_power(block, sites, i, load, prefix, relaxed)
    available = sites.wind_mw[i] + sites.solar_mw[i]
    used = block.add_columns(prefix + "renewable", n, 0.0 if sites.curtailable[i] else available, available)
    balance_terms = [*grid_terms(block, grids, i, dt, prefix, relaxed), (1.0, used)]
    balance_terms += battery_terms(block, sites, i, dt, prefix, relaxed)
    own = np.flatnonzero(generators.site == i)
    usable = np.full(n, np.inf) if relaxed or not len(own) else generation_reach(grids.take(np.array([i])))[0]
    made = [_generator(block, generators, int(g), usable, dt, f"{prefix}g{k}_") for k, g in enumerate(own)]
    balance_terms += [(1.0, output) for output in made]
    balance = block.rows[prefix + "balance"] = block.add_rows(0.0, 0.0, *balance_terms, (-sites.pue[i], power))
    of = dict(load=Expression([(1.0, load)]), it_power=Expression([(1.0, power)]))
    of |= dict(facility=Expression([(sites.pue[i], power)])) | grid_and_battery(block, sites, i, prefix)
    add_devices(block, grids, i, balance, Quantities(of, [Expression([(1.0, output)]) for output in made]), prefix)


def _it_power(block: Block, sites: Sites, i: int, load: Array, prefix: str, relaxed: bool) -> Array:
    """IT power: (2). Where it equals the curve, one binary per segment; the chord is the tightest linear ceiling."""
    slope, intercept, cap = sites.power_slope_mw_per_gpu[i], sites.power_intercept_mw[i], sites.capacity_gpu[i]
    idle, top = intercept.max(), (slope[:, None] * cap + intercept[:, None]).max(axis=0)
    power = block.add_columns(prefix + "it_power", len(cap), max(idle, 0.0), np.maximum(top, 0.0))
    for a, b in dict.fromkeys(zip(slope.tolist(), intercept.tolist(), strict=True)):
        if a > 0:
            block.add_rows(b, np.inf, (1.0, power), (-a, load))
    if not sites.exact_power_curve[i]:
        return power
    rise = np.divide(top - idle, cap, out=np.zeros_like(cap), where=cap > 0)
    block.add_rows(-np.inf, idle, (1.0, power), (-rise, load))
    if relaxed:
        return power
    chosen = []
    for m, (a, b) in enumerate(zip(slope, intercept, strict=True)):
        slack = np.maximum(idle - b, top - (a * cap + b))
        z = block.add_columns(f"{prefix}segment{m}", len(cap), 0.0, 1.0, integer=True)
        block.add_rows(-np.inf, b + slack, (1.0, power), (-a, load), (slack, z))
        chosen.append((1.0, z))
    block.add_rows(1.0, 1.0, *chosen)
    return power


def grid_and_battery(block: Block, sites: Sites, i: int, prefix: str) -> dict[str, Expression]:
    """Import, export, wind and sun, and the battery if there is one, of the last site added, as devices use them."""
    names = {"grid_import": "import", "grid_export": "export", "renewable": "renewable"}
    if sites.battery_mwh[i] > 0:  # else the names are those of another site in the block
        names |= {name: name for name in ("charge", "discharge", "stored")}
    return {name: Expression([(1.0, block.columns[prefix + own])]) for name, own in names.items()}


def grid_terms(block: Block, grids: Microgrids, i: int, dt: float, prefix: str, relaxed: bool) -> Terms:
    """Import, export, demand charge: (4), (5), (8)."""
    sites, n = grids.sites, grids.sites.capacity_gpu.shape[1]
    most_in, most_out = sites.import_limit_mw[i], sites.export_limit_mw[i]
    buy, sell = sites.buy_price[i], sites.sell_price[i]
    # Cancelling import against export never costs when buying is dearer in money and in carbon.
    tempting = (buy < sell) | (sites.carbon_intensity[i] < sites.export_credit[i])
    equipped = (grids.devices.site == i).any()
    banned = tempting | both_tempt(grids.take(np.array([i])))[0] if equipped else tempting
    if banned.any():  # wider limits than any use of them would leave little of the ban in the relaxation
        reach_in, reach_out = grid_reach(grids.take(np.array([i])))
        most_in, most_out = np.where(banned, reach_in[0], most_in), np.where(banned, reach_out[0], most_out)
    bought = block.add_columns(prefix + "import", n, 0.0, most_in, dt * buy, dt * sites.carbon_intensity[i])
    sold = block.add_columns(prefix + "export", n, 0.0, most_out, -dt * sell, -dt * sites.export_credit[i])
    at = np.flatnonzero(banned & (most_in > 0) & (most_out > 0))
    if len(at):
        either(block, prefix + "import_", bought[at], sold[at], (most_in[at], most_out[at]), relaxed)
    if sites.demand_charge[i] > 0:
        over = max(float(most_in.max()) - sites.peak_so_far_mw[i], 0.0)
        peak = block.add_columns(prefix + "peak", 1, 0.0, over, sites.demand_charge[i])
        block.add_rows(-np.inf, sites.peak_so_far_mw[i], (1.0, bought), (-1.0, np.repeat(peak, n)))
    return [(1.0, bought), (-1.0, sold)]


def battery_terms(
    block: Block, sites: Sites, i: int, dt: float, prefix: str, relaxed: bool, banned: Array | None = None
) -> Terms:
    """Stored energy: (6); with the ban on doing both in all periods, or in some."""
    if sites.battery_mwh[i] <= 0:
        return []
    n = sites.capacity_gpu.shape[1]
    full = float(storable(sites, dt)[i])
    least = np.full(n, sites.battery_min_mwh[i])
    least[-1] = max(least[-1], sites.battery_final_mwh[i])
    least = np.minimum(least, full)
    pc, pd = sites.charge_mw[i], sites.discharge_mw[i]
    chg = block.add_columns(prefix + "charge", n, 0.0, pc)
    dis = block.add_columns(prefix + "discharge", n, 0.0, pd, dt * sites.wear_usd_per_mwh[i])
    stored = block.add_columns(prefix + "stored", n, least, full)
    keep = (1.0 - sites.self_discharge_per_h[i]) ** dt
    start = np.zeros(n)
    start[0] = keep * sites.battery_initial_mwh[i]
    gain, drain = dt * sites.charge_efficiency[i], dt / sites.discharge_efficiency[i]
    rows = block.add_rows(start, start, (1.0, stored), (-gain, chg), (drain, dis))
    block.add_entries(rows[1:], stored[:-1], -keep)
    at = np.arange(n) if banned is None else banned
    if pc > 0 and pd > 0 and len(at):
        either(block, prefix + "battery_", chg[at], dis[at], (np.full(len(at), pc), np.full(len(at), pd)), relaxed)
    return [(1.0, dis), (-1.0, chg)]


def _generator(block: Block, generators: Generators, g: int, usable: Array, dt: float, prefix: str) -> Array:
    """Commitment, minimum times and ramps of one generator: (7). Returns its output columns.

    `usable` : (period,) the most that its site can take, MW.
    """
    low, high, n = generators.p_min_mw[g], generators.p_max_mw[g], len(usable)
    most = np.minimum(high, usable)
    was_on = generators.initial_mw[g] > 0
    up, down = int(generators.min_up_periods[g]), int(generators.min_down_periods[g])
    on_low, on_high = commitment_bounds(generators, g, n)
    fuel, tonnes = dt * generators.fuel_usd_per_mwh[g], dt * generators.emission_t_per_mwh[g]
    out = block.add_columns(prefix + "output", n, 0.0, most, fuel, tonnes)
    on = block.add_columns(prefix + "on", n, on_low, on_high, dt * generators.no_load_usd_per_h[g], integer=True)
    # Integral of themselves once `on` is: the windows below hold start at 0 while off, stop at 0 while on.
    start = block.add_columns(prefix + "start", n, 0.0, 1.0, generators.start_usd[g])
    stop = block.add_columns(prefix + "stop", n, 0.0, 1.0)
    block.add_rows(-np.inf, 0.0, (1.0, out), (-most, on))
    if low > 0:
        block.add_rows(0.0, np.inf, (1.0, out), (-low, on))
    before = np.zeros(n)
    before[0] = float(was_on)
    rows = block.add_rows(before, before, (1.0, on), (-1.0, start), (1.0, stop))
    block.add_entries(rows[1:], on[:-1], -1.0)
    add_window(block, start, on, up, -1.0, 0.0)
    add_window(block, stop, on, down, 1.0, 1.0)
    for limit, event, sign in (
        (generators.ramp_up_mw_per_h[g], start, 1.0),
        (generators.ramp_down_mw_per_h[g], stop, -1.0),
    ):
        step = min(dt * limit, high)
        if step < high:
            first = sign * generators.initial_mw[g] + (step * was_on if sign > 0 else 0.0)
            _ramp(block, (out, on, event), sign, step, max(low, step), first)
    return out


def commitment_bounds(generators: Generators, g: int, n: int) -> tuple[Array, Array]:
    """Least and most commitment in each period: what is left of a minimum time is binding at the start."""
    was_on = generators.initial_mw[g] > 0
    least = generators.min_up_periods if was_on else generators.min_down_periods
    owed = int(least[g] - generators.initial_periods[g])
    low, high = np.zeros(n), np.ones(n)
    (low if was_on else high)[: max(owed, 0)] = 1.0 if was_on else 0.0
    return low, high


def add_window(block: Block, event: Array, on: Array, length: int, sign: float, high: float) -> None:
    """Sum of the last `length` events at most `on` (sign -1) or at most 1 - on (sign +1)."""
    n = len(on)
    rows = block.add_rows(-np.inf, high, (sign, on))
    for back in range(min(length, n)):
        block.add_entries(rows[back:], event[: n - back], 1.0)


def _ramp(
    block: Block, columns: tuple[Array, Array, Array], sign: float, step: float, jump: float, first: float
) -> None:
    """sign*(out_t - out_{t-1}) <= step * on (before, if upward; after, if not) + jump * event_t; upward: sign +1.

    `columns` : out, on, and the event: a start if upward, a stop if not. `first` : side of the first row, which holds
    output and state before the horizon, MW.
    """
    out, on, event = columns
    high = np.zeros(len(out))
    high[0] = first
    rows = block.add_rows(-np.inf, high, (sign, out), (-jump, event))
    block.add_entries(rows[1:], out[:-1], -sign)
    if sign > 0:
        block.add_entries(rows[1:], on[:-1], -step)
    else:
        block.add_entries(rows, on, -step)


def add_allowance(block: Block, allowance: float, price: float) -> None:
    """The emissions of the columns so far keep an allowance (t), or pay a price (USD/t) beyond it, inf: never."""
    tonnes, priced = np.concatenate(block.emission), np.isfinite(price)
    emitting = np.flatnonzero(tonnes)
    most = float(np.maximum(tonnes * np.concatenate(block.high), 0.0).sum())
    beyond = max(most - allowance, 0.0) if priced else 0.0
    excess = block.add_columns("excess", 1, 0.0, beyond, price if priced else 0.0)
    row = block.add_rows(-np.inf, allowance, (-1.0, excess))
    block.add_entries(np.repeat(row, len(emitting)), emitting, tonnes[emitting])
