"""Two solves led by the root, and what may go wrong then: `series_program.py FAULT`; for tests alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from decomp.families import generate
from decomp.model.instance import InputError
from decomp.model.options import Options
from decomp.solver.series import Ask, led_by_root
from drivers.common import make_team, run

BRIEF = Options.from_dict(dict(method="lagrangian", rel_gap=0.05, bundle=dict(max_iterations=10)))
SEEDS = (3, 5)


def main(argv: Sequence[str] | None = None) -> int:
    fault = (argv or sys.argv[1:])[0]

    def work(ask: Ask) -> list[float]:
        found = [ask(generate("small", seed=seed), BRIEF).incumbent for seed in SEEDS]
        if fault == "of the root":
            raise InputError("the third is missing")
        if fault == "of all":
            ask(object(), BRIEF.updated(method="extensive"))  # type: ignore[arg-type]
        return found

    with make_team() as team:
        found = led_by_root(team, work)
        if found is not None:
            print(*found)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
