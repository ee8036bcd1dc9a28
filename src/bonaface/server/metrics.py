"""Prometheus metrics: counts and times, and nothing about any single request."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from bonaface.inference.verdict import Verdict
from bonaface.types import Label, Status

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One server's own registry."""

    def __init__(self, bundle: str, version: str, *, max_concurrent: int) -> None:
        self.registry = registry = CollectorRegistry()
        Info("bonaface", "What is served.", registry=registry).info({"bundle": bundle, "version": version})
        self.requests = Counter("bonaface_requests", "Responses by status code.", ["status"], registry=registry)
        self.refusals = Counter("bonaface_refusals", "Requests without a verdict.", ["code"], registry=registry)
        self._verdicts = Counter("bonaface_verdicts", "Verdicts by outcome.", ["outcome"], registry=registry)
        self._scores = Histogram(
            "bonaface_score", "Scores.", registry=registry, buckets=[tenth / 20 for tenth in range(1, 21)]
        )
        self._stages = Histogram(
            "bonaface_stage_seconds", "Time by stage.", ["stage"], registry=registry, buckets=_SECONDS
        )
        self.inside = Gauge("bonaface_inside", "Requests that wait or are worked on.", registry=registry)
        Gauge("bonaface_places", "Maximum of bonaface_inside.", registry=registry).set(max_concurrent)
        self.unlogged = Counter(
            "bonaface_unlogged_decisions", "Verdicts that the decision log did not take.", registry=registry
        )
        for outcome in (*Label, *Status):
            if outcome is not Status.OK:
                self._verdicts.labels(outcome.value)

    def count_verdict(self, verdict: Verdict) -> None:
        """Count a verdict and the time that it took."""
        self._verdicts.labels(verdict.outcome.value).inc()
        if verdict.score is not None:
            self._scores.observe(verdict.score)
        for stage, spent in verdict.seconds.items():
            self.stage(stage, spent)

    def stage(self, stage: str, seconds: float) -> None:
        """Observe one stage."""
        self._stages.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
