"""One self-contained HTML page about a result: pictures first, then numbers, then where they come from.

`render` is the entry and `page.html` the frame. Pictures (`power`, `routing`, `jobs`, `prices`, `flows`) are drawn by
`figure`; `tables`, `money`, `proof` and `why` hold the numbers, `futures` and `plans` what scenarios add.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from decomp.certificate import Certificate
from decomp.evaluation.evaluate import Evaluation
from decomp.files.atomic import PathLike, write_text
from decomp.insight.explain import explain
from decomp.insight.gap import split
from decomp.model.accounts import account
from decomp.model.instance import Instance
from decomp.model.result import Result
from decomp.model.scenarios import without_scenarios
from decomp.report.flows import load_price
from decomp.report.futures import typical
from decomp.report.pictures import Chapter, chapters, evaluated_chapters, future_chapters
from decomp.report.proof import proof_sheets
from decomp.report.tables import Sheet, key_figures, provenance, sheets
from decomp.report.why import why_sheets
from decomp.report.words import certified, size, title, verdict

__all__ = ["render", "write_report"]

LEAD = "Benefit is the negative of net cost. All sums are over the whole horizon."
MEDIAN = " All tables but those of scenarios and of the gap are of scenario {}, whose cost is the median."


def render(
    instance: Instance,
    result: Result,
    certificate: Certificate | None = None,
    evaluation: Evaluation | None = None,
) -> str:
    """The page as text; no script, no reference to anything outside.

    Parameters
    ----------
    instance, result : what to report; the result may lack its schedule, its dual solution or both.
    certificate : optional outcome of `decomp.certificate.check`, shown on the page.
    evaluation : optional outcome of `decomp.evaluate` for this plan: where the mean-value plan differs.
    """
    one, seen, name = _one_future(instance, result)
    further: list[tuple[list[Chapter], list[Sheet]]] = []
    if instance.n_scenarios and result.schedule is not None:
        further.append(future_chapters(instance, result.schedule, name))
    if evaluation is not None:
        further.append(evaluated_chapters(instance, evaluation))
    total, accounts = (
        account(fleet, plan.schedule) if plan.schedule is not None else None
        for fleet, plan in ((instance, result), (one, seen))
    )
    gap = split(instance, result)
    priced = seen.schedule is not None and load_price(seen.dual) is not None
    why = why_sheets(one, explain(one, seen)) if priced else []
    template = files("decomp.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=title(instance),
        size=size(instance),
        verdict=verdict(seen),
        figures=key_figures(instance, result, total),
        chapters=[*(c for some, _ in further for c in some), *chapters(one, seen, accounts, gap)],
        sheets=[
            *(s for _, some in further for s in some),
            *sheets(one, seen, accounts),
            *why,
            *proof_sheets(instance, seen, gap),
        ],
        provenance=provenance(instance, result, instance.content_hash()),
        certificate=certificate,
        certified=certified(certificate),
        sheet_lead=LEAD + (MEDIAN.format(name) if name else ""),
        safe=Markup,
    )


def _one_future(instance: Instance, result: Result) -> tuple[Instance, Result, str]:
    """What pictures and tables of a single future show, and the name of its scenario if there are several."""
    if not instance.n_scenarios:
        return instance, result, ""
    if result.schedule is None:
        return without_scenarios(instance), replace(result, dual=None), ""
    return typical(instance, result)


def write_report(
    path: PathLike,
    instance: Instance,
    result: Result,
    certificate: Certificate | None = None,
    evaluation: Evaluation | None = None,
) -> None:
    """Write the page to `path`, whole or not at all."""
    write_text(path, render(instance, result, certificate, evaluation))
