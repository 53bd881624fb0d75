"""The extensive form as matrices: handed to HiGHS, written as MPS, met by schedules in both directions.

Built by `decomp.extensive`; nothing here knows Pyomo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csr_array

from decomp.extensive.mps import write_model
from decomp.extensive.names import FIELDS, named
from decomp.extensive.reductions import untangle
from decomp.extensive.starts import start_values
from decomp.files.atomic import PathLike, write_text
from decomp.lp.highs import REDUCED_COST, money_unit
from decomp.model.accounts import by_scenario, emissions_t, load_gpu, over_budget_t, starts
from decomp.model.instance import Array, InputError, Instance
from decomp.model.result import Schedule

INTEGRALITY = 1e-7  # tolerance on integers and rows inside HiGHS


@dataclass(frozen=True, eq=False)
class ExtensiveForm:
    """min cost.x + offset, row_lower ≤ matrix x ≤ row_upper, lower ≤ x ≤ upper, some x integer; USD.

    Attributes
    ----------
    cost, lower, upper, integer, columns : one entry a column; `columns` are the MPS names.
    matrix, row_lower, row_upper, rows : csr (row, column), bounds and names of the rows.
    index : variable name -> column numbers in the variable's own shape, -1 where it has no column
        (shapes: `decomp.extensive.names.DIMENSIONS`).
    relaxed : integrality was dropped.
    """

    instance: Instance
    cost: Array
    offset: float
    matrix: csr_array
    row_lower: Array
    row_upper: Array
    lower: Array
    upper: Array
    integer: Array
    columns: list[str]
    rows: list[str]
    index: dict[str, Array]
    relaxed: bool
    build_seconds: float

    def objective(self, x: Array) -> float:
        """Net cost of a point, USD."""
        return float(self.cost @ x) + self.offset

    def violation(self, x: Array) -> tuple[float, str]:
        """Largest violation of a bound, a row or an integrality by a point, and where."""
        activity = self.matrix @ x
        worst = [(0.0, "")]
        for amounts, names in (
            (np.maximum(self.lower - x, x - self.upper), self.columns),
            (np.maximum(self.row_lower - activity, activity - self.row_upper), self.rows),
            (np.abs(x - np.round(x)) * self.integer, self.columns),
        ):
            if len(amounts):
                worst.append((float(amounts.max()), names[int(amounts.argmax())]))
        return max(worst)

    def fixed(self, x: Array) -> ExtensiveForm:
        """The linear program left when every integer is fixed at its rounded value in x, bans as bounds."""
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[self.integer] = upper[self.integer] = np.round(x[self.integer])
        for variable, switch, open_at in (
            ("imp", "imp_on", 1),
            ("exp", "imp_on", 0),
            ("chg", "chg_on", 1),
            ("dis", "chg_on", 0),
            ("gen", "on", 1),
        ):
            switches = self.index[switch]
            shut = (switches >= 0) & (upper[switches] != open_at)
            upper[self.index[variable][shut]] = 0.0
        return replace(self, lower=lower, upper=upper, integer=np.zeros_like(self.integer))

    @property
    def unit(self) -> float:
        """USD of the unit in which a solver is told costs."""
        return money_unit(self.cost)

    def highs(self, unit: float = 1.0) -> highspy.Highs:
        """The model in a silent HiGHS on one thread, costs in units of so many USD."""
        lp = highspy.HighsLp()
        lp.model_name_, lp.num_col_, lp.num_row_ = "decomp", len(self.cost), len(self.rows)
        lp.col_cost_, lp.offset_ = self.cost / unit, self.offset / unit
        lp.col_lower_, lp.col_upper_, lp.col_names_ = self.lower, self.upper, self.columns
        lp.row_lower_, lp.row_upper_, lp.row_names_ = self.row_lower, self.row_upper, self.rows
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = self.matrix.indptr, self.matrix.indices
        lp.a_matrix_.value_ = self.matrix.data
        if self.integer.any():
            kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
            lp.integrality_ = [kinds[int(flag)] for flag in self.integer]
        highs = highspy.Highs()
        options: dict[str, Any] = dict(log_to_console=False, threads=1, random_seed=0)
        options |= dict(mip_feasibility_tolerance=INTEGRALITY)
        ipm = dict(solver="ipm")  # 3 to 4 times faster than simplex at 30 sites
        options |= ipm if self.relaxed else dict(dual_feasibility_tolerance=REDUCED_COST)
        for name, value in options.items():
            highs.setOptionValue(name, value)
        highs.passModel(lp)
        return highs

    def safe_duals(self, row_dual: Array) -> Array:
        """The nearest row duals (row) whose signs fit their rows: only these bound anything."""
        y = np.where(np.isinf(self.row_upper), np.maximum(row_dual, 0), row_dual)
        return np.where(np.isinf(self.row_lower), np.minimum(y, 0), y)

    def bound_terms(self, y: Array) -> tuple[Array, Array]:
        """What safe duals prove: y.b by row, min over [l, u] of reduced cost by column, USD; in sum an LP bound."""
        row_terms = y * np.where(y == 0, 0, np.where(y > 0, self.row_lower, self.row_upper))
        reduced = self.cost - self.matrix.T @ y
        return row_terms, reduced * np.where(reduced > 0, self.lower, self.upper)

    def row_numbers(self, name: str, *shape: int) -> Array:
        """Row numbers of a group of rows in the group's own shape."""
        position = {row: n for n, row in enumerate(self.rows)}
        names = (named(name, [*map(str, key)], self.instance) for key in np.ndindex(*shape))
        return np.array([position[key] for key in names], dtype=int).reshape(shape)

    def write_mps(self, path: PathLike) -> None:
        """Write the model as an MPS file, whole or not at all."""
        write_model(self.highs(), path)

    def write_solution(self, path: PathLike, x: Array, plain: bool = False) -> None:
        """Write a point: HiGHS's solution file, or with `plain` lines of name and value, as SCIP and Gurobi read."""
        lines = [f"{name} {float(value)!r}" for name, value in zip(self.columns, x, strict=True)]
        if not plain:
            activity = [f"{name} {float(a)!r}" for name, a in zip(self.rows, self.matrix @ x, strict=True)]
            head = ["Model status", "Unknown", "", "# Primal solution values", "Feasible"]
            head += [f"Objective {self.objective(x)!r}", f"# Columns {len(lines)}"]
            lines = head + lines + [f"# Rows {len(activity)}", *activity, "", "# Dual solution values", "None"]
        write_text(path, "\n".join(lines) + "\n")


def to_schedule(form: ExtensiveForm, x: Array) -> Schedule:
    """The schedule of a point whose integers are integral to within the solver's tolerance."""
    instance = form.instance
    x = np.clip(x, form.lower, form.upper)
    values = {field: np.where(form.index[name] >= 0, x[form.index[name]], 0.0) for field, name in FIELDS.items()}
    values["generator_on"] = values["generator_on"] > 0.5
    v = instance.device_variables
    unused = np.where(v.integer, np.ceil(v.low), np.maximum(v.low, np.minimum(v.high, 0.0)))
    values["device_value"] = np.where(form.index["device"] >= 0, values["device_value"], unused)
    site, start = np.full(instance.n_jobs, -1), np.full(instance.n_jobs, -1)
    starts_at = form.index["start"]
    candidate, period = np.nonzero((starts_at >= 0) & (x[starts_at] > 0.5))
    job = instance.candidates.job[candidate]
    site[job], start[job] = instance.candidates.site[candidate], period
    return untangle(instance, Schedule(job_site=site, job_start=start, **values))


def start_vector(form: ExtensiveForm, schedule: Schedule) -> Array:
    """Every column's value (column) in a schedule, auxiliary variables included: a complete start for any solver.

    Raises
    ------
    InputError
        The schedule starts a job where or when the model knows no start.
    """
    instance, s = form.instance, form.instance.sites
    chosen = _chosen(form, schedule)
    load, peak = load_gpu(instance, schedule), schedule.import_mw.max(axis=1, initial=0.0)
    began = starts(instance, schedule)
    before = np.column_stack([instance.generators.initial_mw > 0, schedule.generator_on[:, :-1]])
    emitted = emissions_t(instance, schedule)
    curve = np.moveaxis(s.segments_mw(load), 0, 1)
    values = {
        **{name: np.asarray(getattr(schedule, field), dtype=float) for field, name in FIELDS.items()},
        "gpu": load,
        "imp_on": schedule.import_mw >= schedule.export_mw,
        "chg_on": schedule.charge_mw >= schedule.discharge_mw,
        "up": began,
        "down": before & ~schedule.generator_on,
        "seg": np.arange(curve.shape[1])[:, None] == curve.argmax(axis=1)[:, None, :],
        "peak": np.maximum(0.0, peak - s.peak_so_far_mw),
        "emis": emitted,
        "excess": np.asarray(over_budget_t(instance, emitted)),
        **start_values(instance, emitted, [a.net_cost for a in by_scenario(instance, schedule)]),
        "start": chosen,
        "reject": schedule.job_site < 0,
    }
    x = np.zeros(len(form.columns))
    for name, block in form.index.items():
        x[block[block >= 0]] = values[name][block >= 0]
    return x


def _chosen(form: ExtensiveForm, schedule: Schedule) -> Array:
    """The start taken by each accepted job (candidate, period), bool."""
    instance, index = form.instance, form.index["start"]
    chosen = np.zeros(index.shape, dtype=bool)
    for j in np.flatnonzero(schedule.job_site >= 0):
        at, t = (
            (instance.candidates.job == j) & (instance.candidates.site == schedule.job_site[j]),
            schedule.job_start[j],
        )
        allowed = np.flatnonzero(at & (index[:, t] >= 0)).tolist() if 0 <= t < index.shape[1] else []
        if not allowed:
            raise InputError(
                f"schedule.job_site[{j}], job_start[{j}] = {schedule.job_site[j]}, {t}: the model has no such start"
            )
        chosen[min(allowed, key=lambda c: instance.candidates.cost_usd[c]), t] = True
    return chosen
