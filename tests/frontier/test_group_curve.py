"""Where a curve looks for further points, on parabolas instead of linear programs."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import numpy as np
import pytest

from decomp.frontier.group_curve import CLOSE, EXHAUSTED, Asked, CurvePoint, GroupProgram, points_between
from decomp.model.instance import Array

BEND = 0.5  # USD/t2


class Parabolas:
    """The least cost with some jobs falls by a parabola, to where emitting more saves nothing: (t, USD) of each."""

    def __init__(self, ends: dict[int, tuple[float, float]]):
        self.ends = ends
        self.asked: list[float] = []

    def at(self, price: float, jobs: Array | None = None) -> CurvePoint:
        self.asked.append(price)
        if jobs is not None:
            return self._of(int(jobs[0]), price)
        return min((self._of(k, price) for k in self.ends), key=lambda p: p.cost + price * p.tonnes)

    def _of(self, jobs: int, price: float) -> CurvePoint:
        most, least = self.ends[jobs]
        tonnes = most - price / (2.0 * BEND)
        cost = least + BEND * (most - tonnes) ** 2
        return CurvePoint(np.array([tonnes]), tonnes, cost, price, np.array([jobs]), np.array([-1.0]))


def found(program: Parabolas, clean: CurvePoint, cheap: CurvePoint, asked: Asked) -> list[CurvePoint]:
    points = [clean, *points_between(cast(GroupProgram, program), clean, cheap, asked), cheap]
    assert all(a.tonnes < b.tonnes for a, b in pairwise(points))
    return points


def lower(gap: float, *ends: tuple[float, float]) -> Asked:
    """Tangents of a parabola, from its end (t, USD); of several, what is below all of them."""
    prices = np.linspace(0.0, 100.0, 400)
    value = np.min([least + prices * most - prices**2 / (4.0 * BEND) for most, least in ends], axis=0)
    return Asked(value, prices, gap)


def test_points_are_found_until_no_mixture_is_too_dear() -> None:
    program, asked = Parabolas({1: (200.0, 0.0)}), lower(50.0, (200.0, 0.0))
    points = found(program, program.at(100.0), program.at(0.0), asked)
    assert 4 < len(points) < 20
    assert all(asked.hole(a, b) <= asked.gap for a, b in pairwise(points))


def test_ends_that_leave_no_room_do_not_speak_for_what_is_far_from_both() -> None:
    """The curve is near the lower one in its middle only; close to such an end, points would be in vain."""
    gap = 50.0
    program, near = Parabolas({1: (200.0, 0.0)}), lower(gap, (200.0, 0.0))
    flat = Asked(np.array([-gap]), np.array([0.0]), gap)
    asked = Asked(near.value - 0.9 * gap, near.price, gap)
    clean, cheap = program.at(100.0), program.at(0.0)
    assert asked.exhausted(clean) and asked.exhausted(cheap) and asked.hole(clean, cheap) > CLOSE * gap
    points = found(program, clean, cheap, asked)
    assert len(points) > 4 and max(asked.hole(a, b) for a, b in pairwise(points)) <= CLOSE * gap
    close = program.at(4.0), program.at(0.0)
    assert flat.exhausted(close[0]) and flat.hole(*close) < CLOSE * gap and len(found(program, *close, flat)) == 2
    assert EXHAUSTED < 1.0 < CLOSE


@pytest.mark.parametrize("price", [60.0, 90.0])
def test_a_jump_is_bridged_by_the_curves_of_either_side_though_their_ends_have_one_price(price: float) -> None:
    without, with_ = (200.0, 0.0), (206.0, -6.0 * price)
    program, asked = Parabolas({0: without, 1: with_}), lower(60.0, without, with_)
    clean, cheap = program.at(price, np.array([0])), program.at(price, np.array([1]))
    assert asked.hole(clean, cheap) > 5.0 * asked.gap
    points = found(program, clean, cheap, asked)
    assert {int(p.jobs[0]) for p in points[1:-1]} == {0, 1}
    assert all(asked.hole(a, b) <= asked.gap for a, b in pairwise(points))


def test_no_point_between_ends_that_differ_by_several_jobs_bridges_them_the_same_way() -> None:
    """Half of the jobs is worse than none and all: the point lies beyond an end."""
    program = Parabolas({0: (200.0, 0.0), 1: (206.0, -360.0)})
    asked = lower(60.0, *program.ends.values())

    class Two(Parabolas):
        def _of(self, jobs: int, price: float) -> CurvePoint:
            point = super()._of(jobs, price)
            return CurvePoint(point.x, point.tonnes, point.cost, price, np.array([jobs, jobs]), np.array([-1.0, -2.0]))

        def at(self, price: float, jobs: Array | None = None) -> CurvePoint:
            if jobs is not None and jobs[0] != jobs[1]:
                return super().at(2.0 * price, np.array([0, 0]))
            return super().at(price, jobs)

    two = Two(program.ends)
    clean, cheap = two.at(60.0, np.array([0, 0])), two.at(60.0, np.array([1, 1]))
    points = found(two, clean, cheap, asked)
    assert len(points) > 3 and all(asked.hole(a, b) <= asked.gap for a, b in pairwise(points))
