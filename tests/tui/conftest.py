"""Async tests of the app run on asyncio, through the plugin of anyio that is installed with the OpenAI client."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
