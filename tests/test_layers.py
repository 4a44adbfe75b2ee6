"""The layers hold: who may import whom, where the heavy libraries are, and who can open the sealed test."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = ("agent", "tools", "p2m")
MODELS = ("p2m/train", "p2m/evaluate", "p2m/export")
ALLOWED = {
    "torch": MODELS,
    "transformers": MODELS,
    "openai": ("p2m/llm",),
    "textual": ("agent/tui",),
}
SEALED = "open_test"


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the project, by its path from the root."""
    files = (f for layer in LAYERS for f in (ROOT / layer).rglob("*.py"))
    return {f.relative_to(ROOT).as_posix(): ast.parse(f.read_text(encoding="utf-8")) for f in files}


def imported(node: ast.AST) -> list[str]:
    """The top-level packages that ``node`` imports, where it is an import."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return (
        [node.module.partition(".")[0]] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
    )


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: no function body, nothing that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from (n for branch in child.orelse for n in (branch, *at_import(branch)))
            continue
        yield child
        yield from at_import(child)


def names(tree: ast.AST) -> set[str]:
    """Every name that a module uses: variables, attributes, imported names, strings."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_import_contracts_are_kept() -> None:
    pytest.importorskip("importlinter", reason="needs import-linter: pip install -e '.[dev]'")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-1000:]
    assert " 0 broken" in said.stdout


@pytest.mark.parametrize("library", ALLOWED)
def test_a_heavy_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {path for path, tree in trees().items() for node in ast.walk(tree) if library in imported(node)}
    strays = {path for path in users if not path.startswith(tuple(f"{folder}/" for folder in ALLOWED[library]))}
    assert not strays
    assert users or library == "textual", f"nothing imports {library}: this test looks in the wrong place"


@pytest.mark.parametrize("library", ["torch", "transformers", "openai"])
def test_a_heavy_library_is_imported_only_inside_functions(library: str) -> None:
    eager = {path for path, tree in trees().items() for node in at_import(tree) if library in imported(node)}
    assert not eager


def test_each_layer_imports_only_those_below() -> None:
    def belongs_to(path: str) -> int:
        return LAYERS.index(Path(path).parts[0])

    back = {
        (path, name)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        for name in imported(node)
        if name in LAYERS and LAYERS.index(name) < belongs_to(path)
    }
    assert not back


def test_only_the_delivery_opens_the_sealed_test() -> None:
    keeper = next(path for path, tree in trees().items() if SEALED in {n.name for n in tree.body if hasattr(n, "name")})
    users = {path for path, tree in trees().items() if SEALED in names(tree)} - {keeper}
    assert keeper.startswith("p2m/")
    assert users == {"agent/steps/deliver.py"}, "no tool may open it: the planner can call tools"
