"""What a listener counts, for Prometheus; nothing of a patient is in it."""

from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class ListenCounts:
    """Counts since the listener started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._instances = self._counter("instances", "Instances that came, by what became of them.")
        self._associations = self._counter("associations", "Associations, by how they went.")
        self._studies = self._counter("studies", "Studies, by what became of them.")
        self._sendings = self._counter("sendings", "Attempts to send a study, by outcome.")
        self._scoring = Histogram(
            "cxrtool_study_seconds",
            "Time to score a study and make its results.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._scored = Gauge(
            "cxrtool_last_study_timestamp_seconds",
            "When a study was last scored, in seconds since 1970.",
            registry=self._registry,
        )
        self._worker = Gauge(
            "cxrtool_scoring_process_up",
            "Whether the scoring process is ready.",
            registry=self._registry,
        )

    def _counter(self, name: str, about: str) -> Counter:
        return Counter(f"cxrtool_{name}", about, ["state"], registry=self._registry)

    def instance(self, state: str) -> None:
        """Count one that came."""
        self._instances.labels(state).inc()

    def association(self, state: str) -> None:
        """Count an association."""
        self._associations.labels(state).inc()

    def study(self, state: str) -> None:
        """Count a study that was answered or put aside."""
        self._studies.labels(state).inc()

    def sending(self, state: str) -> None:
        """Count an attempt to send."""
        self._sendings.labels(state).inc()

    def scored(self, seconds: float) -> None:
        """Note that a study was scored, and how long that took."""
        self._scoring.observe(seconds)
        self._scored.set_to_current_time()

    def worker(self, *, ready: bool) -> None:
        """Note whether the scoring process is ready."""
        self._worker.set(ready)

    def queues(self, lengths: Callable[[], Mapping[str, int]]) -> None:
        """Tell how many studies are in each part of the spool, whenever that is asked."""
        gauge = Gauge(
            "cxrtool_spool_studies", "Studies in the spool.", ["state"], registry=self._registry
        )
        for state in lengths():
            gauge.labels(state).set_function(partial(_length, lengths, state))

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry).decode()


def _length(lengths: Callable[[], Mapping[str, int]], state: str) -> float:
    return lengths()[state]
