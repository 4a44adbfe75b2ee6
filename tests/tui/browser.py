"""Headless Chromium through the protocol of chromedriver (W3C WebDriver): these few calls need no package."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

# xterm.js draws on a canvas, which has no text: what the terminal was sent is read instead.
LISTEN = """
const Plain = window.WebSocket;
window.drawn = '';
window.WebSocket = class extends Plain {
  constructor(...a) {
    super(...a);
    this.addEventListener('message', async m => {
      window.drawn += typeof m.data === 'string' ? m.data : new TextDecoder().decode(
        m.data instanceof Blob ? await m.data.arrayBuffer() : m.data);
    });
  }
};
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Browser:
    def __init__(self, driver: str, chromium: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait()
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,800"]
        chrome = {"binary": chromium, "args": arguments}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome}}})
        self._session = f"/session/{made['sessionId']}"
        cdp = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": LISTEN}}
        self._call("POST", f"{self._session}/goog/cdp/execute", cdp)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._process.terminate()
            self._process.wait(timeout=10)

    def open(self, address: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": address})

    @property
    def address(self) -> str:
        return str(self._call("GET", f"{self._session}/url"))

    def type(self, keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def script(self, code: str) -> Any:
        return self._call("POST", f"{self._session}/execute/sync", {"script": code, "args": []})

    def until(self, words: str, seconds: float) -> str:
        """What was drawn so far, once it matches ``words``."""
        deadline = time.monotonic() + seconds
        while True:
            text = ESCAPES.sub("", str(self.script("return window.drawn || ''")))
            if re.search(words, text):
                return text
            assert time.monotonic() < deadline, f"waited for {words!r}, saw:\n{text}"
            time.sleep(0.3)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def _wait(self) -> None:
        for _ in range(100):
            try:
                self._call("GET", "/status")
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("chromedriver does not answer")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]
