"""Numbers and names as a reader wants to see them."""

from __future__ import annotations

import math

from decomp.certificate import Certificate
from decomp.model.instance import Instance
from decomp.model.result import Result, Status
from decomp.model.text import number
from decomp.model.times import start_of

MINUS = "\N{MINUS SIGN}"
CO2 = "CO\N{SUBSCRIPT TWO}"

STATUS = {
    Status.GAP_REACHED: "the gap asked for is reached",
    Status.LIMIT: "stopped at a limit",
    Status.INFEASIBLE: "no feasible schedule exists",
    Status.FAILED: "the solve failed",
}


def amount(value: float, digits: int = 0) -> str:
    """A number for the eye: thousands set off by thin spaces, a real minus sign, never a negative zero."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    text = number(value, digits).replace(",", "\N{NARROW NO-BREAK SPACE}")
    return text.replace("-", MINUS if any(c in text for c in "123456789") else "")


def figures(value: float) -> str:
    """A quantity with its decimal only while it matters."""
    return amount(value, 1 if abs(value) < 1000 else 0)


def money_unit(value: float) -> tuple[float, str]:
    """Divisor and name of the unit in which to show a sum of money, USD."""
    units = ((1e9, 1e9, "bn USD"), (1e6, 1e6, "M USD"), (1e4, 1e3, "k USD"))
    return next(((scale, unit) for limit, scale, unit in units if limit <= abs(value) < math.inf), (1.0, "USD"))


def usd(value: float) -> tuple[str, str]:
    """A sum of money as value and unit, about four digits long."""
    scale, unit = money_unit(value)
    digits = 0 if scale == 1.0 else 3 if abs(value) < 10 * scale else 2 if abs(value) < 100 * scale else 1
    return amount(value / scale, digits), unit


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "n/a"


def gap_text(gap: float) -> str:
    """A gap with about three digits that count."""
    if not math.isfinite(gap):
        return "none"
    digits = next((d for d, limit in ((1, 0.1), (2, 0.01), (3, 1e-3), (4, 1e-4)) if abs(gap) >= limit), 5)
    return f"{amount(100 * gap, digits)} %"


def plural(count: int, what: str) -> str:
    return f"{amount(count)} {what}{'s' * (count != 1)}"


def short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def stream_name(instance: Instance, stream: int) -> str:
    """Origin and class of a stream, or its name when neither is known."""
    streams = instance.streams
    parts = (str(streams.origin[stream]), str(streams.service_class[stream]))
    return short(" · ".join(p for p in parts if p) or str(streams.name[stream]), 28)


def start(instance: Instance) -> str:
    return f"{start_of(instance):%Y-%m-%d %H:%M} UTC"


def title(instance: Instance) -> str:
    return f"{instance.family[:1].upper()}{instance.family[1:]}: {plural(instance.n_sites, 'site')}"


def size(instance: Instance) -> str:
    """The instance in one sentence."""
    periods = f"{plural(instance.n_periods, 'period')} of {60 * instance.period_h:g} min"
    parts = [plural(instance.n_sites, "site"), periods]
    counts = [(instance.n_jobs, "job"), (instance.n_streams, "inference stream"), (instance.n_pools, "deferrable pool")]
    counts.append((instance.n_scenarios, "scenario"))
    parts += [plural(n, what) for n, what in counts if n]
    return f"{', '.join(parts)}; from {start(instance)}."


def certified(certificate: Certificate | None) -> str:
    """What an independent check found, in a sentence or two."""
    if certificate is None:
        return ""
    if not certificate.ok:
        return "The check of this result from instance and result alone objects:"
    schedule = f"The schedule keeps every rule of the model and costs {' '.join(usd(certificate.cost))} net."
    if certificate.bound_ok is None:
        return f"{schedule} The bound was not checked."
    limit = " ".join(usd(certificate.certified_bound))
    gap = gap_text(certificate.gap_rel)
    return (
        f"{schedule} No schedule can cost less than {limit}: a gap of {gap}, re-proved from instance and result alone."
    )


def verdict(result: Result) -> str:
    """The outcome in one sentence."""
    text = STATUS[result.status].capitalize()
    most = " ".join(usd(-result.bound))
    limit = f"no schedule can earn more than {most}" if math.isfinite(result.bound) else "no bound is proved"
    if not math.isfinite(result.incumbent):
        return f"{text}; {limit}, and no schedule is known."
    return f"{text}: this schedule earns {' '.join(usd(-result.incumbent))}, and {limit}."
