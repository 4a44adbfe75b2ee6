"""Templates are strict, and what is put into them is data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from p2m import paths, prompts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "prompts_dir", lambda: tmp_path)
    prompts._environment.cache_clear()
    yield tmp_path  # type: ignore[misc]
    prompts._environment.cache_clear()


def test_a_value_is_never_a_template(folder: Path) -> None:
    (folder / "greet.j2").write_text("Label <{{ text }}> & go.\n")
    nasty = "{{ 7 * 7 }} {% for x in y %} {# gone #} <b>&amp;"
    assert prompts.render("greet", text=nasty).text == f"Label <{nasty}> & go."


def test_a_missing_value_is_an_error(folder: Path) -> None:
    (folder / "greet.j2").write_text("{{ text }}{% if more %}more{% endif %}")
    with pytest.raises(jinja2.UndefinedError):
        prompts.render("greet", text="x")


def test_the_hash_is_the_templates(folder: Path) -> None:
    source = "{{ text }}\n"
    (folder / "greet.j2").write_text(source)
    one, other = prompts.render("greet", text="a"), prompts.render("greet", text="b")
    assert one.hash == other.hash == hashlib.sha256(source.encode()).hexdigest()[:12]
    (folder / "greet.j2").write_text(source + "!")
    changed = prompts.render("greet", text="a")
    assert changed.hash != one.hash
    assert changed.text != one.text


def test_every_template_of_the_project_can_be_read() -> None:
    prompts._environment.cache_clear()
    names = [p.stem for p in paths.prompts_dir().glob("*.j2")]
    assert names
    for name in names:
        prompts._environment().get_template(f"{name}.j2")


@pytest.mark.parametrize("name", ["planner_system", "planner_system_text"])
def test_a_planner_is_told_of_a_target_only_where_there_is_one(name: str) -> None:
    prompts._environment.cache_clear()

    def said(target: float | None) -> str:
        task = SimpleNamespace(instruction="Sort.", labels=["a", "b"], examples=[], target=target)
        return prompts.render(name, task=task, native=False, target="WHAT IS WANTED").text

    assert "the target is 0." in said(0.5) and "below the target" in said(0.5)
    assert said(None).lower().count("target") == 1 and "Target: WHAT IS WANTED" in said(None)
    assert "best validation score" in said(None)
