"""What `bench` measures: named rows, instance sizes, and which rivals are worth a try on them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from decomp.families import FAMILIES
from decomp.model.instance import InputError

from .arguments import POSITIVE, SHARE, several, whole
from .rivals import RIVALS

OURS = "decomp"
KINDS = ("ours", "lp", "milp", "baseline", "scenarios", "rivals")
FREE = 100.0  # carbon budget of the family, as a multiple: more than can be emitted
LP_SECONDS = 300.0  # least time limit of an LP solver: what it takes is what our time is held against


@dataclass(frozen=True)
class Case:
    """An instance size and what is asked of it: seconds, the gap to stop at, the rivals to compare with.

    `scenarios` : so many, then without a carbon budget, which would join them.
    """

    family: str
    sites: int
    limit_seconds: float
    rel_gap: float
    rivals: tuple[str, ...]
    scenarios: int = 0

    def name(self, seed: int) -> str:
        return f"{self.family}-{self.sites}-{seed}" + (f"-{self.scenarios}-scenarios" if self.scenarios else "")

    @property
    def label(self) -> str:
        """What stands for the family in the tables."""
        return f"{self.family}-{self.scenarios}-scenarios" if self.scenarios else self.family

    @property
    def settings(self) -> list[str]:
        """What the family is asked for, as arguments of generate."""
        return ["--set", f"scenarios={self.scenarios}", "--set", f"budget={FREE:g}"] if self.scenarios else []

    def limit(self, method: str) -> float:
        """Seconds that a method gets."""
        lp = method in RIVALS and RIVALS[method].kind == "lp"
        return max(self.limit_seconds, LP_SECONDS) if lp else self.limit_seconds

    def words(self, method: str) -> list[str]:
        """What is asked, as arguments of solve and of rivals."""
        return ["--time-limit", f"{self.limit(method):g}", "--rel-gap", f"{self.rel_gap:g}"]


def worth_a_try(sites: int) -> tuple[str, ...]:
    return tuple(name for name, rival in RIVALS.items() if sites <= rival.most_sites)


MILPS = tuple(name for name, rival in RIVALS.items() if rival.kind == "milp")
ROWS = {
    "10": Case("fleet", 10, 60, 2e-3, worth_a_try(10)),
    "10-300s": Case("fleet", 10, 300, 1e-4, MILPS),
    "30": Case("fleet", 30, 90, 3e-3, worth_a_try(30)),
    "100": Case("fleet", 100, 150, 1.5e-3, worth_a_try(100)),
    "300": Case("fleet", 300, 240, 1e-3, ()),
    "1000": Case("fleet", 1000, 720, 1e-3, ()),
    "swarm-100": Case("swarm", 100, 240, 3e-4, ()),
    "10x10": Case("fleet", 10, 60, 1e-3, (*MILPS, "mpi-sppy"), scenarios=10),
    "10x10-300s": Case("fleet", 10, 300, 1e-3, (*MILPS, "mpi-sppy"), scenarios=10),
}
USUAL = ("10", "30", "100")
FULL_SEEDS, USUAL_SEEDS = (101, 102, 103), (101,)


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Which rows, sizes, seeds and rivals."""
    p.add_argument("--full", action="store_true", help=f"all rows, seeds {', '.join(map(str, FULL_SEEDS))}: hours")
    p.add_argument(
        "--rows", type=row_names, metavar="NAME,...", help=f"of {', '.join(ROWS)}\n(default {','.join(USUAL)})"
    )
    p.add_argument("--sites", type=several(1), metavar="N,...", help="other sizes instead of the rows")
    p.add_argument("--seeds", type=several(0), metavar="K,...", help="seeds of the instances (default 101)")
    p.add_argument("--family", choices=FAMILIES, help="family of the instances (default: the row's, else fleet)")
    p.add_argument("--periods", type=whole(1), metavar="N", help="periods (default: the family's)")
    p.add_argument("--time-limit", type=POSITIVE, metavar="SECONDS", help="of every row (default: by size)")
    p.add_argument("--rel-gap", type=SHARE, metavar="G", help="gap at which a row ends (default: by size)")
    p.add_argument(
        "--rivals",
        type=rival_names,
        metavar="NAME,...",
        help=f"of {', '.join(RIVALS)}; or none\n(default: those worth a try at the size)",
    )
    p.add_argument("--skip", type=kinds, default=(), metavar="KIND,...", help=f"leave out: {', '.join(KINDS)}")


def _listed(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {what} {name!r}; known are {', '.join(known)}")
    return names


def row_names(text: str) -> tuple[str, ...]:
    return _listed(text, tuple(ROWS), "row")


def rival_names(text: str) -> tuple[str, ...]:
    return () if text == "none" else _listed(text, tuple(RIVALS), "rival")


def kinds(text: str) -> tuple[str, ...]:
    return _listed(text, KINDS, "kind")


def plan(args: argparse.Namespace) -> list[Case]:
    """The cases that the arguments ask for."""
    if args.sites:
        cases = [by_size(args.family or "fleet", sites) for sites in args.sites]
    else:
        cases = [ROWS[name] for name in args.rows or (ROWS if args.full else USUAL)]
        cases = [case for case in cases if args.family in (None, case.family)]
    if not cases:
        raise InputError(f"--family {args.family}: none of the rows; give sizes with --sites")
    given = dict(limit_seconds=args.time_limit, rel_gap=args.rel_gap, rivals=args.rivals)
    cases = [replace(case, **{k: v for k, v in given.items() if v is not None}) for case in cases]
    skipped = {"lp", "milp", "baseline", "scenarios"} if "rivals" in args.skip else set(args.skip)
    return [replace(c, rivals=tuple(n for n in c.rivals if RIVALS[n].kind not in skipped)) for c in cases]


def by_size(family: str, sites: int) -> Case:
    """Time limit and gap of the row of the next larger size; the rivals that are worth a try."""
    sized = [row for name, row in ROWS.items() if name == str(row.sites)]
    row = next((row for row in sized if row.sites >= sites), sized[-1])
    return Case(family, sites, row.limit_seconds, row.rel_gap, worth_a_try(sites))


def left_out(cases: list[Case]) -> list[str]:
    """Names of the rows that are not among the cases."""
    there = {(case.label, case.sites, case.limit_seconds) for case in cases}
    return [name for name, row in ROWS.items() if (row.label, row.sites, row.limit_seconds) not in there]
