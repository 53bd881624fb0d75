"""The gate of the solver objects to what the certificate objects to, and lets nothing pass to a result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from certificate.test_mutations import MUTATIONS
from decomp.certificate import TOLERANCE
from decomp.certificate.findings import Findings
from decomp.certificate.schedule import check_schedule
from decomp.extensive.pyomo_model import solve_extensive
from decomp.families import generate
from decomp.model.feasibility import MISSED, broken_rule
from decomp.model.options import Options
from decomp.ranks.team import Serial
from decomp.ranks.workers import Workers
from decomp.schedule.incumbent import Incumbent
from decomp.state.solve_state import Hooks, Run
from hand_case import INSTANCE, RIGHT, hand_instance

OF_THE_INPUT = "latency"  # a rule that validation holds: instances with slower arcs are refused


def objections(name: str) -> list[str]:
    """What the certificate finds in the schedule of a mutated result, its shape apart."""
    instance, result = MUTATIONS[name][1]()
    findings = Findings(instance)
    if result.schedule is None or check_schedule(instance, result.schedule, findings) is None:
        return []
    return [str(f) for f in findings.items if OF_THE_INPUT not in f.rule]


WRONG = [name for name in MUTATIONS if objections(name)]


def test_a_right_schedule_passes() -> None:
    assert RIGHT.schedule is not None and broken_rule(INSTANCE, RIGHT.schedule) is None
    assert MISSED == TOLERANCE


@pytest.mark.parametrize("name", WRONG)
def test_what_the_certificate_rejects_does_not_pass(name: str) -> None:
    instance, result = MUTATIONS[name][1]()
    assert result.schedule is not None
    assert broken_rule(instance, result.schedule) is not None


def test_every_kind_of_rule_is_among_them() -> None:
    assert len(WRONG) >= 35
    for equation in ("(1)", "(2)", "(3,4)", "(5)", "(6)", "(7)", "(C1)", "(C2)", "(C3)", "(C4)"):
        assert any(equation in finding for name in WRONG for finding in objections(name)), equation


@pytest.mark.parametrize("seed", range(700, 704))
def test_schedules_of_the_extensive_form_pass(seed: int) -> None:
    instance = generate("small", seed=seed)
    schedule = solve_extensive(instance, time_limit=600.0).schedule
    assert schedule is None or broken_rule(instance, schedule) is None


def test_a_run_keeps_no_schedule_that_breaks_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """The warning names rule, place and period; the schedule that was there stays."""
    instance = hand_instance()
    right = RIGHT.schedule
    assert right is not None
    with Serial() as team:
        run = Run(instance, Workers(team), Options(), Hooks())
        fixing = None
        assert run.offer(Incumbent(right, 100.0, fixing))  # type: ignore[arg-type]
        without = replace(right, job_site=np.array([-1, 1, -1]), job_start=np.array([-1, 3, -1]))
        dark = replace(right, import_mw=right.import_mw + 0.1 * (np.arange(12).reshape(2, 6) == 3))
        assert not run.offer(Incumbent(without, 1.0, fixing))  # type: ignore[arg-type]
        assert not run.offer(Incumbent(dark, 1.0, fixing))  # type: ignore[arg-type]
        assert run.cost == 100.0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(line.startswith("warning: ") for line in said)
    assert "mandatory job rejected (C2), job 'train'" in said[0]
    assert "power out of balance, MW (4), site 'alpha', period 3: 0.1" in said[1]
