"""Counters of the service in memory that its processes share, as Prometheus reads them."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

STATUSES = ("200", "404", "405", "413", "422", "499", "500", "other")
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the seconds that an answer takes."""


class Metrics:
    """Counters with a block for each process, which alone writes to it.

    Args:
        models: the names of the models.
        workers: the number of processes.
    """

    def __init__(self, models: Sequence[str], workers: int) -> None:
        self._models = {name: number for number, name in enumerate(models)}
        self._statuses = {name: number for number, name in enumerate(STATUSES)}
        self._seconds = len(STATUSES) + len(models)  # where the histogram begins
        self._size = self._seconds + len(BUCKETS) + 2  # one for all above, one for the sum
        self._counters = memoryview(mmap.mmap(-1, 8 * self._size * workers)).cast("d")
        self._own = 0  # where this process's counters begin

    def of_worker(self, worker: int) -> None:
        """Count in the block of a process from now on."""
        self._own = worker * self._size

    def count_request(self, status: int) -> None:
        """Count the answer to a request by its HTTP status."""
        name = str(status)
        place = self._statuses[name if name in self._statuses else "other"]
        self._counters[self._own + place] += 1

    def count_texts(self, model: str, texts: int, seconds: float) -> None:
        """Count texts that were answered, and the time that it took."""
        counters, own = self._counters, self._own
        counters[own + len(STATUSES) + self._models[model]] += texts
        start = own + self._seconds
        counters[start + bisect_left(BUCKETS, seconds)] += 1
        counters[start + len(BUCKETS) + 1] += seconds

    def text(self, stale: dict[str, bool]) -> bytes:
        """Return all counters in Prometheus' text format.

        Args:
            stale: whether the files of a model could not be loaded, by its name.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(self._families(stale)))
        return generate_latest(registry)

    def _families(self, stale: dict[str, bool]) -> Iterator[Any]:
        blocks = range(0, len(self._counters), self._size)
        total = [
            sum(self._counters[start + place] for start in blocks) for place in range(self._size)
        ]
        requests = CounterMetricFamily(
            "fasttext_app_requests", "Requests by the status of their answer.", labels=["status"]
        )
        for status, place in self._statuses.items():
            requests.add_metric([status], total[place])
        texts = CounterMetricFamily(
            "fasttext_app_texts", "Texts that were answered.", labels=["model"]
        )
        for model, place in self._models.items():
            texts.add_metric([model], total[len(STATUSES) + place])
        counts, seconds = total[self._seconds : -1], total[-1]
        sums = [sum(counts[: place + 1]) for place in range(len(counts))]
        bounds = [*map(str, BUCKETS), "+Inf"]
        latency = HistogramMetricFamily(
            "fasttext_app_predict_seconds", "Seconds from a complete request to its answer."
        )
        latency.add_metric([], list(zip(bounds, sums, strict=True)), seconds)
        outdated = GaugeMetricFamily(
            "fasttext_app_model_stale",
            "1: the files of the model were replaced by others that cannot be loaded.",
            labels=["model"],
        )
        for model, is_stale in stale.items():
            outdated.add_metric([model], float(is_stale))
        yield from (requests, texts, latency, outdated)


class _Collected:
    """What a registry collects."""

    def __init__(self, families: Iterator[Any]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        return self._families
