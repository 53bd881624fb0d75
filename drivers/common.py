"""What every command shares: exit codes, one-line refusals, the team of ranks."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from decomp.files.store import instance_hash, read_result
from decomp.lp.watch import catch
from decomp.model.instance import InputError, Instance
from decomp.model.options import Options
from decomp.model.result import Result
from decomp.model.validate_result import validate_result
from decomp.ranks.mpi import MPI, AtRoot, Serial, Team, exit_code, load_mpi
from decomp.site.faults import SiteFailure

from .arguments import Arguments
from .streams import lossy_streams

HERE = __package__ or "drivers"
BAD_INPUT = 2
INTERNAL_FAILURE = 5
# What the operating system says of a path that cannot be what it was given for.
WRONG_PATH = (
    *(errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)

# How launchers tell a process the number of ranks; a bare rank means that only MPI knows it.
_RANKS_IN = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANK_IN = ("PMIX_RANK", "PALS_RANKID")

Command = Callable[[Sequence[str] | None], int]
Shared = TypeVar("Shared")
Own = TypeVar("Own")

USUAL = Options()
BRIEF = Options.from_dict({"rel_gap": 0.01, "improvement": {"stale_finishes": 1}})  # for many solves in a row


def run(command: Command, argv: Sequence[str] | None = None) -> int:
    """Run a command's main; whatever goes wrong ends as one line on stderr and an exit code, its own in any case.

    Only a failure that is nobody's fault but ours shows a traceback.
    """
    with lossy_streams(), ends_in_order():
        try:
            return command(argv)
        except SystemExit as end:  # of a parser: help has been given, or said what is wrong
            return exit_code(int(end.code or 0))
        except KeyboardInterrupt as end:
            number = end.args[0] if end.args else signal.SIGINT
            print(f"error: interrupted by {signal.Signals(number).name}", file=sys.stderr)
            return exit_code(128 + number)
        except AtRoot as elsewhere:  # the root has said why
            return exit_code(_code(elsewhere.__cause__))
        except Exception as error:
            if _code(error) == INTERNAL_FAILURE and not isinstance(error, OSError | MemoryError | SiteFailure):
                traceback.print_exc()
            print("error:", _reason(error).replace("\n", " "), file=sys.stderr)  # one line, whatever a file is called
            return exit_code(_code(error))


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Inside, whoever is asked to end does so as after Ctrl-C: half a file vanishes, children end; by 128 and more."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second ends at once
        raise KeyboardInterrupt(number)

    before = catch((signal.SIGTERM, signal.SIGHUP), end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_line(verb: str, *words: object, ranks: int = 1) -> list[str]:
    """What starts a command of this package, on MPI ranks if there are several."""
    program = [sys.executable, *(["-m", "mpi4py"] if ranks > 1 else []), "-m", f"{HERE}.{verb}", *map(str, words)]
    return [mpiexec(), "-n", str(ranks), *program] if ranks > 1 else program


def mpiexec() -> str:
    """The launcher beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec") or "mpiexec"


def read_result_of(path: Path, instance: Instance, instance_path: Path) -> Result:
    """The result in a file, if it is of this instance."""
    result = read_result(path)
    if instance_hash(path) != instance.content_hash():
        raise InputError(f"{path}: belongs to another instance than {instance_path}")
    try:
        validate_result(instance, result)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return result


def add_options(p: Arguments, rel_gap: str, time_limit: str) -> None:
    """Add the arguments that `options_of` reads, with what two of them mean to the command."""
    p.add_argument("--rel-gap", type=float, metavar="G", help=rel_gap)
    p.add_argument("--time-limit", type=float, metavar="SECONDS", help=time_limit)
    p.reads("--options", metavar="TOML", help="file of further options")


def options_of(args: argparse.Namespace, usual: Options = USUAL, **more: Any) -> Options:
    """The options of --options or, without, the usual ones; what the command line says itself takes their place.

    A file that says no gap has the usual one.
    """
    given = Options.from_toml(args.options, rel_gap=usual.rel_gap) if args.options else usual
    options: Options = given.updated(rel_gap=args.rel_gap, time_limit_seconds=args.time_limit, **more)
    return options


def read_at_root(team: Team, read: Callable[[], tuple[Shared, Own]], elsewhere: Own) -> tuple[Shared, Own]:
    """What the root reads: the first part on every rank, the second at the root only; the others have `elsewhere`.

    Bad input ends all ranks together.
    """
    own = elsewhere

    def look() -> Shared:
        nonlocal own
        shared, own = read()
        return shared

    return team.at_root(look, "reading the instance"), own


def code_of(team: Team, work: Callable[[], int]) -> int:
    """The exit code of work that all ranks do: the root's, on every rank.

    What the root meets alone ends all ranks together, too: input that turns out to be wrong as late as that, a file
    that cannot be written. By then the others have done their share, and wait here.
    """
    code, failure = 0, None
    try:
        code = work()
    except (InputError, OSError) as error:
        if team.agreed_on(error) or not team.is_root:
            raise
        failure = error

    def end() -> int:
        if failure is not None:
            raise failure
        return code

    return team.at_root(end, "exit code")


def what_there_is(instance: Instance) -> str:
    """How many there are of what a reader has a name for."""
    named = ("site", "period", "generator", "device", "stream", "job", "pool", "scenario")
    return ", ".join(f"{n} {name}{'s' * (n != 1)}" for name in named if (n := instance.sizes[name]))


def make_team(patience: float = 600.0) -> Team:
    """The ranks this process was started with: one alone needs no MPI; see `decomp.ranks.mpi.MPI` for `patience`."""
    ranks = _launched_ranks()
    if ranks == 1:
        return Serial()
    world = load_mpi().COMM_WORLD
    if ranks is not None and ranks != world.size:
        raise InputError(
            f"started as {ranks} ranks, but the MPI library sees {world.size}: the launcher is not that library's own "
            "(use the mpiexec beside python, or set MPI4PY_LIBMPI to the launcher's libmpi; srun: try --mpi=pmi2)"
        )
    return MPI(world, patience, ends_mpi=True)


def _launched_ranks() -> int | None:
    """Ranks by the launcher's word; 1 without a launcher, None when only MPI knows."""
    sizes = [int(os.environ[name]) for name in _RANKS_IN if os.environ.get(name, "").isdigit()]
    if sizes:
        return sizes[0]
    return None if any(name in os.environ for name in _RANK_IN) else 1


def _code(error: BaseException | None) -> int:
    bad = isinstance(error, InputError) or (isinstance(error, OSError) and error.errno in WRONG_PATH)
    return BAD_INPUT if bad else INTERNAL_FAILURE


def _reason(error: Exception) -> str:
    if isinstance(error, InputError | SiteFailure):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}".rstrip(": ")
    return f"internal failure, {type(error).__name__}: {error}"
