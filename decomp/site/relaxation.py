"""The linear relaxation of one site's energy problem, in as few rows and columns as it takes.

`equations` states equations (1)-(9) as they are read; here the same relaxation is stated for speed, since the
bound asks it of every site in every iteration. The load is a sum of pieces `load0`, `load1`, ... (one for each
segment of the power curve, cheap ones first), power that nobody needs is curtailment below zero, and
generators carry no stop variable.

Where power cannot be worth less than nothing (buy price of at least 0, curtailment allowed) the rows that limit how
much of it may be wasted are left out. Should a generator that must run make it worth less even there, the optimum here
may lie below that of `equations`, never above it.
"""

from __future__ import annotations

import numpy as np

from decomp.lp.block import Block, Model, Terms
from decomp.model.instance import Array, Generators, Microgrids
from decomp.site.devices import Expression, Quantities, add_devices
from decomp.site.equations import battery_terms, commitment_bounds, grid_and_battery, grid_terms


def power_pieces(slope: Array, intercept: Array) -> tuple[Array, Array, float]:
    """The curve max(0, max over m of slope * load + intercept): starts of its pieces (GPU), their slopes, its floor."""
    at, rise = 0.0, 0.0
    value = floor = max(float(intercept.max()), 0.0)
    starts, slopes = [0.0], [0.0]
    while (steeper := slope > rise).any():
        meets = np.maximum((value - intercept[steeper] - slope[steeper] * at) / (slope[steeper] - rise), 0.0)
        first = float(meets.min())
        value, at = value + rise * first, at + first
        rise = float(slope[steeper][meets <= first].max())
        if first == 0.0:
            slopes[-1] = rise
        else:
            starts.append(at)
            slopes.append(rise)
    return np.array(starts), np.array(slopes), floor


def relaxed_site(grids: Microgrids, i: int, dt: float) -> Model:
    """The relaxation of site `i` with periods of `dt` hours."""
    block = Block()
    sites, generators = grids.sites, grids.generators
    cap, pue, n = sites.capacity_gpu[i], sites.pue[i], sites.capacity_gpu.shape[1]
    starts, slopes, floor = power_pieces(sites.power_slope_mw_per_gpu[i], sites.power_intercept_mw[i])
    ends = np.append(starts[1:], np.inf)
    width = np.clip(cap, starts[:, None], ends[:, None]) - starts[:, None]
    pieces = [block.add_columns(f"load{p}", n, 0.0, w) for p, w in enumerate(width)]
    most = slopes @ width  # IT power at full load beyond the floor, MW
    exact, must_use = bool(sites.exact_power_curve[i]), not sites.curtailable[i]
    equipped = bool((grids.devices.site == i).any())  # devices may make power worth less than nothing
    limited = (sites.buy_price[i] < 0) | must_use | exact | equipped
    at = np.flatnonzero(limited)
    available = sites.wind_mw[i] + sites.solar_mw[i]
    least = (available if must_use else 0.0) - np.where(limited, 0.0, pue * most)
    renewable = block.add_columns("renewable", n, least, available)
    terms = [*grid_terms(block, grids, i, dt, "", True), (1.0, renewable)]
    terms += battery_terms(block, sites, i, dt, "", True, at)
    made = [_generator_terms(block, generators, int(g), n, dt) for g in np.flatnonzero(generators.site == i)]
    terms += [term for output in made for term in output]
    terms += [(-pue * a, piece) for a, piece in zip(slopes, pieces, strict=True)]
    balance = block.add_rows(pue * floor, pue * floor, *terms)
    if len(at):
        waste = block.add_columns("waste", len(at), 0.0, most[at])
        block.add_entries(balance[at], waste, -pue[at])
        chord = np.divide(most, cap, out=np.zeros_like(most), where=cap > 0)[at] if exact else 0.0
        rise = [(a - chord, piece[at]) for a, piece in zip(slopes, pieces, strict=True)]
        block.add_rows(-np.inf, 0.0 if exact else most[at], (1.0, waste), *rise)
    if equipped:  # then waste has a column in every period
        power: Terms = [(1.0, waste), *((a, piece) for a, piece in zip(slopes, pieces, strict=True))]
        of = dict(load=Expression([(1.0, piece) for piece in pieces]), it_power=Expression(power, floor))
        of |= dict(facility=Expression([(pue * a, piece) for a, piece in power], pue * floor))
        of |= grid_and_battery(block, sites, i, "")
        add_devices(block, grids, i, balance, Quantities(of, [Expression(output) for output in made]))
    return block.finish()


def _generator_terms(block: Block, generators: Generators, g: int, n: int, dt: float) -> Terms:
    """Generator `g` without its stops: stop = start - on + (on before); output = p_min * on + extra."""
    low, high = float(generators.p_min_mw[g]), float(generators.p_max_mw[g])
    initial, was_on = float(generators.initial_mw[g]), float(generators.initial_mw[g] > 0)
    fuel, tonnes = dt * generators.fuel_usd_per_mwh[g], dt * generators.emission_t_per_mwh[g]
    keeping = dt * generators.no_load_usd_per_h[g] + low * fuel
    extra = block.add_columns(f"g{g}_extra", n, 0.0, high - low, fuel, tonnes)
    on = block.add_columns(f"g{g}_on", n, *commitment_bounds(generators, g, n), keeping, low * tonnes)
    start = block.add_columns(f"g{g}_start", n, 0.0, 1.0, generators.start_usd[g])
    first = np.zeros(n)
    first[0] = 1.0
    block.add_rows(-np.inf, 0.0, (1.0, extra), (low - high, on))
    rows = block.add_rows(-np.inf, was_on * first, (1.0, on), (-1.0, start))
    block.add_entries(rows[1:], on[:-1], -1.0)
    up, down = (min(int(m[g]), n) for m in (generators.min_up_periods, generators.min_down_periods))
    rows = block.add_rows(-np.inf, 0.0, (-1.0, on))
    for back in range(up):
        block.add_entries(rows[back:], start[: n - back], 1.0)
    rows = block.add_rows(-np.inf, np.where(np.arange(n) < down, 1.0 - was_on, 1.0), (1.0, start))
    block.add_entries(rows[down:], on[: n - down], 1.0)
    for back in range(1, down):
        block.add_entries(rows[back:], start[: n - back], 1.0)
    step = min(dt * float(generators.ramp_up_mw_per_h[g]), high)
    if step < high:
        limit = (initial + step * was_on) * first
        rows = block.add_rows(-np.inf, limit, (1.0, extra), (low, on), (-max(low, step), start))
        block.add_entries(rows[1:], extra[:-1], -1.0)
        block.add_entries(rows[1:], on[:-1], -low - step)
    step = min(dt * float(generators.ramp_down_mw_per_h[g]), high)
    if step < high:
        jump = max(low, step)
        limit = (jump * was_on - initial) * first
        rows = block.add_rows(-np.inf, limit, (-1.0, extra), (jump - low - step, on), (-jump, start))
        block.add_entries(rows[1:], extra[:-1], 1.0)
        block.add_entries(rows[1:], on[:-1], low - jump)
    return [(1.0, extra), (low, on)]
