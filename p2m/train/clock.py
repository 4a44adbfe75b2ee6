"""Counts the steps of a training and their time, and tells of them now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2m.train.recipe import Epoch, Progress

PROGRESS_SECONDS = 0.5
OnProgress = Callable[[Progress], None]


@dataclass
class Clock:
    """Counts training steps and their time, validation left out, and tells of them now and then."""

    steps: int
    epochs: int
    tell: OnProgress
    done: int = 0
    examples: int = 0
    seconds: float = 0.0
    told: float = 0.0

    @property
    def examples_per_second(self) -> float:
        return self.examples / max(self.seconds, 1e-9)

    def step(self, epoch: int, examples: int, seconds: float, loss: float, history: list[Epoch]) -> None:
        self.done, self.examples, self.seconds = self.done + 1, self.examples + examples, self.seconds + seconds
        now = time.monotonic()
        if now - self.told < PROGRESS_SECONDS and self.done < self.steps:
            return
        self.told = now
        eta = self.seconds / self.done * (self.steps - self.done)
        last = history[-1].validation if history else None
        self.tell(Progress(self.done, self.steps, epoch, self.epochs, loss, last, self.examples_per_second, eta))
