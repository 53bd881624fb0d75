"""Small invented files as market operators, weather services and clusters lay them out, and what must come out."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from drivers.common import run
from drivers.ingest import main
from running import CHECKOUT

pytestmark = pytest.mark.slow

CASES = CHECKOUT.parent / "shared" / "cases" / "ingest"
NAMES = sorted(path.parent.name for path in CASES.glob("*/expect.json"))


def in_process(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """The command in this process: a Python takes longer to start than a case takes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = run(main, command[3:])
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def judge() -> Any:
    """The judge that lies beside the cases."""
    if not NAMES:
        pytest.skip("the cases are not here")
    spec = importlib.util.spec_from_file_location("judge_of_cases", CASES / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.subprocess = types.SimpleNamespace(run=in_process, TimeoutExpired=subprocess.TimeoutExpired)
    return module.judge


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_read_or_refused_as_it_must(judge: Any, name: str) -> None:
    assert judge(CHECKOUT, Path("python"), CASES / name) == "ok"
