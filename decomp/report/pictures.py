"""The chapters of the report and their pictures."""

from __future__ import annotations

from dataclasses import dataclass

from decomp.evaluation.evaluate import Evaluation
from decomp.insight.gap import Gap
from decomp.model.accounts import Accounts, by_scenario
from decomp.model.instance import Instance
from decomp.model.result import Result, Schedule
from decomp.report.figure import Picture, style
from decomp.report.flows import RULE, choose, flows, load_price, stream_price
from decomp.report.futures import cost_picture, fan_picture, scenario_sheet
from decomp.report.jobs import job_pictures
from decomp.report.money import money_picture
from decomp.report.plans import answers, moved_picture, plan_sheets, spread_picture, spread_sheets
from decomp.report.power import fleet_picture, site_picture
from decomp.report.prices import carbon_picture, convergence_picture, load_price_picture, stream_price_picture
from decomp.report.proof import gap_picture, seconds_of, time_picture
from decomp.report.routing import class_picture, routing_picture
from decomp.report.tables import Sheet

SCENARIOS = "One plan for all futures. Pictures further down are of scenario {}, whose cost is the median."

MEAN_VALUE = "What a plan for the expected series, the mean-value plan, would do otherwise."


@dataclass(frozen=True)
class Chapter:
    """A heading, a sentence, and the pictures below it."""

    title: str
    lead: str
    pictures: list[Picture]


def chapters(instance: Instance, result: Result, accounts: Accounts | None, gap: Gap | None) -> list[Chapter]:
    """Every picture the result allows; chapters without pictures are left out."""
    with style():
        found = [*_schedule(instance, result, accounts), _prices(instance, result)]
        convergence = convergence_picture(result)
        proof = [convergence] if convergence else []
        proof += [gap_picture(instance, gap)] if gap is not None and gap.total > 0 else []
        proof += [time_picture(seconds)] if (seconds := seconds_of(result)) else []
    found.append(Chapter("Proof", "How bound and incumbent met, what keeps them apart, what it took.", proof))
    return [c for c in found if c.pictures]


def future_chapters(instance: Instance, schedule: Schedule, name: str) -> tuple[list[Chapter], list[Sheet]]:
    """What scenarios differ in, how they are answered and what they cost: a chapter, and tables.

    `name` : of the scenario that the rest of the page shows.
    """
    accounts, differing = by_scenario(instance, schedule), answers(instance, schedule)
    with style():
        pictures = [fan_picture(instance, schedule), cost_picture(instance, accounts)]
        pictures += [spread_picture(instance, differing)] if differing else []
    tables = [scenario_sheet(instance, accounts), *spread_sheets(instance, differing)]
    return [Chapter("Scenarios", SCENARIOS.format(name), pictures)], tables


def evaluated_chapters(instance: Instance, evaluation: Evaluation) -> tuple[list[Chapter], list[Sheet]]:
    """Where the plan for the expected series differs: a chapter if it does, and tables."""
    with style():
        picture = moved_picture(instance, evaluation)
    chapters = [Chapter("Planning for scenarios", MEAN_VALUE, [picture])] if picture else []
    return chapters, plan_sheets(instance, evaluation)


def _schedule(instance: Instance, result: Result, accounts: Accounts | None) -> list[Chapter]:
    schedule, price = result.schedule, load_price(result.dual)
    if schedule is None or accounts is None:
        return []
    f = flows(instance, schedule)
    shown, some = choose(instance, f, accounts.emissions_t, price)
    fleet = [fleet_picture(instance, f, price)] if instance.n_sites > 1 else []
    sites = [site_picture(instance, f, price, i, reason) for i, reason in shown]
    which = (
        f"{len(shown)} of {instance.n_sites} sites: {RULE}."
        if some
        else "Every site, from GPUs to power, battery and prices."
    )
    work = job_pictures(instance, schedule, f, [i for i, _ in shown])
    work += [p for p in (routing_picture(instance, schedule), class_picture(instance, schedule)) if p]
    money = money_picture(accounts)
    return [
        Chapter("Fleet", "What the sites do together.", fleet),
        Chapter("Sites", which, sites),
        Chapter("Work", "Where training and inference run.", work),
        Chapter("Carbon", "What is emitted, when and where.", [carbon_picture(instance, schedule)]),
        Chapter("Money", "What the schedule earns and what it costs.", [money] if money else []),
    ]


def _prices(instance: Instance, result: Result) -> Chapter:
    price, inference = load_price(result.dual), stream_price(instance, result.dual)
    pictures = [load_price_picture(instance, price)] if price is not None else []
    pictures += [stream_price_picture(instance, inference)] if inference is not None else []
    return Chapter("Prices of compute", "The multipliers that prove the bound are prices.", pictures)
