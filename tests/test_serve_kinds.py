"""p2m serve of every kind: what it answers over HTTP, what it says of itself, and the page in a real browser."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from agent.cli import main
from p2m.evaluate.predict import load_predictor
from tests.as_user import environment
from tests.delivered_kinds import KINDS, delivered_kind, texts_of
from tests.test_serve import started
from tests.test_serve_page import until
from tests.webdriver import Browser

for _package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(_package, reason=f"needs {_package}: pip install -e '.[serve]'")

# The formats that each is served in here: between them all formats are.
FORMATS = {"multi_label": "onnx", "extract": "onnx", "read": "onnx-int8", "score": "hf", "generate": "gguf"}
FIELDS = {
    "multi_label": {"labels", "probabilities", "truncated"},
    "extract": {"spans"},
    "read": {"answer"},
    "score": {"score", "truncated"},
    "generate": {"answer"},
}


@contextmanager
def served(run: Path, home: Path, *options: str) -> Iterator[str]:
    child, address = started(run, environment(home), *options)
    try:
        yield address
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_served_and_shown(kind: str, tmp_path: Path) -> None:
    run = delivered_kind(tmp_path / "run", tmp_path / "base", kind)
    wanted = FORMATS[kind]
    if wanted != "hf":
        pytest.importorskip({"gguf": "gguf"}.get(wanted, "onnxruntime"), reason="needs what exports it")
        assert main(["export", str(run), f"--{wanted.partition('-')[0]}", *(["--int8"] if "-" in wanted else [])]) == 0
    texts = texts_of(kind)
    expected = [p.output for p in load_predictor(run / "model").predict(texts)]
    browser = None
    with served(run, tmp_path, "--model", wanted) as address:
        with httpx2.Client(base_url=address, trust_env=False, timeout=60) as client:
            one = client.post("/predict", json={"text": texts[0]}).json()
            many = client.post("/batch", json={"texts": texts}).json()["predictions"]
            said = client.get("/openapi.json").json()
            health = client.get("/health").json()
            assert set(one) == FIELDS[kind] and len(many) == len(texts) and many[0].keys() == one.keys()
            assert (health["kind"], health["format"]) == (kind, wanted)
            schema = said["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert set(said["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]) == FIELDS[kind]
            assert 'path="/batch",status="200"} 1.0' in client.get("/metrics").text
            if kind == "extract":
                assert [json.dumps(answer["spans"]) for answer in many] == expected
            if kind == "read":
                question, _, context = texts[0].partition("\n")
                parts = {"question": question.removeprefix("question: "), "context": context.removeprefix("context: ")}
                assert client.post("/predict", json=parts).json() == one
                refused = client.post("/predict", json={**parts, "text": texts[0]})
                assert refused.status_code == 422 and "give a context" in refused.json()["error"]
        try:
            browser = Browser(tmp_path / "profile")
            look(browser, address, kind, texts, many)
        finally:
            if browser is not None:
                browser.close()


def look(browser: Browser, address: str, kind: str, texts: list[str], answers: list[dict]) -> None:
    """The page shows for a text what the service answers."""
    at = next((i for i, a in enumerate(answers) if a.get("spans") or a.get("answer") or a.get("labels")), 0)
    text, answer = texts[at], answers[at]
    browser.open(f"{address}/")
    until(lambda: browser.run("return document.getElementById('model').textContent") != "")
    assert browser.run("return document.getElementById('asking').hidden") == (kind != "read")
    if kind == "read":
        question, _, text = text.partition("\n")
        text = text.removeprefix("context: ")
        browser.type("#question", question.removeprefix("question: "))
    if kind == "extract":
        text = text.replace(answer["spans"][0]["text"], f"\U0001f34e {answer['spans'][0]['text']}", 1)
        answer = httpx2.post(f"{address}/predict", json={"text": text}, trust_env=False).json()
    browser.run(f"document.getElementById('text').value = {json.dumps(text)}")
    browser.click("#send")
    until(lambda: browser.run("return !document.getElementById('answer').hidden"))
    shown = browser.run("return document.getElementById('best').textContent")
    marks = browser.run("return [...document.querySelectorAll('mark')].map(m => m.firstChild.textContent)")
    if kind == "extract":
        assert marks == [span["text"] for span in answer["spans"]] and marks
        assert shown == f"{len(marks)} found"
        names = browser.run("return [...document.querySelectorAll('mark small')].map(m => m.textContent)")
        assert names == [span["label"] for span in answer["spans"]]
    elif kind == "read":
        assert shown == (answer["answer"] or "No answer") and marks == ([answer["answer"]] if answer["answer"] else [])
    elif kind == "multi_label":
        assert shown == (", ".join(answer["labels"]) or "None of the labels")
        assert browser.run("return document.querySelectorAll('#rows tr').length") == len(answer["probabilities"])
    elif kind == "score":
        assert float(shown) == pytest.approx(answer["score"], abs=1e-3)
    else:
        assert shown == answer["answer"]
    assert not browser.console()
