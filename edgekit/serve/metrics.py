# SPDX-License-Identifier: Apache-2.0
"""Numbers of the running server for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

from edgekit.serve.models import Answered, ServedModel, ServedModels

_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """Counts answers and refusals, and measures times, for each model."""

    def __init__(self, models: ServedModels) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "edgekit_requests", "Requests for an answer", ["model", "status"], registry=registry
        )
        self._inference = Histogram(
            "edgekit_inference_seconds",
            "Time of an inference",
            ["model"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._waited = Histogram(
            "edgekit_wait_seconds",
            "Time that a request waited for those before it",
            ["model"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        waiting = Gauge(
            "edgekit_requests_in_progress",
            "Requests that wait or run",
            ["model"],
            registry=registry,
        )
        facts = Info("edgekit_model", "The models that are served", ["model"], registry=registry)
        for each in models:
            waiting.labels(each.name).set_function(lambda each=each: each.waiting)  # type: ignore[misc] # bound now
            environment = each.runner.environment
            facts.labels(each.name).info(
                {
                    "task": each.task,
                    "sha256": each.prepared.sha256,
                    "device": environment.device,
                    "runtime": environment.runtime,
                }
            )

    def answered(self, model: ServedModel, found: Answered) -> None:
        """Count an answer."""
        self._requests.labels(model.name, "200").inc()
        self._inference.labels(model.name).observe(found.answer.latency_ms / 1e3)
        self._waited.labels(model.name).observe(found.waited_s)

    def refused(self, model: str, status: int) -> None:
        """Count a request without an answer."""
        self._requests.labels(model, str(status)).inc()

    def text(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        return generate_latest(self._registry)
