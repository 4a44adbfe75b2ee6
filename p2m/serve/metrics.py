"""What ``/metrics`` tells, in Prometheus' text format."""

from __future__ import annotations


class Metrics:
    """Counts of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        registry = self._registry = CollectorRegistry()
        self._requests = Counter("p2m_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "p2m_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ["path"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._answers = Counter("p2m_predictions", "Texts answered, by answer.", ["answer"], registry=registry)
        self._batch = Histogram(
            "p2m_batch_texts",
            "Texts that the model answered at once.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """A request on ``path``, which is one of the server's own: what else is asked for is no name of a series."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def answer(self, answer: str) -> None:
        self._answers.labels(answer).inc()

    def batch(self, texts: int) -> None:
        self._batch.observe(texts)

    def text(self) -> bytes:
        """The whole page."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
