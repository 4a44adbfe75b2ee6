"""p2m package: a folder that answers as p2m does, where there is no p2m."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest

from agent.cli import main
from p2m.evaluate.predict import Predictor
from tests.conftest import ROOT
from tests.delivered_run import delivered_run
from tests.tiny_model import FILLER, rows

pytest.importorskip("onnx", reason="needs onnx: pip install -e '.[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install -e '.[onnx]'")

TEXTS = [row.input for row in rows(20, 4)] + ["", " ".join(FILLER * 3)]
# Nothing of this project, and nothing that it needs but what the requirements name.
ALONE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("p2m", "agent", "tools", "prompts", "torch", "transformers"):
            raise ImportError(f"{name} is not there")
sys.meta_path.insert(0, Refuse())
script = sys.argv[1]
sys.argv = sys.argv[1:]
sys.path[0] = ""
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered_run(tmp_path_factory.mktemp("run") / "run", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def package(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "things"
    assert main(["package", str(run), "--out", str(target)]) == 0
    return target


def answers(said: str) -> list[dict]:
    return [json.loads(line) for line in said.splitlines()]


def check(run: Path, found: list[dict], texts: list[str]) -> None:
    for ours, theirs in zip(found, Predictor(run / "model").predict(texts), strict=True):
        assert (ours["label"], ours["truncated"]) == (theirs.label, theirs.truncated)
        assert ours["probabilities"] == pytest.approx(theirs.probs, abs=1e-4)


def test_it_answers_as_p2m_does_without_p2m(run: Path, package: Path, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, str(package / "predict.py")]
    lines = subprocess.run(
        [*command, "--file", "-"], input="\n".join(TEXTS), capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert lines.returncode == 0, lines.stderr
    check(run, answers(lines.stdout), TEXTS)
    one = subprocess.run([*command, "the old saw"], capture_output=True, text=True, cwd=tmp_path, env=env)
    check(run, answers(one.stdout), ["the old saw"])
    nothing = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert nothing.returncode == 2 and "TEXT" in nothing.stderr and "Traceback" not in nothing.stderr


@pytest.mark.parametrize("what", ["predict", "export"])
def test_onnxruntime_reports_to_nobody(what: str, run: Path, package: Path, tmp_path: Path) -> None:
    """Before it sends anything it keeps a device ID in the user's cache, but not where it runs in CI."""
    unlike_here = {"PYTHONPATH", "ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME"}
    env = {k: v for k, v in os.environ.items() if k not in unlike_here} | {"HOME": str(tmp_path)}
    command = [sys.executable, str(package / "predict.py"), "the old saw"]
    if what == "export":
        shutil.copytree(run, tmp_path / "run")
        command = [sys.executable, "-m", "agent.cli", "export", str(tmp_path / "run"), "--onnx", "--int8"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("deviceid*"))


def test_what_lies_in_it(package: Path) -> None:
    assert {p.name for p in package.iterdir()} == {"model", "predict.py", "requirements.txt", "Dockerfile", "README.md"}
    assert "p2m" not in {line.partition("==")[0] for line in (package / "requirements.txt").read_text().splitlines()}
    pins = dict(line.split("==") for line in (package / "requirements.txt").read_text().splitlines())
    for name in ("numpy", "onnxruntime", "tokenizers", "huggingface-hub"):
        assert pins[name] == metadata.version(name)
    docker = (package / "Dockerfile").read_text()
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim" in docker and "USER nobody" in docker
    copied = [word for line in docker.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((package / name).exists() for name in copied)


def test_it_replaces_a_package_and_nothing_else(
    run: Path, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", str(run), "--out", str(package), "--int8"]) == 0
    assert json.loads((package / "model" / "p2m.json").read_text())["format"] == "onnx-int8"
    (tmp_path / "thesis.txt").write_text("mine")
    capsys.readouterr()
    assert main(["package", str(run), "--out", str(tmp_path)]) == 2
    assert "no package" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_it_runs_in_a_fresh_environment(run: Path, tmp_path: Path) -> None:
    assert main(["package", str(run), "--out", str(tmp_path / "things")]) == 0
    venv.create(tmp_path / "venv", with_pip=True)
    python, env = str(tmp_path / "venv" / "bin" / "python"), {"PATH": os.environ["PATH"]}
    requirements = str(tmp_path / "things" / "requirements.txt")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "-r", requirements]
    subprocess.run(install, check=True, timeout=600, env={**os.environ, "PYTHONPATH": ""})
    command = [python, "predict.py", "--file", "-"]
    done = subprocess.run(
        command, input="\n".join(TEXTS), capture_output=True, text=True, cwd=tmp_path / "things", env=env
    )
    assert done.returncode == 0, done.stderr
    check(run, answers(done.stdout), TEXTS)
