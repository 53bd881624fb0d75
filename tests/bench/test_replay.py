"""The replay of a recorded solve, against runs worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from decomp.bench.replay import Cluster, OneForAll, ReplayStep, grow, one_at_a_time, record, replay, shared
from decomp.families import generate
from decomp.model.options import Improvement, Options
from decomp.model.scenarios import expand


def owned(seconds: list[float], root: float = 0.0, out: float = 0.0, back: float = 0.0) -> ReplayStep:
    return ReplayStep(root, np.array(seconds), np.arange(len(seconds)), out, back)


def farmed(seconds: list[float]) -> ReplayStep:
    return ReplayStep(0.0, np.array(seconds), None, 0.0, 0.0)


def test_one_rank_takes_what_was_measured() -> None:
    steps = [owned([1.0, 2.0, 3.0], root=0.5), farmed([4.0, 1.0])]
    times = replay(steps, Cluster(1))
    assert (times.total, times.root, times.work, times.messages) == (11.5, 0.5, 11.0, 0.0)
    assert times.idle_share == 0.0 and times.limit == "sites and moves"


def test_sites_lie_with_their_owners_and_the_slowest_rank_counts() -> None:
    times = replay([owned([1.0, 2.0, 3.0, 4.0], root=1.0)], Cluster(2))
    assert times.total == 1.0 + (2.0 + 4.0)
    assert times.idle_share == pytest.approx(1.0 - 11.0 / 14.0)


def test_more_ranks_than_sites() -> None:
    assert replay([owned([1.0, 2.0])], Cluster(7)).total == 2.0


def test_the_root_handles_one_message_after_the_other() -> None:
    """Three ranks without work: two requests, two answers."""
    cluster = Cluster(3, message_seconds=1.0, byte_seconds=0.1)
    assert replay([owned([0.0] * 3)], cluster).total == pytest.approx(4.0)
    step = owned([0.0] * 3, out=10.0, back=20.0)
    assert replay([step], cluster).total == pytest.approx(4.0 + 2 * (1.0 + 2.0))
    assert replay([step], replace(cluster, latency_seconds=5.0)).total == pytest.approx(4.0 + 10.0 + 3.0 + 1.0)


def test_answers_that_come_while_the_root_works_wait() -> None:
    cluster = Cluster(2, message_seconds=1.0)
    assert replay([owned([5.0, 1.0])], cluster).total == 1.0 + 5.0 + 1.0
    assert replay([owned([1.0, 5.0])], cluster).total == 1.0 + 5.0 + 1.0


def test_tasks_go_to_whoever_is_free() -> None:
    assert replay([farmed([3.0, 2.0, 2.0, 1.0])], Cluster(2)).total == 4.0
    assert replay([farmed([3.0, 2.0, 2.0, 1.0])], Cluster(4)).total == 3.0
    assert replay([farmed([])], Cluster(4)).total == 0.0


def test_the_root_takes_a_task_after_it_has_handed_out() -> None:
    """The first task, there and back, to the other rank; the root, meanwhile, does the rest."""
    assert replay([farmed([5.0, 2.0, 2.0])], Cluster(2, latency_seconds=1.0)).total == 5.0 + 2.0
    assert replay([farmed([5.0, 2.0, 2.0])], Cluster(1, latency_seconds=1.0)).total == 9.0


def test_word_to_the_ranks_of_the_master_takes_as_long_as_an_exchange() -> None:
    one = OneForAll()
    assert one.exchange(lambda: [np.zeros(3)], 1)[0].tolist() == [0.0] * 3 and one.agree(True, 1)
    assert one.shared[1:].tolist() == [2.0, 24.0]


def test_ranks_without_a_core_of_their_own_share() -> None:
    assert shared(np.array([1.0, 1.0, 1.0, 1.0]), 2).tolist() == [2.0] * 4
    assert shared(np.array([3.0, 1.0, 1.0]), 1).tolist() == [5.0, 3.0, 3.0]
    assert shared(np.array([3.0, 1.0, 1.0]), 3).tolist() == [3.0, 1.0, 1.0]
    assert replay([owned([1.0] * 4)], Cluster(4, cores=2)).total == 2.0


def test_a_server_with_a_queue() -> None:
    one = np.ones(3)
    assert one_at_a_time(np.array([0.0, 0.0, 9.0]), one, 0.0) == 10.0
    assert one_at_a_time(np.array([0.0, 0.5, 1.0]), one, 2.0) == 5.0
    assert one_at_a_time(np.array([]), np.array([]), 2.0) == 2.0


def test_messages_in_a_tree() -> None:
    steps = [owned([1.0] * 64, root=64.0)]
    cluster = Cluster(64, message_seconds=1.0)
    as_is, tree = replay(steps, cluster), replay(steps, replace(cluster, tree=True))
    assert as_is.limit == "its messages"
    assert tree.messages == pytest.approx(2 * math.log2(64)) and tree.root == as_is.root


def test_ranks_share_the_lanes_of_the_master() -> None:
    """Four blocks: 8 of 10 seconds are theirs, in 5 exchanges of 40 bytes in all."""
    step = replace(owned([0.0], root=10.0), block_seconds=8.0, exchanges=5, exchanged=40.0, block_rows=17.0)
    free, dear = Cluster(1), Cluster(1, message_seconds=1.0, byte_seconds=0.1)
    assert [replay([step], replace(free, ranks=n)).root for n in (1, 2, 3, 4, 64)] == [10.0, 6.0, 6.0, 4.0, 4.0]
    assert replay([step], replace(free, ranks=4, cores=2)).root == 6.0
    requests_and_answers = [2.0 * (n - 1) for n in (1, 2, 4)]
    talk = [0.0, 5 * 1.0 + 20 * 0.1, 5 * 3.0 + 30 * 0.1]
    for n, each, told in zip((1, 2, 4), requests_and_answers, talk, strict=True):
        assert replay([step], replace(dear, ranks=n)).messages == pytest.approx(each + told)


def test_a_chain_grows_with_its_fleet() -> None:
    steps = [owned([1.0, 3.0], root=1.0), owned([1.0, 3.0]), farmed([2.0, 4.0])]
    first, second, tasks = grow(steps, 1000, np.random.default_rng(1))
    assert len(first.seconds) == 1000 and first.root_seconds == 500.0
    assert set(first.seconds) == {1.0, 3.0} and first.seconds.mean() == pytest.approx(2.0, rel=0.1)
    assert (first.seconds == second.seconds).all()
    assert len(tasks.seconds) == 1000 and (np.diff(tasks.seconds) <= 0).all()


@pytest.mark.parametrize("scenarios", [0, 2])
def test_a_recorded_solve_has_every_kind_of_step(scenarios: int) -> None:
    instance = generate("fleet", sites=3, periods=12, jobs=4, seed=2, scenarios=scenarios)
    rows = 3 * max(scenarios, 1)
    short = Improvement(stale_finishes=1, rounds_per_finish=1)
    options = Options(method="lagrangian", rel_gap=1e-6, improvement=short)
    steps = record(instance, options, lambda own: expand(instance).microgrids)
    evaluated = [s for s in steps if s.site is not None]
    assert evaluated and any(s.site is None and len(s.seconds) == rows for s in steps)
    assert all(len(s.seconds) == rows and s.out >= 8 * 12 for s in evaluated)
    assert all((s.seconds >= 0).all() and 0 <= s.block_seconds <= s.root_seconds for s in steps)
    assert any(s.exchanges > 3 and s.exchanged > 8 * 3 * 12 and s.block_seconds > 0 for s in steps)
    assert replay(steps, Cluster(1)).total == pytest.approx(sum(s.seconds.sum() + s.root_seconds for s in steps))
    assert replay(steps, Cluster(3)).total <= replay(steps, Cluster(1)).total
