"""The extensive form in Pyomo: the whole model in one piece, the readable truth.

One function per group of equations; each adds its variables and rows and returns its part of the net cost, USD.
Numbers in brackets are equation numbers of docs/model.md. Variable names are the column names of the exported MPS:
`imp_3_17` is the import of site 3 in period 17, `imp_s2_3_17` that in scenario 2: with scenarios the instance is an
expanded one, and a job loads its site's rows in all of them. Indices: i site, t period, m power segment, g generator,
a arc, d stream, c candidate (a job at a site), j job, k pool arc, p pool; Δ = `hours`.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pyomo.environ as pyo
from pyomo.opt import WriterFactory

from decomp.extensive.by_highs import solve
from decomp.extensive.matrices import ExtensiveForm
from decomp.extensive.names import mps_name, readable, shape
from decomp.extensive.plain import device_terms, group, plain
from decomp.extensive.reductions import battery_ban_is_redundant, grid_ban_is_redundant, start_allowed
from decomp.extensive.stochastic import with_scenario_rows
from decomp.lp import watch
from decomp.model.devices import variable_site
from decomp.model.instance import Array, Instance
from decomp.model.reach import grid_reach, storable
from decomp.model.result import Result, Status
from decomp.model.rounding import with_exact_fits
from decomp.model.scenarios import expand

Model: TypeAlias = Any
Cost: TypeAlias = Any


def build(instance: Instance, relax: bool = False) -> ExtensiveForm:
    """Build the extensive form of an instance; `relax` drops the integrality of every variable."""
    began, instance = time.perf_counter(), expand(instance)
    model = build_model(instance)
    compiled = WriterFactory("compile_standard_form").write(model, mixed_form=True)
    position = {id(column): n for n, column in enumerate(compiled.columns)}
    index: dict[str, Array] = {}
    for variable in model.component_objects(pyo.Var):
        block = np.full(shape(instance, variable.local_name), -1)
        for key, column in variable.items():
            block[() if key is None else key] = position.get(id(column), -1)  # of a device, if nothing uses it
        index[variable.local_name] = block
    kind, rhs = np.array([row.bound_type for row in compiled.rows], dtype=int), np.asarray(compiled.rhs, dtype=float)
    bounds = np.array([column.bounds for column in compiled.columns], dtype=float).reshape(-1, 2)
    form = ExtensiveForm(
        instance=instance,
        cost=compiled.c.toarray().ravel(),
        offset=float(compiled.c_offset[0]),
        matrix=compiled.A.tocsr(),
        row_lower=np.where(kind == 1, -np.inf, rhs),
        row_upper=np.where(kind == -1, np.inf, rhs),
        lower=bounds[:, 0],
        upper=bounds[:, 1],
        integer=np.array([column.is_integer() and not relax for column in compiled.columns], dtype=bool),
        columns=readable([mps_name(column.name, instance) for column in compiled.columns], index["device"], instance),
        rows=[mps_name(row.constraint.name, instance) for row in compiled.rows],
        index=index,
        relaxed=relax,
        build_seconds=time.perf_counter() - began,
    )
    return with_scenario_rows(form)


def solve_extensive(instance: Instance, *, relax: bool = False, time_limit: float = np.inf, **settings: Any) -> Result:
    """Build the extensive form and solve it with HiGHS on one thread; for the settings see `by_highs.solve`.

    A model that is not built within `time_limit` seconds, or before a stop signal, proves nothing.
    """
    try:
        with watch.limited(time_limit), watch.breaking_off("decomp", "pyomo"):
            form = build(instance, relax)
    except watch.Interrupted:
        return Result(Status.LIMIT, -np.inf, np.inf, None, None, provenance=dict(instance_hash=instance.content_hash()))
    return solve(form, time_limit=time_limit - form.build_seconds, **settings)


def build_model(instance: Instance) -> Model:
    """The Pyomo model; its objective is the net cost, USD, constants included."""
    model, instance = pyo.ConcreteModel("decomp"), with_exact_fits(instance)
    data = plain(instance)
    parts = [
        inference(model, data),
        jobs(model, data, instance),
        pools(model, data),
        load(model, data),
        power(model, data, instance),
        grid(model, data, instance),
        renewables(model, data, instance),
        generators(model, data),
        battery(model, data, instance),
        devices(model, data, instance),
        balance(model, data, instance),
        demand_charge(model, data),
        emissions(model, data, instance),
        carbon_budget(model, data, instance),
    ]
    model.net_cost = pyo.Objective(expr=pyo.quicksum(parts))
    return model


def inference(m: Model, data: SimpleNamespace) -> Cost:
    """(C1) Σ_{arcs a of d} route_at + unserved_dt = demand_dt: every stream is served or counted as unserved."""
    arcs, streams, demand = data.arcs, data.streams, data.demand_gpu
    m.route = pyo.Var(data.A, data.T, bounds=lambda m, a, t: (0, demand[arcs.stream[a]][t]))
    m.unserved = pyo.Var(data.D, data.T, bounds=lambda m, d, t: (0, demand[d][t]))
    arcs_of = group(data.D, arcs.stream)
    m.serve = pyo.Constraint(
        data.D,
        data.T,
        rule=lambda m, d, t: pyo.quicksum(m.route[a, t] for a in arcs_of[d]) + m.unserved[d, t] == demand[d][t],
    )
    net = [arcs.cost[a] - streams.revenue[arcs.stream[a]] for a in data.A]
    return pyo.quicksum(data.hours * net[a] * m.route[a, t] for a in data.A for t in data.T) + pyo.quicksum(
        data.hours * streams.unserved_penalty[d] * m.unserved[d, t] for d in data.D for t in data.T
    )


def jobs(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(C2) Σ_{c of j, τ} start_cτ + reject_j = 1: one site and one start, or rejection (never of a mandatory job).

    A start is a column only if the run fits into the job's window and under the site's capacity.
    """
    table, candidates = data.jobs, data.candidates
    allowed = [(c, t) for c, t in zip(*(axis.tolist() for axis in np.nonzero(start_allowed(instance))), strict=True)]
    m.start = pyo.Var(allowed, domain=pyo.Binary)
    m.reject = pyo.Var(data.J, bounds=lambda m, j: (0, 0 if table.mandatory[j] else 1))
    starts_of: list[list[Any]] = [[] for _ in data.J]
    for c, t in allowed:
        starts_of[candidates.job[c]].append(m.start[c, t])
    m.place = pyo.Constraint(data.J, rule=lambda m, j: pyo.quicksum(starts_of[j]) + m.reject[j] == 1)
    net = [cost - table.value_usd[j] for j, cost in zip(candidates.job, candidates.cost_usd, strict=True)]
    return pyo.quicksum(net[c] * m.start[c, t] for c, t in allowed)


def pools(m: Model, data: SimpleNamespace) -> Cost:
    """(C4) Σ_{k of p, t in window} Δ pool_kt + short_p = work_p, 0 ≤ pool ≤ rate: fluid work inside its window."""
    table, arcs = data.pools, data.pool_arcs
    open_at = [
        (k, t) for k in data.K for t in range(table.start[arcs.pool[k]], min(table.end[arcs.pool[k]], len(data.T)))
    ]
    m.pool = pyo.Var(open_at, bounds=lambda m, k, t: (0, arcs.rate_gpu[k]))
    hard = np.isinf(table.shortfall_penalty)
    m.short = pyo.Var(data.P, bounds=lambda m, p: (0, 0 if hard[p] else table.work_gpu_h[p]))
    flows_of: list[list[Any]] = [[] for _ in data.P]
    for k, t in open_at:
        flows_of[arcs.pool[k]].append(data.hours * m.pool[k, t])
    m.finish = pyo.Constraint(data.P, rule=lambda m, p: pyo.quicksum(flows_of[p]) + m.short[p] == table.work_gpu_h[p])
    return pyo.quicksum(table.shortfall_penalty[p] * m.short[p] for p in data.P if not hard[p])


def load(m: Model, data: SimpleNamespace) -> Cost:
    """(1) gpu_it = Σ route + Σ gpus_j Σ_{τ: running in t} start_cτ + Σ pool, 0 ≤ gpu ≤ capacity: the load."""
    work: list[list[list[Any]]] = [[[] for _ in data.T] for _ in data.S]
    for (a, t), column in m.route.items():
        work[data.arcs.site[a]][t].append(column)
    for (c, tau), column in m.start.items():
        j, i = data.candidates.job[c], data.candidates.site[c]
        running = data.jobs.gpus[j] * column
        for row in data.rows_of[i]:
            for t in range(tau, tau + data.jobs.periods[j]):
                work[row][t].append(running)
    for (k, t), column in m.pool.items():
        work[data.pool_arcs.site[k]][t].append(column)
    m.gpu = pyo.Var(data.S, data.T, bounds=lambda m, i, t: (0, data.sites.capacity_gpu[i][t]))
    m.carry = pyo.Constraint(data.S, data.T, rule=lambda m, i, t: m.gpu[i, t] - pyo.quicksum(work[i][t]) == 0)
    return 0


def power(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(2) it_it ≥ a_im gpu_it + b_im, it ≤ curve at full load; exact sites: equality on one segment, seg_imt = 1.

    The lower bound max_m b_im of `it` follows from the rows, as a ≥ 0 and gpu ≥ 0.
    """
    slope, intercept = data.sites.power_slope_mw_per_gpu, data.sites.power_intercept_mw
    a, b = instance.sites.power_slope_mw_per_gpu, instance.sites.power_intercept_mw
    idle = b.max(axis=1)  # (site), curve at zero load
    full = a[:, :, None] * instance.sites.capacity_gpu[:, None, :] + b[:, :, None]  # (site, segment, period)
    top = full.max(axis=1)
    m.it = pyo.Var(data.S, data.T, bounds=lambda m, i, t: (float(idle[i]), float(top[i, t])))
    m.curve = pyo.Constraint(
        data.S,
        data.M,
        data.T,
        rule=lambda m, i, s, t: m.it[i, t] - slope[i][s] * m.gpu[i, t] >= intercept[i][s],
    )
    exact = [i for i in data.S if data.sites.exact_power_curve[i]]
    slack = np.maximum((idle[:, None] - b)[:, :, None], top[:, None, :] - full).tolist()  # curve less segment, at most
    m.seg = pyo.Var(exact, data.M, data.T, domain=pyo.Binary)
    m.one_seg = pyo.Constraint(exact, data.T, rule=lambda m, i, t: pyo.quicksum(m.seg[i, s, t] for s in data.M) == 1)
    m.on_curve = pyo.Constraint(
        exact,
        data.M,
        data.T,
        rule=lambda m, i, s, t: (
            m.it[i, t] - slope[i][s] * m.gpu[i, t] + slack[i][s][t] * m.seg[i, s, t] <= intercept[i][s] + slack[i][s][t]
        ),
    )
    return 0


def grid(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(5) imp ≤ import limit, exp ≤ export limit; imp_on_it bans both at once wherever that could pay."""
    s = data.sites
    m.imp = pyo.Var(data.S, data.T, bounds=lambda m, i, t: (0, s.import_limit_mw[i][t]))
    m.exp = pyo.Var(data.S, data.T, bounds=lambda m, i, t: (0, s.export_limit_mw[i][t]))
    banned = np.argwhere(~grid_ban_is_redundant(instance)).tolist()
    most_in, most_out = (mw.tolist() for mw in grid_reach(instance.microgrids))
    m.imp_on = pyo.Var([tuple(key) for key in banned], domain=pyo.Binary)
    m.imp_ban = pyo.Constraint(list(m.imp_on), rule=lambda m, i, t: m.imp[i, t] - most_in[i][t] * m.imp_on[i, t] <= 0)
    m.exp_ban = pyo.Constraint(
        list(m.imp_on), rule=lambda m, i, t: m.exp[i, t] + most_out[i][t] * m.imp_on[i, t] <= most_out[i][t]
    )
    return pyo.quicksum(
        data.hours * (s.buy_price[i][t] * m.imp[i, t] - s.sell_price[i][t] * m.exp[i, t])
        for i in data.S
        for t in data.T
    )


def renewables(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """0 ≤ ren ≤ wind + sun, equal where these may not be curtailed."""
    available, curtailable = instance.renewable_mw.tolist(), data.sites.curtailable
    m.ren = pyo.Var(data.S, data.T, bounds=lambda m, i, t: (0 if curtailable[i] else available[i][t], available[i][t]))
    return 0


def devices(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """low ≤ Σ coefficient x quantity ≤ high: the devices' own variables, and rows over these and what sites do."""
    v, r = data.device_variables, data.device_rows
    numbers, kinds = range(len(v.low)), (pyo.Reals, pyo.Integers)
    m.device = pyo.Var(numbers, domain=lambda m, k: kinds[v.integer[k]], bounds=lambda m, k: (v.low[k], v.high[k]))
    sums = device_terms(m, data)
    free = [k for k, terms in enumerate(sums) if any(not isinstance(term, float) for term in terms)]
    m.device_row = pyo.Constraint(free, rule=lambda m, k: pyo.inequality(r.low[k], pyo.quicksum(sums[k]), r.high[k]))
    return pyo.quicksum(v.cost[k] * m.device[k] for k in numbers)


def generators(m: Model, data: SimpleNamespace) -> Cost:
    """(7) Generators: on, up (start), down (stop); minimum times, ramps; the state before the horizon is data."""
    n, hours = data.generators, data.hours
    m.gen = pyo.Var(data.G, data.T, bounds=lambda m, g, t: (0, n.p_max_mw[g]))
    m.on = pyo.Var(data.G, data.T, domain=pyo.Binary)
    m.up = pyo.Var(data.G, data.T, domain=pyo.Binary)
    m.down = pyo.Var(data.G, data.T, domain=pyo.Binary)
    was_on = [float(mw > 0) for mw in n.initial_mw]
    for g in data.G:
        least = n.min_up_periods[g] if was_on[g] else n.min_down_periods[g]
        for t in range(min(least - n.initial_periods[g], len(data.T))):
            m.on[g, t].setlb(was_on[g])
            m.on[g, t].setub(was_on[g])

    def on_before(g: int, t: int) -> Any:
        return m.on[g, t - 1] if t else was_on[g]

    def gen_before(g: int, t: int) -> Any:
        return m.gen[g, t - 1] if t else n.initial_mw[g]

    def window(moves: Any, g: int, t: int, least: int) -> Any:
        return pyo.quicksum(moves[g, tau] for tau in range(max(0, t - least + 1), t + 1))

    rise = [min(rate * hours, p_max) for rate, p_max in zip(n.ramp_up_mw_per_h, n.p_max_mw, strict=True)]
    fall = [min(rate * hours, p_max) for rate, p_max in zip(n.ramp_down_mw_per_h, n.p_max_mw, strict=True)]
    rows = {
        "gen_min": lambda m, g, t: m.gen[g, t] - n.p_min_mw[g] * m.on[g, t] >= 0,
        "gen_max": lambda m, g, t: m.gen[g, t] - n.p_max_mw[g] * m.on[g, t] <= 0,
        "switch": lambda m, g, t: m.on[g, t] - on_before(g, t) - m.up[g, t] + m.down[g, t] == 0,
        "min_up": lambda m, g, t: window(m.up, g, t, n.min_up_periods[g]) - m.on[g, t] <= 0,
        "min_down": lambda m, g, t: window(m.down, g, t, n.min_down_periods[g]) + m.on[g, t] <= 1,
    }
    for name, rule in rows.items():
        setattr(m, name, pyo.Constraint(data.G, data.T, rule=rule))
    m.ramp_up = pyo.Constraint(
        [g for g in data.G if np.isfinite(n.ramp_up_mw_per_h[g])],
        data.T,
        rule=lambda m, g, t: (
            m.gen[g, t] - gen_before(g, t) - rise[g] * on_before(g, t) - max(n.p_min_mw[g], rise[g]) * m.up[g, t] <= 0
        ),
    )
    m.ramp_down = pyo.Constraint(
        [g for g in data.G if np.isfinite(n.ramp_down_mw_per_h[g])],
        data.T,
        rule=lambda m, g, t: (
            gen_before(g, t) - m.gen[g, t] - fall[g] * m.on[g, t] - max(n.p_min_mw[g], fall[g]) * m.down[g, t] <= 0
        ),
    )
    return pyo.quicksum(
        hours * (n.fuel_usd_per_mwh[g] * m.gen[g, t] + n.no_load_usd_per_h[g] * m.on[g, t])
        + n.start_usd[g] * m.up[g, t]
        for g in data.G
        for t in data.T
    )


def battery(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(6) sto_{t+1} = (1-σ)^Δ sto_t + Δ(η_c chg_t - dis_t/η_d); chg_on_it bans both at once wherever that could pay."""
    s, hours, full = data.sites, data.hours, storable(instance.sites, data.hours).tolist()
    owners, horizon = [i for i in data.S if s.battery_mwh[i] > 0], len(data.T)

    def bounds(m: Model, i: int, t: int) -> tuple[float, float]:
        floor = s.battery_min_mwh[i] if t < horizon else max(s.battery_min_mwh[i], s.battery_final_mwh[i])
        return min(floor, full[i]), full[i]

    def store(m: Model, i: int, t: int) -> Any:
        kept = (1 - s.self_discharge_per_h[i]) ** hours * (m.sto[i, t] if t else s.battery_initial_mwh[i])
        flow = s.charge_efficiency[i] * m.chg[i, t] - (1 / s.discharge_efficiency[i]) * m.dis[i, t]
        return m.sto[i, t + 1] - kept - hours * flow == 0

    m.chg = pyo.Var(owners, data.T, bounds=lambda m, i, t: (0, s.charge_mw[i]))
    m.dis = pyo.Var(owners, data.T, bounds=lambda m, i, t: (0, s.discharge_mw[i]))
    m.sto = pyo.Var(owners, range(1, horizon + 1), bounds=bounds)
    m.store = pyo.Constraint(owners, data.T, rule=store)
    banned = np.argwhere(~battery_ban_is_redundant(instance)).tolist()
    m.chg_on = pyo.Var([tuple(key) for key in banned], domain=pyo.Binary)
    m.chg_ban = pyo.Constraint(list(m.chg_on), rule=lambda m, i, t: m.chg[i, t] - s.charge_mw[i] * m.chg_on[i, t] <= 0)
    m.dis_ban = pyo.Constraint(
        list(m.chg_on), rule=lambda m, i, t: m.dis[i, t] + s.discharge_mw[i] * m.chg_on[i, t] <= s.discharge_mw[i]
    )
    return pyo.quicksum(hours * s.wear_usd_per_mwh[i] * m.dis[i, t] for i in owners for t in data.T)


def balance(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(3, 4) imp - exp + ren + Σ gen + dis - chg + Σ power device = pue it."""
    s, generators_of = data.sites, group(data.S, data.generators.site)
    acting: list[list[list[tuple[int, float]]]] = [[[] for _ in data.T] for _ in data.S]
    for k, mw in enumerate(data.device_variables.power):
        if mw:
            acting[data.devices.site[data.device_variables.device[k]]][data.device_variables.period[k]].append((k, mw))

    def rule(m: Model, i: int, t: int) -> Any:
        local = m.ren[i, t] + pyo.quicksum(m.gen[g, t] for g in generators_of[i])
        if s.battery_mwh[i] > 0:
            local += m.dis[i, t] - m.chg[i, t]
        local += pyo.quicksum(mw * m.device[k] for k, mw in acting[i][t])
        return m.imp[i, t] - m.exp[i, t] + local - s.pue[i][t] * m.it[i, t] == 0

    m.balance = pyo.Constraint(data.S, data.T, rule=rule)
    return 0


def demand_charge(m: Model, data: SimpleNamespace) -> Cost:
    """(8) peak_i ≥ imp_it - peak so far, peak_i ≥ 0: only what exceeds the billing window's peak is paid."""
    s = data.sites
    charged = [i for i in data.S if s.demand_charge[i] > 0]
    m.peak = pyo.Var(charged, bounds=lambda m, i: (0, max(0.0, max(s.import_limit_mw[i]) - s.peak_so_far_mw[i])))
    m.above = pyo.Constraint(charged, data.T, rule=lambda m, i, t: m.imp[i, t] - m.peak[i] <= s.peak_so_far_mw[i])
    return pyo.quicksum(s.demand_charge[i] * m.peak[i] for i in charged)


def emissions(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(9) emis_i = Σ_t Δ (carbon_intensity imp - export_credit exp + Σ_g emission_g gen), at the carbon price."""
    s, n, hours = data.sites, data.generators, data.hours
    generators_of = group(data.S, n.site)
    least = -hours * (instance.sites.export_credit * instance.sites.export_limit_mw).sum(axis=1)
    most = hours * (instance.sites.carbon_intensity * instance.sites.import_limit_mw).sum(axis=1)
    burn = hours * len(data.T) * instance.generators.emission_t_per_mwh * instance.generators.p_max_mw
    np.add.at(most, instance.generators.site, burn)
    v, owner = instance.device_variables, variable_site(instance)
    ends = np.sort([v.emission * v.low, v.emission * v.high], axis=0)
    np.add.at(least, owner, ends[0])
    np.add.at(most, owner, ends[1])
    emitting = group(data.S, owner.tolist())
    m.emis = pyo.Var(data.S, bounds=lambda m, i: (float(least[i]), float(most[i])))

    def rule(m: Model, i: int) -> Any:
        grid = pyo.quicksum(
            hours * (s.carbon_intensity[i][t] * m.imp[i, t] - s.export_credit[i][t] * m.exp[i, t]) for t in data.T
        )
        burned = pyo.quicksum(hours * n.emission_t_per_mwh[g] * m.gen[g, t] for g in generators_of[i] for t in data.T)
        of_devices = pyo.quicksum(v.emission[k] * m.device[k] for k in emitting[i] if v.emission[k])
        return m.emis[i] - grid - burned - of_devices == 0

    m.emit = pyo.Constraint(data.S, rule=rule)
    return pyo.quicksum(instance.carbon_price_usd_per_t * m.emis[i] for i in data.S)


def carbon_budget(m: Model, data: SimpleNamespace, instance: Instance) -> Cost:
    """(C3) Σ emis_i - excess ≤ budget; excess ≥ 0 at its price, 0 when the price is infinite."""
    if np.isinf(instance.carbon_budget_t) or instance.budget_in_every:
        return 0
    price = instance.carbon_excess_usd_per_t
    most = max(0.0, sum(m.emis[i].ub for i in data.S) - instance.carbon_budget_t)
    m.excess = pyo.Var(bounds=(0, 0 if np.isinf(price) else most))
    m.carbon = pyo.Constraint(expr=pyo.quicksum(m.emis.values()) - m.excess <= instance.carbon_budget_t)
    return 0 if np.isinf(price) else price * m.excess
