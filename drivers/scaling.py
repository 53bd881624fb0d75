"""`scaling`: speed-up and efficiency over numbers of ranks, measured, collected from an array job, or replayed.

    python -m drivers.scaling fleet.h5 -o study --ranks 1,2,4      # run solve on 1, 2 and 4 ranks; table and plot
    python -m drivers.scaling --collect study                      # the same from the logs that an array job has left
    python -m drivers.scaling fleet.h5 -o study --ranks 1,2,4 --replay

An @ in the instance's name stands for the number of ranks (weak scaling). `--replay` records one solve in this process,
replays it on the ranks that were measured, says how far off it is, and then on more ranks than there are here. Its
message times are measured between two ranks of this machine; elsewhere two ranks say what to give instead:

    srun --nodes=2 --ntasks=2 python -m mpi4py -m drivers.scaling --ping
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from decomp.bench.measure import cores
from decomp.bench.replay import Cluster, ReplayStep, grow, record, replay
from decomp.bench.scaling import Row, plot_study, read_study, study_table
from decomp.bench.tables import Columns, one_digit, table
from decomp.files.atomic import write_text
from decomp.files.store import instance_hash, read_instance, read_sites
from decomp.model.instance import Array, InputError
from decomp.model.text import number, percent
from decomp.ranks.mpi import Team

from .arguments import AMOUNT, SECONDS, SHARE, Arguments, Named, several
from .common import command_line, make_team, options_of, run

PING_BYTES = 1 << 20
PINGS = 300
SHOWN = ("table.json", "scaling.png")
WRITTEN = ("[0-9]*.h5", "[0-9]*.jsonl", "replay.jsonl", *SHOWN)

CHECK_COLUMNS: Columns = (
    ("ranks", "ranks", str),
    ("measured processors' s", "path", one_digit),
    ("replayed s", "replayed", one_digit),
    ("off by", "off", percent),
    ("measured wall s", "seconds", one_digit),
    ("replayed on the cores here s", "here", one_digit),
    ("off by ", "off_wall", percent),
)
PREDICTION_COLUMNS: Columns = (
    ("sites", "sites", number),
    ("ranks", "ranks", number),
    ("loop s", "total", one_digit),
    ("speed-up", "speed_up", one_digit),
    ("efficiency", "efficiency", percent),
    ("idle", "idle", percent),
    ("root's own s", "root", one_digit),
    ("messages s", "messages", one_digit),
    ("sites and moves s", "work", one_digit),
    ("limited by", "limit", str),
    ("with messages in a tree", "tree", one_digit),
)


def parser() -> Arguments:
    p = Arguments("scaling", __doc__)
    p.reads("instance", nargs="?", help="instance file (HDF5); @ stands for the number of ranks")
    p.fills("-o", "--output", files=WRITTEN, help="folder for results, logs, table and plot")
    p.add_argument("--ranks", type=several(1), default=(1, 2), metavar="N,...", help="numbers of ranks (default 1,2)")
    p.add_argument("--rel-gap", type=SHARE, metavar="G", help="gap at which solve stops (default: that of solve)")
    p.add_argument("--time-limit", type=SECONDS, metavar="SECONDS", help="of each run; then iterations are compared")
    p.reads("--options", metavar="TOML", help="file of further options")
    p.fills("--collect", files=SHOWN, help="show what runs have left there, run nothing")
    p.add_argument("--replay", action="store_true", help="record a solve and replay it; runs already in FOLDER stay")
    p.add_argument("--sites", type=several(1), default=(1000, 10_000), metavar="N,...", help="sites of the predictions")
    p.add_argument("--on", type=several(1), default=(256, 1024, 4096), metavar="N,...", help="ranks of the predictions")
    p.add_argument("--message-seconds", type=AMOUNT, metavar="S", help="of the root, a message (default: measured)")
    p.add_argument("--byte-seconds", type=AMOUNT, metavar="S", help="of the root, a byte (default: measured)")
    p.add_argument("--latency-seconds", type=AMOUNT, metavar="S", help="of a message on its way (default: measured)")
    p.add_argument("--ping", action="store_true", help="measure these three between two ranks, run nothing")
    return p


def launch(ranks: int, verb: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command on ranks of this machine."""
    return subprocess.run(command_line(verb, *words, ranks=ranks), capture_output=True, text=True, check=False)


def fleet_of(args: argparse.Namespace, ranks: int) -> Path:
    """The instance for so many ranks."""
    return Path(str(args.instance).replace("@", str(ranks)))


def measure(args: argparse.Namespace) -> None:
    """One solve for each number of ranks; to be replayed, only for those that have none of this instance yet."""
    given = {"--rel-gap": args.rel_gap, "--time-limit": args.time_limit, "--options": args.options}
    words = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    for ranks in args.ranks:
        fleet = fleet_of(args, ranks)
        result, log = (args.output / f"{ranks}{ending}" for ending in (".h5", ".jsonl"))
        if args.replay and result.exists() and instance_hash(result) == instance_hash(fleet):
            continue
        done = launch(ranks, "solve", fleet, "-o", result, "--log", log, *words)
        if done.returncode not in (0, 3):
            raise InputError(f"{ranks} ranks: {(done.stderr.splitlines() or ['ended without a word'])[-1]}")
        print(f"{ranks} ranks: {done.stdout.splitlines()[-1]}", file=sys.stderr)


def ping(team: Team) -> dict[str, float]:
    """What a message between two ranks takes: of the root's time, for each of its bytes, and on its way."""

    def seconds(size: int, messages: int, tries: int) -> Array:
        """Until the root has sent some messages, and until it has the other rank's answer, as large as one of them."""
        found = []
        for _ in range(tries):
            team.barrier("ping")
            started = time.perf_counter()
            for _ in range(messages):
                value = team.bcast(np.zeros(size // 8) if team.is_root else None, "ping")
            sent = time.perf_counter()
            team.gather(value, "ping")
            found.append([sent - started, time.perf_counter() - started])
        return np.quantile(found, 0.1, axis=0)  # of undisturbed ones

    message = float(seconds(8, PINGS, PINGS // 10)[0]) / PINGS
    small, large = float(seconds(8, 1, PINGS)[1]), float(seconds(PING_BYTES, 1, PINGS // 10)[1])
    return dict(
        message_seconds=message,
        byte_seconds=max(large - small, 0.0) / (2 * PING_BYTES),
        latency_seconds=max(small / 2 - message, 0.0),
    )


def message_times(args: argparse.Namespace) -> dict[str, Any]:
    """As given, else as measured between two ranks of this machine."""
    given = {name: getattr(args, name) for name in ("message_seconds", "byte_seconds", "latency_seconds")}
    if None not in given.values():
        return given
    done = launch(2, "scaling", "--ping")
    if done.returncode:
        raise InputError(f"two ranks cannot be started: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {k: v for k, v in given.items() if v is not None}


def checked(rows: Sequence[Row], steps: Sequence[ReplayStep], cluster: Cluster) -> list[Row]:
    """Measured and replayed seconds on the ranks that were measured: processors', and by the wall on the cores here.

    The former know no waiting for messages on their way.
    """
    found = []
    for row in rows:
        ranks = replace(cluster, ranks=row["ranks"])
        compared = replace(ranks, latency_seconds=0.0), replace(ranks, cores=cores())
        replayed, here = (replay(steps, on).total for on in compared)
        off = dict(off=replayed / row["path"] - 1.0, off_wall=here / row["seconds"] - 1.0)
        found.append({**row, **off, "replayed": replayed, "here": here})
    return found


def predicted(steps: Sequence[ReplayStep], cluster: Cluster, sites: Sequence[int], on: Sequence[int]) -> list[Row]:
    """What the replay says for more sites and ranks than there are here; and of what would lift its limits."""
    rows = []
    for count in sites:
        larger = grow(steps, count, np.random.default_rng(0))
        alone = replay(larger, replace(cluster, ranks=1)).total
        for ranks in on:
            here = replace(cluster, ranks=ranks)
            times = replay(larger, here)
            rows.append(
                dict(
                    asdict(times),
                    sites=count,
                    speed_up=alone / times.total,
                    efficiency=alone / times.total / ranks,
                    idle=times.idle_share,
                    limit=times.limit,
                    tree=replay(larger, replace(here, tree=True)).total,
                )
            )
    return rows


def show_replay(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Record, check, predict."""
    if "@" in str(args.instance):
        raise InputError("--replay: takes one instance, without @")
    instance = read_instance(args.instance)
    steps = record(instance, options_of(args), lambda own: read_sites(args.instance, own))
    messages = message_times(args)
    cluster = Cluster(1, **messages)
    seconds = np.concatenate([step.seconds for step in steps if step.site is not None])
    low, middle, high = 1e3 * np.quantile(seconds, (0.05, 0.5, 0.95))
    print(f"\nRecorded: {len(steps)} steps; a site takes {middle:.2f} ms (5 % below {low:.2f}, 5 % above {high:.2f});")
    print(
        f"a message {1e6 * messages['message_seconds']:.0f} µs and {1e9 * messages['byte_seconds']:.2f} ns a byte, "
        f"{1e6 * messages['latency_seconds']:.0f} µs on its way.\n"
    )
    print("\n".join(table(checked(rows, steps, cluster), CHECK_COLUMNS)))
    foreseen = predicted(steps, cluster, args.sites, args.on)
    print("\nSeconds of the loop on more ranks; the last column: if others handed on the root's messages.\n")
    print("\n".join(table(foreseen, PREDICTION_COLUMNS)))
    save(args.output / "replay.jsonl", foreseen)


def save(path: Path, rows: Sequence[Any]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    if args.ping:
        with make_team() as team:
            times = ping(team)
            if team.is_root:
                print(json.dumps(times))
        return 0
    folder = args.collect or args.output
    if folder is None or (args.instance is None) != (args.collect is not None):
        raise InputError("say FLEET -o FOLDER to measure, or --collect FOLDER")
    p.keep_apart(args, (Named("instance", fleet_of(args, ranks)) for ranks in args.ranks if args.instance))
    if args.collect is None:
        folder.mkdir(parents=True, exist_ok=True)
        measure(args)
    rows = read_study(folder, () if args.collect else args.ranks)
    save(folder / "table.json", rows)
    plot_study(rows, folder / "scaling.png")
    print("\n".join(study_table(rows)))
    if args.replay:
        show_replay(args, rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
