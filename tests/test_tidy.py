"""What keeps the repository readable, checked: sizes, mirrors, dead modules, leftovers, ignored fields."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from modelfleet.api.cascade import CascadeSpec
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.model_tier import ModelTierSpec

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "operator" / "modelfleet"
SIZED = ("operator", "tests", "e2e", "bench")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# Modules without a test file of their own, and what tests them instead.
UNMIRRORED = {
    # Modules without any logic need no line here.
    "cli/main": "wiring, run whole by the end-to-end tests",
    "cli/route": "wiring, run whole by the end-to-end tests",
    "cli/serve": "wiring, run whole by the end-to-end tests",
    "errors": "constructors that keep what they are given",
}
# Test files that are about more than one module.  test_x_live.py is about x, against a real server.
CROSS_CUTTING = {
    "api/test_admission": "the generated CRDs on a real API server",
    "cli/test_serve_asleep_live": "operator and router as processes: what routers tell scales tiers and wakes them",
    "cli/test_serve_budget_live": "operator and router as processes: a budget that is spent, through restarts of both",
    "cli/test_serve_foreign_live": "the operator as a process beside what others run",
    "control/capacity/test_blind": "the capacity loop without metrics, and when they are back",
    "control/capacity/test_controlled": "the capacity loop under what users ask for",
    "control/capacity/test_entries": "where the capacity loop lets requests start",
    "control/capacity/test_learned": "what plan, notes and look keep of the past",
    "router/test_budget_spent": "what course, state and relay do when a Cascade's money is spent",
    "router/test_embeddings": "one path through all of the router",
    "router/test_data_policy": "what course, relay, judged, spill and pool are together",
    "router/test_canary": "all that a router says",
    "router/test_corpus": "bytes that must be taken for what they are, on both sides",
    "router/test_division": "three router processes and what holds for all of them",
    "router/test_cold": "what pool, judged and wake do of a tier that sleeps",
    "router/test_judged_streams": "what judged does of streams",
    "router/test_relay_faults": "what relay does of engines that die, hang and lie",
    "router/test_spill_bounds": "what spill does where nothing may leave, or only so much",
    "router/test_pass_through": "what relay, call, headers and judged leave alone",
    "router/test_fuzz": "the same bytes after accidents",
    "router/test_outage": "what upstream, health, pool, state and metrics tell of an API that cannot be asked",
    "router/test_overload": "what relay, pool, health and budget are together",
    "router/test_images": "what relay, spill, answer and health do about a model that reads text only",
    "router/test_one_answer": "no answer has bytes of two engines, whatever these do",
    "router/test_reliability": "engines that break at every byte, clients that leave at every stage",
    "router/test_tenants": "what pool, fair and keys are together: one tenant beside the others",
    "sim/test_without_profile": "what plan/fill learns, on simulated engines",
    "router/test_rolled": "the law of many routers, and what the operator tells those that begin",
    "router/test_slow_start": "what state, pool and warmup are together when a replica comes",
    "router/test_slow": "clients that send or read too slowly, or too much at once",
}
# Where programs start: nobody imports these.
ENTRY_POINTS = {"modelfleet", "modelfleet.cli.main", "modelfleet.cli.route", "modelfleet.api.crdgen"}
# Spelled apart, so that this file passes its own test.
LEFTOVERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|(?i:\bfor no" r"w\b)|/wor" r"k/")
LEFTOVER_FOLDERS = ("operator", "e2e", "bench", "tests", "charts", "examples", "docs", "crds")
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".sh", ".mk", ".go", ".tpl", ".json", ""}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def modules() -> list[Path]:
    return [path for path in python("operator") if path.read_text(encoding="utf-8").strip()]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT / "operator").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_source_folder_is_no_package() -> None:
    # It would shadow the operator module of the standard library.
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("folder", SIZED)
def test_files_fit_in_a_head(folder: str) -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python(folder)}

    assert {path: count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


@pytest.mark.parametrize("folder", SIZED)
def test_functions_fit_on_a_screen(folder: str) -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}": length
        for path in python(folder)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }

    assert long == {}


def has_logic(path: Path) -> bool:
    """Whether a function does something; those of a Protocol do not."""
    functions = (
        node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(
        not isinstance(node.body[-1], ast.Expr) or len(node.body) > 1 + bool(ast.get_docstring(node))
        for node in functions
    )


def has_test(path: Path) -> bool:
    """Whether it has a test file of its own, or one of the same folder that imports it."""
    folder = ROOT / "tests" / path.relative_to(SOURCE).parent
    if (folder / f"test_{path.name}").exists():
        return True
    return any(dotted(path) in imported(test) for test in folder.glob("test_*.py"))


def test_every_module_has_its_test() -> None:
    untested = [
        name
        for path in modules()
        if (name := str(path.relative_to(SOURCE).with_suffix(""))) not in UNMIRRORED
        and has_logic(path)
        and not has_test(path)
    ]

    assert untested == []


def test_every_test_has_its_module() -> None:
    homeless = [
        name
        for path in sorted((ROOT / "tests").glob("*/**/test_*.py"))
        if (name := str(path.relative_to(ROOT / "tests").with_suffix(""))) not in CROSS_CUTTING
        and (ROOT / "tests" / "e2e") not in path.parents
        and not (
            SOURCE
            / path.relative_to(ROOT / "tests").parent
            / path.name.removeprefix("test_").replace("_live.", ".")
        ).exists()
    ]

    assert homeless == []


def test_exceptions_are_still_needed() -> None:
    gone = [name for name in UNMIRRORED if not (SOURCE / f"{name}.py").exists()]
    gone += [name for name in CROSS_CUTTING if not (ROOT / "tests" / f"{name}.py").exists()]

    assert gone == []


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_file_is_needed_by_another() -> None:
    # What several share has a module named for it: nobody should have to open a test for anything but its story.
    borrowed = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python("tests")
        for name in imported(path)
        if name.startswith("tests.") and name.rsplit(".", 1)[-1].startswith("test_")
    ]

    assert borrowed == []


def test_every_module_is_imported_by_another() -> None:
    # The benchmark runs parts of the simulator that no command needs.
    used = {name for path in modules() for name in imported(path) if dotted(path) != name}
    used |= {name for path in python("bench") for name in imported(path)}
    used |= {
        name.rsplit(".", ends)[0] for name in used for ends in (1, 2, 3)
    }  # and the packages they live in

    assert {dotted(path) for path in modules()} - used - ENTRY_POINTS == set()


def test_nothing_is_left_over() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in LEFTOVER_FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LEFTOVERS.search(line)
    ]

    assert found == []


def public(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The module and its public classes; of the contracts between processes, the functions too."""
    yield dotted(path), tree(path)
    kinds = (ast.ClassDef, ast.FunctionDef) if path.parent.name == "api" else (ast.ClassDef,)
    for node in tree(path).body:
        if isinstance(node, kinds) and node.name[0] != "_":
            yield f"{dotted(path)}.{node.name}", node


def test_what_is_public_says_what_it_is() -> None:
    silent = [
        name
        for path in modules()
        for name, node in public(path)
        if not ast.get_docstring(node)  # type: ignore[arg-type]  # public() yields only nodes with docstrings
    ]

    assert silent == []


def spec_fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, str]]:
    """(path, attribute name) of each field below a spec."""
    for name, field in model.model_fields.items():
        yield f"{path}.{field.alias or name}", name
        for inner in inner_models(field.annotation):
            yield from spec_fields(inner, f"{path}.{field.alias or name}")


def inner_models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from inner_models(argument)


@pytest.mark.parametrize("spec", [ModelTierSpec, CascadeSpec, FleetSettings])
def test_every_field_of_a_spec_is_read_by_somebody(spec: type[BaseModel]) -> None:
    # A field that is accepted and ignored is a defect.
    read = {
        node.attr
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }

    assert [path for path, name in spec_fields(spec, spec.__name__) if name not in read] == []
