"""What is installed: every package, every dependency, no generic name, a command that works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest

import decomp
from running import run_limited
from test_structure import CHECKOUT, SOURCES, imports

pytestmark = pytest.mark.slow

SETUP = ConfigParser()
SETUP.read(CHECKOUT / "setup.cfg")

PART_OF = {"markupsafe": "jinja2"}


def listed(section: str, key: str) -> list[str]:
    return SETUP[section][key].split("\n")[1:]


def test_every_package_of_the_tree_is_listed() -> None:
    folders = {p.parent for p in SOURCES}
    packages = {".".join(folder.relative_to(CHECKOUT).parts) for folder in folders}
    packages = {"decomp.drivers" if name == "drivers" else name for name in packages}
    assert sorted(listed("options", "packages")) == sorted(packages)
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_every_import_is_a_declared_dependency() -> None:
    lines = listed("options", "install_requires")
    for extra in ("ingest", "xarray"):
        lines += listed("options.extras_require", extra)
    declared = {re.split(r"[ <>=;]", line)[0].lower() for line in lines if line}
    imported = {i.split(".")[0] for p in SOURCES for i in imports(p)} - {"", "decomp", "drivers"}
    foreign = {PART_OF.get(name, name) for name in imported - {*sys.stdlib_module_names, "tomllib"}}
    assert foreign <= declared
    assert declared - foreign <= {"tzdata"}


def test_every_data_file_is_shipped() -> None:
    shipped = {
        path
        for package, patterns in SETUP["options.package_data"].items()
        for pattern in patterns.split(", ")
        for path in (CHECKOUT / package.replace("decomp.drivers", "drivers").replace(".", "/")).glob(pattern)
    }
    data = {
        path
        for folder in ("decomp", "drivers")
        for path in (CHECKOUT / folder).rglob("*.*")
        if path.suffix not in (".py", ".pyc", ".nbi", ".nbc")
    }
    assert data == shipped


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another virtual environment, with the wheel installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source, env = folder / "source", folder / "env"
    source.mkdir()
    for item in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(CHECKOUT / item, source)
    for item in ("decomp", "drivers"):
        shutil.copytree(CHECKOUT / item, source / item, ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(env, symlinks=True)

    def pip(*arguments: object) -> None:
        done = run_limited([sys.executable, "-m", "pip", *map(str, arguments)], PYTHONPATH="")
        assert done.returncode == 0, done.stderr

    pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, source)
    pip("--python", env / "bin" / "python", "install", "--no-deps", *folder.glob("*.whl"))
    return env


def test_a_wheel_elsewhere_gives_the_command_and_no_generic_name(elsewhere: Path, tmp_path: Path) -> None:
    [packages] = elsewhere.glob("lib/python*/site-packages")
    assert [p.name for p in packages.iterdir() if not p.name.endswith("dist-info")] == ["decomp"]
    # The dependencies are lent by the environment of the tests; of a path added so, .pth files are not read.
    (packages / "lent.pth").write_text(f"{Path(np.__file__).parent.parent}\n")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_limited([str(elsewhere / "bin" / "decomp"), *arguments], cwd=tmp_path, PYTHONPATH="")

    assert command("--version").stdout == f"decomp {decomp.__version__}\n"
    done = command("generate", "small", "-o", "fleet.h5")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fleet.h5").exists()
    done = command("check", "fleet.h5", "missing.h5")
    assert (done.returncode, done.stderr) == (2, "error: missing.h5: No such file or directory\n")
    every = "import sys; from decomp.drivers.__main__ import GROUPS, verbs; import importlib as i, decomp"
    every += "; [i.import_module(f'decomp.drivers.{verb}').parser().format_help() for verb in verbs()]"
    every += "; print(len(verbs()) == sum(map(len, GROUPS.values())), all(hasattr(decomp, n) for n in decomp.__all__))"
    done = run_limited([str(elsewhere / "bin" / "python"), "-c", every], cwd=tmp_path, PYTHONPATH="")
    assert done.stdout == "True True\n", done.stderr


def test_the_command_in_a_checkout() -> None:
    done = run_limited([sys.executable, "-m", "drivers"])
    assert done.returncode == 2
    assert {line.split()[0] for line in done.stdout.splitlines() if line} >= {"generate", "solve", "check"}
    done = run_limited([sys.executable, "-m", "drivers", "slove"])
    assert (done.returncode, done.stderr) == (2, "error: no command 'slove'; did you mean solve?\n")


def test_the_command_of_an_editable_install(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("decomp")
    if not command.exists():
        pytest.skip("not installed in this environment")
    done = run_limited([str(command), "--version"], cwd=tmp_path, PYTHONPATH="")
    assert done.stdout == f"decomp {decomp.__version__}\n"


def test_one_thread_a_process() -> None:
    program = "import drivers, os; print(os.environ['OMP_NUM_THREADS'])"
    for given, kept in (("-u OMP_NUM_THREADS", "1"), ("OMP_NUM_THREADS=4", "4")):
        assert run_limited(["env", *given.split(), sys.executable, "-c", program]).stdout == f"{kept}\n"
