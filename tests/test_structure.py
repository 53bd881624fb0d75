"""The house rules that a reader relies on: who may import what, and how long things may get."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((CHECKOUT / "decomp").rglob("*.py"))
DRIVERS = sorted((CHECKOUT / "drivers").rglob("*.py"))
SOURCES = PACKAGE + DRIVERS
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


def test_one_file_knows_mpi_one_knows_pyomo_and_only_messages_are_pickled() -> None:
    assert importers("mpi4py") == ["decomp/team.py"]
    assert importers("pyomo") == ["decomp/extensive.py"]
    assert importers("pickle") == ["decomp/team.py"]


def test_the_global_communicator_is_touched_only_by_drivers() -> None:
    def mentions(path: Path) -> bool:
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        return any(isinstance(node, ast.Attribute) and node.attr.startswith("COMM_") for node in nodes)

    assert [name(p) for p in PACKAGE if mentions(p)] == []


def test_the_package_does_not_import_the_drivers() -> None:
    assert [name(p) for p in PACKAGE if any(i.split(".")[0] == "drivers" or "drivers" in i for i in imports(p))] == []


def unit(module: str) -> str:
    """A module or subpackage directly below decomp."""
    return ".".join(module.split(".")[:2])


def test_imports_go_in_one_direction() -> None:
    units = {f"decomp.{p.stem}" for p in PACKAGE if p.parent.name == "decomp"}
    units |= {f"decomp.{p.parent.name}" for p in PACKAGE if p.parent.name != "decomp"}
    graph: dict[str, set[str]] = {}
    for path in PACKAGE:
        below = path.relative_to(CHECKOUT).with_suffix("").parts
        own = unit(".".join(below))
        if own == "decomp.__init__":
            continue
        graph.setdefault(own, set()).update({unit(i) for i in imports(path)} & units - {own})
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the cycle
    assert order.index("decomp.instance") < order.index("decomp.result") < order.index("decomp.store")


def test_the_certificate_shares_nothing_with_the_models_it_checks() -> None:
    allowed = {"decomp.instance", "decomp.result", "decomp.certificate", "decomp.store", "decomp.validate"}
    used = {unit(i) for p in PACKAGE if p.parent.name == "certificate" for i in imports(p) if i.startswith("decomp.")}
    assert used <= allowed


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
