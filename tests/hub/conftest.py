"""The loopback hub, and clients that can reach nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import LoopbackHub
from tests.hub.server import TOKEN

NETWORK = Path(__file__).parent / "network"


@pytest.fixture(scope="session", autouse=True)
def _guard() -> None:
    """An audit hook cannot be removed: from the first of these tests on, this process reaches 127.0.0.1 alone."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("loopback_only", NETWORK / "sitecustomize.py")
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture(autouse=True)
def network_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What this test and its children tried to reach beside 127.0.0.1: nothing, or the test fails."""
    log = tmp_path / "network.log"
    monkeypatch.setenv("P2M_TEST_NETWORK_LOG", str(log))
    yield log
    assert not log.exists(), f"tried to reach: {log.read_text()}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """An empty hub, with this process's clients pointed at it and a cache of the test's own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session, disable_progress_bars

    disable_progress_bars()
    root, home = tmp_path / "hub", tmp_path / "hf"
    root.mkdir()
    with LoopbackHub(root) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        yield server
        close_session()


def child_environment(hub: LoopbackHub, folder: Path, *, token: bool = False) -> dict[str, str]:
    """The variables of a child process whose Hub is ``hub``: set before anything is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "P2M_", "OPENAI_"))}
    root = Path(__file__).resolve().parents[2]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join((str(NETWORK), str(root))),
        "P2M_TEST_NETWORK_LOG": os.environ["P2M_TEST_NETWORK_LOG"],
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": hub.url,
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **({"HF_TOKEN": TOKEN} if token else {}),
    }


def share(hub: LoopbackHub, shared: Path, *names: str) -> None:
    """Serve datasets of the shared folder, copied, so that a push could not write to it."""
    for name in names:
        shutil.copytree(shared / "hub" / "datasets" / name, hub.tree.root / "datasets" / name)
