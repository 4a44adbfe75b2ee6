"""The page of p2m serve in a real browser: what is typed is answered, and nothing that is shown is markup."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2m.evaluate.predict import Predictor
from tests.as_user import environment
from tests.delivered_run import TASK, delivered_run
from tests.test_serve import started
from tests.webdriver import Browser

EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)


def test_a_person_asks_and_is_answered(browser: Browser, tmp_path: Path) -> None:
    task = TASK.model_copy(update={"name": f"things {EVIL}"})
    run = delivered_run(tmp_path / "run", tmp_path / "base", task)
    expected = Predictor(run / "model").predict(["the old saw"])[0]
    child, address = started(run, environment(tmp_path))
    try:
        browser.open(f"{address}/")
        shown = "return document.getElementById('{}').textContent"
        until(lambda: browser.run(shown.format("instruction")) == task.instruction)
        assert browser.run(shown.format("name")) == task.name and browser.run("return document.title") == task.name
        assert browser.run("return document.querySelectorAll('main img, main script, #instruction b').length") == 0
        browser.type("#text", "the old saw")
        browser.click("#send")
        until(lambda: browser.run("return !document.getElementById('answer').hidden"))
        assert browser.run(shown.format("best")) == expected.label
        rows = browser.run(
            "return [...document.querySelectorAll('#rows tr')].map(r => [...r.cells].map(c => c.textContent))"
        )
        best = sorted(expected.probs.items(), key=lambda item: -item[1])
        assert [(label, share) for label, _, share in rows] == [(label, f"{100 * p:.1f}%") for label, p in best]
        browser.run("document.getElementById('text').value = 'a'.repeat(20001)")
        browser.click("#send")
        until(lambda: "20000" in browser.run(shown.format("problem")))
        assert browser.run("return document.getElementById('answer').hidden")
        # The refusal is in the console by the browser's own habit; a violation of the page's policy would be too.
        assert not [line for line in browser.console() if "422" not in line]
        browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=3\">')")
        until(lambda: any("Content Security Policy" in line for line in browser.console()))
        assert browser.run("return document.title") == task.name
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
