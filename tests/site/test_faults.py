"""What breaks is named and does not spoil the bound; where nothing can go on, all ranks end soon and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decomp.bound.coupling import Coupling
from decomp.bound.lagrangian import first_prices
from decomp.certificate import check
from decomp.families import generate
from decomp.files.store import read_instance, read_result, write_instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.ranks.mpi import Serial
from decomp.site.faults import objection
from decomp.site.oracle import SiteAnswer, SiteOracle
from decomp.site.service import SiteService
from decomp.solver.solve import solve
from decomp.state.solve_state import Hooks
from drivers.common import run
from drivers.solve import main
from loops import workers_of
from running import files_of_at_most

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("fault_program.py")
ILL = 1  # the site whose solver fails

# What an ill solver does with a good answer.
ILLNESSES: dict[str, Callable[[SiteAnswer], SiteAnswer]] = dict(
    crash=lambda answer: [][1],
    not_a_number=lambda answer: replace(answer, cost=np.nan),
    no_bound=lambda answer: replace(answer, lower=np.nan),
    holes=lambda answer: replace(answer, load=np.where(np.arange(len(answer.load)) == 2, np.inf, answer.load)),
    wrong_shape=lambda answer: replace(answer, load=answer.load[1:]),
    above_capacity=lambda answer: replace(answer, load=answer.load + 1e6),
    bound_too_high=lambda answer: replace(answer, lower=answer.lower + 1e6),
    gave_up=lambda answer: replace(answer, load=None),
)


@contextmanager
def ill_site(illness: str, first: int = 5) -> Iterator[None]:
    """Site `ILL` answers wrongly from its `first`-th question on."""
    sane, asked = SiteOracle.evaluate, 0

    def evaluate(self: SiteOracle, *arguments: Any) -> SiteAnswer:
        nonlocal asked
        answer = sane(self, *arguments)
        if self.i != ILL:
            return answer
        asked += 1
        return ILLNESSES[illness](answer) if asked >= first else answer

    SiteOracle.evaluate = evaluate  # type: ignore[method-assign]
    try:
        yield
    finally:
        SiteOracle.evaluate = sane  # type: ignore[method-assign]


def solved(beside: Path, **values: Any) -> Result:
    few = {"method": "lagrangian", "bundle": {"max_iterations": 15}, "improvement": {"stale_finishes": 1}}
    options = Options.from_dict(few | values)
    result = solve(generate("small", seed=4), Serial(), options, hooks=Hooks(beside=beside))
    assert result is not None
    return result


@pytest.mark.parametrize("illness", ILLNESSES)
def test_an_ill_site_is_named_once_and_bounded_by_its_last_duals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], illness: str
) -> None:
    with ill_site(illness):
        result = solved(tmp_path / "r.h5")
    instance = generate("small", seed=4)
    assert np.isfinite(result.bound) and result.bound <= result.incumbent
    assert [str(f) for f in check(instance, result).findings] == []
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"warning: site {ILL} ({instance.sites.name[ILL]}): ")
    path = tmp_path / f"r.h5.site-{ILL}.h5"
    assert said[0].endswith(f"model and prices are in {path}")
    with h5py.File(path) as file:
        assert (file.attrs["site"], file["load_price"].shape) == (ILL, (instance.n_periods,))
        assert file["matrix_start"].shape[0] == file["cost"].shape[0] + 1


def test_the_fallback_is_a_bound_and_exact_where_the_duals_are_from() -> None:
    instance = generate("small", seed=4)
    workers, c = workers_of(instance), Coupling.of(instance)
    price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t)
    rng = np.random.default_rng(0)
    for i, oracle in workers.of(SiteService).oracles.items():
        start = oracle.evaluate(price[i], 3.0)
        assert oracle.fallback(price[i], 3.0).lower == pytest.approx(start.lower)
        for _ in range(10):
            near, carbon = price[i] * rng.uniform(0.0, 3.0, c.capacity.shape[1]), float(rng.uniform(0.0, 50.0))
            stale = oracle.fallback(near, carbon).lower
            fresh = SiteOracle(instance.microgrids, i, instance.period_h).evaluate(near, carbon)
            assert stale <= fresh.lower + 1e-6 * (1.0 + abs(fresh.lower)) and np.isfinite(stale)


def test_sane_answers_meet_no_objection() -> None:
    for seed in range(12):
        instance = generate("small", seed=seed)
        workers, c = workers_of(instance), Coupling.of(instance)
        price = first_prices(c, instance.sites, instance.carbon_price_usd_per_t)
        for factor in (-1.0, 0.0, 1.0, 30.0):
            for i, oracle in workers.of(SiteService).oracles.items():
                answer = oracle.evaluate(factor * price[i], 10.0)
                assert objection(answer, c.capacity[i], factor * price[i], 10.0) == ""


def test_a_site_that_never_answers_ends_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_instance(tmp_path / "i.h5", generate("small", seed=4))
    with ill_site("crash", first=1):
        assert run(main, [str(tmp_path / "i.h5"), "-o", str(tmp_path / "r.h5")]) == 5
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == [f"error: site {ILL} has answered at none of the first prices, so there is no start"]
    assert not (tmp_path / "r.h5").exists()


# ---------------------------------------------------------------- full disk


def test_without_room_for_checkpoint_and_log_the_solve_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result takes less room than a checkpoint; between the two sizes only the latter fails."""
    write_instance(tmp_path / "i.h5", generate("small", seed=4))
    files = {name: tmp_path / name for name in ("r.h5", "c.h5", "run.jsonl")}
    given = [str(tmp_path / "i.h5"), "-o", str(files["r.h5"]), "--checkpoint", str(files["c.h5"])]
    given += ["--rel-gap", "0.9"]
    assert run(main, given) == 0
    room = (files["r.h5"].stat().st_size + files["c.h5"].stat().st_size) // 2
    bound = read_result(files["r.h5"]).bound
    files["c.h5"].unlink()
    capsys.readouterr()
    with files_of_at_most(room):
        assert run(main, given) == 0
    said = capsys.readouterr().err.splitlines()
    assert said and all("not saved, the solve goes on: File too large" in line for line in said)
    assert read_result(files["r.h5"]).bound == bound and not files["c.h5"].exists()
    assert not list(tmp_path.glob("*.tmp*"))


def test_without_room_for_the_result_the_solve_fails_clearly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_instance(tmp_path / "i.h5", generate("small", seed=4))
    out, log = tmp_path / "r.h5", tmp_path / "run.jsonl"
    with files_of_at_most(4000):
        given = [str(tmp_path / "i.h5"), "-o", str(out), "--log", str(log), "--rel-gap", "0.9"]
        assert run(main, given) == 5
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"error: {out}: File too large" and not out.exists()
    assert said.count(f"warning: {log}: the log ends here: File too large") == 1
    assert all(line.startswith("warning: ") for line in said[:-1])
    assert log.stat().st_size <= 4000 and not list(tmp_path.glob("*.tmp*"))


# ---------------------------------------------------------------- on several ranks


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "fleet.h5"
    write_instance(path, generate("fleet", seed=1, sites=6, periods=12, period_h=1.0))
    return path


def broken(
    mpirun: Callable[..., Any], fleet: Path, fault: str, rank: int, *arguments: object, **environment: str
) -> Any:
    given = [fleet, "-o", fleet.with_name(f"{fault}.h5"), *arguments]
    return mpirun(3, PROGRAM, fault, rank, *given, **environment)


@pytest.mark.parametrize("rank", [0, 2])
def test_instance_unreadable_on_one_rank(mpirun: Callable[..., Any], fleet: Path, rank: int) -> None:
    done = broken(mpirun, fleet, "unreadable", rank)
    assert done.returncode == 2 and not fleet.with_name("unreadable.h5").exists()
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"error: rank {rank} on ")
    assert "cannot read its sites: [Errno 5] Input/output error" in done.stderr


def test_a_stalled_site_solver_is_given_up_within_patience(
    mpirun: Callable[..., Any], fleet: Path, tmp_path: Path
) -> None:
    """Ten minutes of it go by in six seconds once the solver stalls, for most of an hour."""
    done = broken(mpirun, fleet, "stall", 1, "--patience", 600, STALLED=str(tmp_path / "stalled"))
    assert done.returncode == 5
    assert "error: rank 0 has waited" in done.stderr and "for rank 1 (" in done.stderr and "in evaluate" in done.stderr


def test_a_killed_rank_ends_all_and_the_solve_goes_on_from_the_checkpoint(
    mpirun: Callable[..., Any], fleet: Path
) -> None:
    saved = fleet.with_name("c.h5")
    done = broken(mpirun, fleet, "die", 1, "--checkpoint", saved, "--checkpoint-seconds", 0)
    assert done.returncode not in (0, 3) and not fleet.with_name("die.h5").exists()
    before = read_result(saved)
    out = fleet.with_name("resumed.h5")
    again = mpirun(2, "drivers.solve", fleet, "-o", out, "--resume", saved, "--rel-gap", 0.5)
    assert again.returncode == 0
    result = read_result(out)
    assert result.bound >= before.bound - 1e-9 * abs(before.bound) and result.log[: len(before.log)] == before.log
    assert [str(f) for f in check(read_instance(fleet), result).findings] == []


def test_a_crashing_site_solver_on_one_rank_is_named_and_the_rest_goes_on(
    mpirun: Callable[..., Any], fleet: Path
) -> None:
    done = broken(mpirun, fleet, "crash", 1, "--rel-gap", 0.9)
    result = read_result(fleet.with_name("crash.h5"))
    assert done.returncode in (0, 3) and np.isfinite(result.bound)
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: site ")]
    assert len(warned) == 2 and all("ArithmeticError: singular basis" in line for line in warned)  # sites 1 and 4
    assert check(read_instance(fleet), result).bound_ok
