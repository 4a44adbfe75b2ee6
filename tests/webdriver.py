"""A real browser, driven over the WebDriver protocol of chromedriver (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

# Headless, no services of its own: a closed network is no reason to wait.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window. Skips the test where there is no chromium with its driver."""

    def __init__(self, profile: Path) -> None:
        driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
        if not driver or not chromium:
            pytest.skip("needs a browser: apt-get install chromium chromium-driver")
        self._driver = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self._driver.stdout is not None
        port = next(m[1] for line in self._driver.stdout if (m := re.search(r"successfully on port (\d+)", line)))
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._ask("POST", f"{self._session}/url", {"url": url})

    def type(self, css: str, text: str) -> None:
        self._ask("POST", f"{self._session}/element/{self._find(css)}/value", {"text": text})

    def click(self, css: str) -> None:
        self._ask("POST", f"{self._session}/element/{self._find(css)}/click", {})

    def run(self, script: str) -> Any:
        """What a script (the body of a function) returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """What the page and the browser complained of since the last call."""
        return [entry["message"] for entry in self._ask("POST", f"{self._session}/se/log", {"type": "browser"})]

    def close(self) -> None:
        try:
            self._ask("DELETE", self._session)
        finally:
            self._http.close()
            self._driver.terminate()
            self._driver.wait(10)

    def _find(self, css: str) -> str:
        found = self._ask("POST", f"{self._session}/element", {"using": "css selector", "value": css})
        return str(found[_ELEMENT])

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value
