"""One self-contained HTML page about a result: pictures first, then numbers, then where they come from.

`render` is the entry and `page.html` the frame. Pictures (`power`, `routing`, `jobs`, `prices`, `flows`) are drawn by
`figure`; `tables`, `money`, `proof` and `why` hold the numbers, `futures` and `plans` what scenarios add.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from decomp.certificate import Certificate
from decomp.evaluation.evaluate import Evaluation
from decomp.files.hdf5 import atomic_path
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
    whole, found = instance, result
    before: list[Chapter] = []
    futures: list[Sheet] = []
    lead = LEAD
    total = account(instance, result.schedule) if result.schedule is not None else None
    if instance.n_scenarios and result.schedule is not None:
        before, futures = future_chapters(instance, result.schedule)
        instance, result, name = typical(instance, result)
        lead += f" All tables but those of scenarios and of the gap are of {name} alone, whose cost is the median."
    elif instance.n_scenarios:
        instance, result = without_scenarios(instance), replace(result, dual=None)
    if evaluation is not None:
        further = evaluated_chapters(whole, evaluation)
        before, futures = before + further[0], futures + further[1]
    accounts = account(instance, result.schedule) if result.schedule is not None else None
    gap = split(whole, found)
    priced = result.schedule is not None and load_price(result.dual) is not None
    why = why_sheets(instance, explain(instance, result)) if priced else []
    template = files("decomp.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        title=title(instance),
        size=size(instance),
        verdict=verdict(result),
        figures=key_figures(whole, found, total),
        chapters=[*before, *chapters(instance, result, accounts, gap)],
        sheets=[*futures, *sheets(instance, result, accounts), *why, *proof_sheets(whole, result, gap)],
        provenance=provenance(whole, found, whole.content_hash()),
        certificate=certificate,
        certified=certified(certificate),
        sheet_lead=lead,
        safe=Markup,
    )


def write_report(
    path: str | os.PathLike[str],
    instance: Instance,
    result: Result,
    certificate: Certificate | None = None,
    evaluation: Evaluation | None = None,
) -> None:
    """Write the page to `path`, whole or not at all."""
    text = render(instance, result, certificate, evaluation)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
