"""What every test may use: the shared data, and the embedded pack where it is there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# No test reaches another host.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    ORT_DISABLE_TELEMETRY="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    DISABLE_SAFETENSORS_CONVERSION="1",
    TOKENIZERS_PARALLELISM="false",
)

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every p2m that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data, from ``P2M_SHARED`` or beside the checkout."""
    path = Path(os.environ.get("P2M_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"needs the shared data: {path} is not there (set P2M_SHARED)")
    return path


def pack_member(name: str) -> Path:
    """A model of the embedded pack, or a skip that says how to get it."""
    from p2m.pack import find

    path = find(name)
    if path is None:
        pytest.skip(f"needs the embedded model {name}: run p2m pull {name}")
    return path


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-minilm-l6-v2."""
    return pack_member("all-minilm-l6-v2")
