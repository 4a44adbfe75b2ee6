"""The built wheel runs somewhere else, with everything that is no Python in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PACKAGES = ("agent", "tools", "p2m", "prompts")
PROBE = """
import json
import agent, p2m, prompts, tools
from p2m.paths import prompts_dir
from p2m.prompts import render
print(json.dumps({
    "from": [m.__path__[0] for m in (agent, p2m, prompts, tools)],
    "prompts": sorted(p.name for p in prompts_dir().glob("*.j2")),
    "rendered": render("label_system", instruction="Say whether it is good.", labels=["good", "bad"]).text,
}))
"""


def done(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    said = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, f"{command}: {said.stdout[-2000:]}{said.stderr[-2000:]}"
    return said.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is built from, so that nothing is left in the checkout and nothing there is reused."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    # Without a setuptools here, pip fetches the one that pyproject.toml names.
    isolation = ["--no-build-isolation"] if _has_setuptools() else []
    done(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "-w", out, source, cwd=out)
    return next(out.glob("p2m-*.whl"))


def _has_setuptools() -> bool:
    from importlib import metadata

    try:
        return int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def bin_dir(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; what the wheel needs is lent by this one, and nothing is downloaded."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", home, cwd=home.parent)
    pip = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    done(*pip, "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=home.parent)
    # The folder of this environment's packages comes last, and its own .pth files (an editable p2m) are not read.
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


@pytest.fixture
def env() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}


def test_every_file_of_the_packages_is_in_the_wheel(source: Path, wheel: Path) -> None:
    ours = {f.relative_to(source).as_posix() for name in PACKAGES for f in (source / name).rglob("*") if f.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert ours - packed == set()
    assert {f for f in packed if not f.startswith(PACKAGES)} == set(), "tests, data and caches stay out"


def test_the_installed_program_runs_elsewhere(bin_dir: Path, tmp_path: Path, env: dict[str, str]) -> None:
    assert "p2m run TASK" in done(bin_dir / "p2m", "--help", cwd=tmp_path, env=env)
    assert "p2m run" in done(bin_dir / "p2m", "runs", cwd=tmp_path, env=env)


def test_prompts_are_installed_and_render(bin_dir: Path, source: Path, tmp_path: Path, env: dict[str, str]) -> None:
    told = json.loads(done(bin_dir / "python", "-c", PROBE, cwd=tmp_path, env=env))
    assert all(Path(place).is_relative_to(bin_dir.parent) for place in told["from"]), told["from"]
    assert told["prompts"] == sorted(p.name for p in (source / "prompts").glob("*.j2"))
    assert "good, bad" in told["rendered"] and "Say whether it is good." in told["rendered"]
