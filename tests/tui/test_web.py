"""``p2m --web``: who has the token gets the app, on this machine; nobody else gets anything."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("textual_serve", reason="needs textual-serve: pip install -e '.[dev]'")


@dataclass
class Site:
    port: int
    address: str

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.body = response.read().decode(errors="replace")  # type: ignore[attr-defined]
        connection.close()
        return response


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("web")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "--web", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "P2M_RUNS": str(folder / "runs")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"http://\S+token=\S+", line):
                _wait_for(port)
                yield Site(port, found[0])
                break
        else:
            pytest.fail("the server said no address")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, "Ctrl-C is the way to end it"


def _wait_for(port: int) -> None:
    """The address is told just before the server listens."""
    for _ in range(100):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


@pytest.mark.parametrize("path", ["/", "/ws", "/static/js/textual.js", "/?token=wrong", "/download/x"])
def test_without_the_token_nothing_is_answered(site: Site, path: str) -> None:
    response = site.get(path)
    assert response.status == 403 and "token" in response.body  # type: ignore[attr-defined]


def test_the_token_becomes_a_cookie_and_leaves_the_address(site: Site) -> None:
    first = site.get(f"/?token={site.token}")
    assert first.status == 302 and first.headers["Location"] == "/"
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    page = site.get("/", Cookie=cookie.partition(";")[0])
    assert page.status == 200 and "textual" in page.body  # type: ignore[attr-defined]
    assert "default-src 'self'" in page.headers["Content-Security-Policy"], "no font of another host is fetched"
    assert site.get("/static/js/textual.js", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_another_site_cannot_come_in_even_with_the_cookie(site: Site, headers: dict[str, str]) -> None:
    response = site.get("/ws", Cookie=f"p2m-token={site.token}", **headers)
    assert response.status == 403


def test_it_listens_on_loopback_only(site: Site) -> None:
    own = socket.gethostbyname(socket.gethostname())
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError):
        socket.create_connection((own, site.port), timeout=2)


@pytest.mark.slow
def test_the_app_is_drawn_in_a_browser(site: Site, tmp_path: Path) -> None:
    """Headless Chromium opens the address, and the canvas of the terminal has the app's words on it."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver")
    from tests.tui.browser import Browser

    with Browser(driver, chromium) as browser:
        browser.open(site.address)
        browser.until("Say what your model should do", 40)
        assert "token" not in browser.address
        browser.script("document.querySelector('.xterm-helper-textarea').focus()")
        browser.type("Sort our mail")
        browser.type("\ue007")  # Enter
        browser.until("Which answers are there to choose from", 30)
        browser.screenshot(tmp_path / "web.png")
        assert (tmp_path / "web.png").stat().st_size > 5000
