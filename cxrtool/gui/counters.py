"""What Prometheus asks: how many images and requests, in which state, and how long they took."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Counters:
    """Counts since the server started; nothing of an image or its sender is in them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._images = Counter(
            "cxrtool_images", "Images answered, by state.", ["state"], registry=self._registry
        )
        self._requests = Counter(
            "cxrtool_requests", "Requests, by HTTP status.", ["status"], registry=self._registry
        )
        self._seconds = Histogram(
            "cxrtool_scoring_seconds",
            "Time to score a decoded image.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._line = Gauge(
            "cxrtool_line", "Requests with images, at work or waiting.", registry=self._registry
        )

    def answered(self, state: str) -> None:
        """Count an image."""
        self._images.labels(state).inc()

    def requested(self, status: int) -> None:
        """Count a request."""
        self._requests.labels(str(status)).inc()

    def scored(self, seconds: float) -> None:
        """Count the time of scoring an image."""
        self._seconds.observe(seconds)

    def in_line(self, requests: int) -> None:
        """Note how many requests with images are there."""
        self._line.set(requests)

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()
