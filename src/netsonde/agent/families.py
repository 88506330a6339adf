"""Families of metrics, written one by one in Prometheus' text format.

The one idea: all that may fail is done when a family is called, so one that fails costs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Values = Iterable[tuple[tuple[str, ...], float]]
"""A value for each combination of labels."""
Family = Callable[[], bytes]
"""Writes a family; raises whatever its values raise."""


def gauge(name: str, text: str, values: Callable[[], Values], *labels: str) -> Family:
    """Give a family of values that go up and down; `values` is asked when it is written."""
    return partial(_written, GaugeMetricFamily, name, text, values, labels)


def counter(name: str, text: str, values: Callable[[], Values], *labels: str) -> Family:
    """Give a family of values that only grow; its name gets `_total`."""
    return partial(_written, CounterMetricFamily, name, text, values, labels)


def _written(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    values: Callable[[], Values],
    labels: tuple[str, ...],
) -> bytes:
    family = kind(f"netsonde_{name}", text, labels=labels)
    for names, value in values():
        family.add_metric(names, value)
    registry = CollectorRegistry()
    registry.register(_Made(family))
    return generate_latest(registry)


class _Made(Collector):
    """A family that was made before."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
