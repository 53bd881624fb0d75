"""The house rules that a reader relies on: who may import what, and how long things may get."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((CHECKOUT / "decomp").rglob("*.py"))
DRIVERS = sorted((CHECKOUT / "drivers").rglob("*.py"))
SOURCES = PACKAGE + DRIVERS
CONTRIBUTING = CHECKOUT / "CONTRIBUTING.md"
MAP = re.compile(r"(?<=\| package \| purpose \|\n\|---\|---\|\n)(\|.*\n)+")
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@cache
def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports anywhere, relative ones resolved."""
    found: set[str] = set()
    folder = path.relative_to(CHECKOUT).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def importers(module: str) -> list[str]:
    return [name(p) for p in SOURCES if any(f"{i}.".startswith(f"{module}.") for i in imports(p))]


def test_one_file_knows_mpi_one_pyomo_one_numba_and_only_messages_and_machine_code_are_pickled() -> None:
    assert importers("mpi4py") == ["decomp/ranks/mpi.py"]
    assert importers("pyomo") == ["decomp/devices/pyomo_block.py", "decomp/extensive/pyomo_model.py"]
    assert importers("pickle") == ["decomp/compiled.py", "decomp/ranks/mpi.py"]
    assert importers("numba") == ["decomp/compiled.py"]


def test_the_global_communicator_is_touched_only_by_drivers() -> None:
    def mentions(path: Path) -> bool:
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        return any(isinstance(node, ast.Attribute) and node.attr.startswith("COMM_") for node in nodes)

    assert [name(p) for p in PACKAGE if mentions(p)] == []


def test_the_package_does_not_import_the_drivers() -> None:
    assert [name(p) for p in PACKAGE if any(i.split(".")[0] == "drivers" or "drivers" in i for i in imports(p))] == []


# The order of packages: each imports only what stands before it. Those of one line do not import each other.
FLOORS = (
    ("model", "compiled"),
    ("devices",),
    ("files", "lp", "families"),
    ("ranks", "ingest", "certificate"),
    ("site", "extensive", "scenarios"),
    ("bound",),
    ("schedule",),
    ("search", "benders"),
    ("state",),
    ("exact",),
    ("solver",),
    ("frontier", "rolling", "insight", "evaluation"),
    ("report",),
    ("bench", "studies"),
    ("api",),
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}


def unit(path: Path) -> str:
    """The package directly below decomp that a file belongs to, or the module of that name."""
    below = path.relative_to(CHECKOUT / "decomp").with_suffix("").parts
    return below[0]


def test_packages_import_only_what_stands_before_them() -> None:
    wrong = []
    for path in PACKAGE:
        own = unit(path)
        if own == "__init__":
            continue
        for other in {i.split(".")[1] for i in imports(path) if i.startswith("decomp.")} - {own}:
            if other in FLOOR and FLOOR[other] >= FLOOR[own]:
                wrong.append(f"{name(path)} imports {other}")
    assert sorted(wrong) == []


def test_every_package_has_its_place_in_the_order() -> None:
    assert {unit(path) for path in PACKAGE} - {"__init__"} == set(FLOOR)


def map_rows() -> str:
    """The table of CONTRIBUTING: every package with the first line of its docstring, in the order of imports."""
    rows = []
    for package in (package for floor in FLOORS for package in floor):
        home = CHECKOUT / "decomp" / package
        file = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
        rows.append(
            f"| `{package}` | {(ast.get_docstring(ast.parse(file.read_text('utf-8'))) or '').splitlines()[0]} |"
        )
    return "\n".join(rows) + "\n"


def test_the_map_is_that_of_the_packages() -> None:
    written = MAP.search(CONTRIBUTING.read_text("utf-8"))
    assert written and written[0] == map_rows(), "packages have changed: run python tests/test_structure.py"


def test_each_question_is_answered_by_one_file() -> None:
    rows = re.findall(r"^\| (.+) \| `(decomp/[\w/]+\.py)` \|$", CONTRIBUTING.read_text("utf-8"), re.M)
    assert len(rows) == 16 and all((CHECKOUT / file).exists() for _, file in rows)


def test_every_package_says_how_to_read_it() -> None:
    for floor in FLOORS:
        for package in floor:
            home = CHECKOUT / "decomp" / package / "__init__.py"
            if home.exists():
                assert len((ast.get_docstring(ast.parse(home.read_text("utf-8"))) or "").splitlines()) >= 3, package


def test_every_command_has_a_group() -> None:
    from drivers.__main__ import GROUPS

    helpers = {"__init__", "__main__", "arguments", "cases", "common", "rivals", "streams"}
    assert {p.stem for p in DRIVERS} - helpers <= {verb for verbs in GROUPS.values() for verb in verbs}


def test_the_certificate_shares_nothing_with_the_models_it_checks() -> None:
    used = {i for p in PACKAGE if p.parent.name == "certificate" for i in imports(p) if i.startswith("decomp.")}
    allowed = ("decomp.certificate", "decomp.model.instance", "decomp.model.result", "decomp.model.frontier")
    assert [i for i in sorted(used) if not i.startswith(allowed)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_fits_a_sitting_and_a_function_a_screen(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "says what it is for"
    assert text.count("\n") <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = len((ast.get_docstring(node) or "").splitlines())
            assert (node.end_lineno or 0) - node.lineno + 1 - said <= LONGEST_FUNCTION, node.name


if __name__ == "__main__":
    CONTRIBUTING.write_text(MAP.sub(lambda _: map_rows(), CONTRIBUTING.read_text("utf-8")), "utf-8")
