"""p2m serve, as its clients meet it: a real process, real requests, real limits."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from p2m.evaluate.predict import Predictor
from p2m.serve.batcher import Batcher, Busy
from tests.as_user import MODULE, environment, p2m
from tests.delivered_run import MODEL, TASK, delivered_run
from tests.tiny_model import LABELS, rows

for _package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(_package, reason=f"needs {_package}: pip install -e '.[serve]'")


def started(run: Path, env: dict[str, str], *options: str) -> tuple[subprocess.Popen[str], str]:
    """A server and its address, once it takes requests."""
    command = [*MODULE, "serve", str(run), "--port", "0", *options]
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line = child.stdout.readline()
    if " on http" not in line:
        child.kill()
        pytest.fail(f"it did not start: {line}{child.communicate()[1]}")
    return child, line.split(" on ")[1].split()[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered_run(tmp_path_factory.mktemp("run") / "run", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    child, address = started(run, environment(tmp_path_factory.mktemp("user")))
    yield address
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 0, "Ctrl-C is how a server is meant to end"


@pytest.fixture
def client(server: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server, trust_env=False, timeout=30) as client:
        yield client


def test_it_answers_as_predict_does(run: Path, client: httpx2.Client) -> None:
    texts = [row.input for row in rows(12, 9)]
    expected = Predictor(run / "model").predict(texts)
    one = client.post("/predict", json={"text": texts[0]}).json()
    assert one["label"] == expected[0].label and one["truncated"] is False
    assert one["probabilities"] == pytest.approx(expected[0].probs, abs=1e-5)
    many = client.post("/batch", json={"texts": texts}).json()["predictions"]
    assert [p["label"] for p in many] == [p.label for p in expected]


def test_health_names_the_model(client: httpx2.Client) -> None:
    said = client.get("/health").json()
    assert said["ready"] is True and said["model"] == MODEL and said["format"] == "hf"
    assert (said["name"], said["instruction"], said["kind"]) == (TASK.name, TASK.instruction, "classify")


def test_the_description_is_openapi(client: httpx2.Client) -> None:
    said = client.get("/openapi.json").json()
    assert said["openapi"].startswith("3.") and {"/predict", "/batch", "/health", "/metrics"} <= set(said["paths"])
    answer = said["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert "probabilities" in said["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["properties"]
    assert client.get("/docs").status_code == 404, "it would load scripts of another host"


BAD: dict[str, tuple[int, dict[str, Any], str]] = {
    "no JSON": (422, {"content": b"{", "headers": {"content-type": "application/json"}}, "no JSON"),
    "no text": (422, {"json": {}}, "text"),
    "a number": (422, {"json": {"text": 1}}, "text"),
    "something else": (422, {"json": {"text": "a", "txet": "b"}}, "txet"),
    "half a character": (
        422,
        {"content": b'{"text": "\\ud800"}', "headers": {"content-type": "application/json"}},
        "text",
    ),
    "too long": (422, {"json": {"text": "a" * 20_001}}, "20000"),
    "too large": (413, {"content": b"x" * 4_000_001}, "4,000,000"),
    "too large, size not said": (413, {"content": (b"x" * 100_000 for _ in range(41))}, "4,000,000"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_one_clear_line(case: str, client: httpx2.Client) -> None:
    status, request, named = BAD[case]
    said = client.post("/predict", **request)
    assert said.status_code == status, said.text
    assert list(said.json()) == ["error"] and named in said.json()["error"] and "\n" not in said.json()["error"]
    assert client.post("/predict", json={"text": "apple"}).status_code == 200, "the next request is answered"


def test_a_batch_has_limits_too(client: httpx2.Client) -> None:
    assert client.post("/batch", json={"texts": []}).status_code == 422
    assert "256" in client.post("/batch", json={"texts": ["a"] * 257}).json()["error"]
    assert client.get("/predict").status_code == 405 and client.get("/nothing").json() == {"error": "Not Found"}


def test_metrics_count_requests_and_answers(client: httpx2.Client) -> None:
    def series() -> dict[str, float]:
        lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    before = series()
    label = client.post("/predict", json={"text": "apple"}).json()["label"]
    client.get("/nobody/knows/this/path")
    after = series()
    for name in (
        'p2m_requests_total{path="/predict",status="200"}',
        'p2m_requests_total{path="other",status="404"}',
        'p2m_request_seconds_count{path="/predict"}',
        f'p2m_predictions_total{{answer="{label}"}}',
        "p2m_batch_texts_count",
    ):
        assert after[name] == before.get(name, 0) + 1, name
    assert not any("nobody" in name for name in after)


def test_many_clients_at_once_each_get_their_own_answer(run: Path, client: httpx2.Client, server: str) -> None:
    texts = [row.input for row in rows(60, 11)]
    expected = [p.label for p in Predictor(run / "model").predict(texts)]
    with ThreadPoolExecutor(12) as pool:
        found = pool.map(lambda text: httpx2.post(f"{server}/predict", json={"text": text}, trust_env=False), texts)
        assert [r.json()["label"] for r in found] == expected
    assert len(set(expected)) == len(LABELS)


def test_no_page_of_another_site_gets_in(client: httpx2.Client) -> None:
    page = client.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"] and "http" not in page.text
    asked = client.post("/predict", json={"text": "a"}, headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in asked.headers
    plain = client.post("/predict", content=b'{"text": "a"}', headers={"content-type": "text/plain"})
    assert plain.status_code == 422, "what a form of another site can send without being asked"


def test_requests_that_come_while_the_model_works_are_answered_together() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def slow(texts: Sequence[str]) -> list[dict[str, Any]]:
        if len(sizes) == 1:
            gate.wait(5)
        return [{"text": text} for text in texts]

    async def main() -> None:
        batcher = Batcher(slow, rows=4, queued=6, seen=sizes.append)
        first = asyncio.create_task(batcher.ask(["0"]))
        await asyncio.sleep(0.1)
        more = [asyncio.create_task(batcher.ask([str(i), f"{i}b"])) for i in (1, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await batcher.ask(["too many"])
        more[0].cancel()  # a client that goes away takes nothing from the others
        gate.set()
        assert await first == [{"text": "0"}]
        assert await more[1] == [{"text": "2"}, {"text": "2b"}] and await more[2] == [{"text": "3"}, {"text": "3b"}]

    asyncio.run(main())
    assert sizes == [1, 4]


def test_a_model_that_fails_fails_its_requests_alone() -> None:
    async def main() -> None:
        def broken(texts: Sequence[str]) -> list[dict[str, Any]]:
            if "bad" in texts:
                raise ValueError("no")
            return [{} for _ in texts]

        batcher = Batcher(broken, rows=4, queued=10, seen=lambda n: None)
        with pytest.raises(ValueError, match="no"):
            await batcher.ask(["bad"])
        assert await batcher.ask(["good"]) == [{}]

    asyncio.run(main())


def test_a_port_in_use_is_said(server: str, run: Path, tmp_path: Path) -> None:
    said = p2m("serve", str(run), "--port", server.rpartition(":")[2], cwd=tmp_path, env=environment(tmp_path))
    assert said.returncode == 2 and "--port" in said.stderr and said.stderr.count("\n") == 1


def test_a_request_in_work_is_answered_before_it_ends(run: Path, tmp_path: Path) -> None:
    child, address = started(run, environment(tmp_path))
    body = json.dumps({"texts": ["apple"] * 3}).encode()
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        lines = ("POST /batch HTTP/1.1", f"Host: {host}", "Content-Type: application/json")
        head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body[5:])
        said = b""
        while block := connection.recv(65536):
            said += block
    assert said.startswith(b"HTTP/1.1 200") and said.count(b'"label"') == 3
    error = child.communicate(timeout=20)[1]
    assert child.returncode == 0 and "Traceback" not in error


def test_without_the_extra_it_says_what_to_install(run: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'fastapi' else real(name, *a)\n"
    )
    env = environment(tmp_path)
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    said = p2m("serve", str(run), cwd=tmp_path, env=env)
    assert said.returncode == 2 and "pip install 'p2m[serve]'" in said.stderr and "fastapi" in said.stderr
    assert json.dumps(said.stdout) == '""'
