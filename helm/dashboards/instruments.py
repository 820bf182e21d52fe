"""The instruments that dashboards and alerts read: names, units and attributes of the OpenTelemetry metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One OpenTelemetry instrument; every one has the attribute `job`, the app's name, too."""

    name: str
    kind: Kind
    unit: str
    """In UCUM, as OpenTelemetry writes it: `s`, `By`, and what is counted in braces."""
    attributes: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """Names of its series, as the Prometheus exporter of OpenTelemetry writes them."""
        base = self.name.replace(".", "_")
        if self.unit == "s":
            base += "_seconds"
        match self.kind:
            case Kind.COUNTER:
                return (f"{base}_total",)
            case Kind.GAUGE:
                return (base,)
            case Kind.HISTOGRAM:
                return (f"{base}_bucket", f"{base}_count", f"{base}_sum")


INSTRUMENTS = (
    Instrument("headrace.records.consumed", Kind.COUNTER, "{record}", ("query", "stage", "topic", "partition")),
    Instrument("headrace.records.emitted", Kind.COUNTER, "{record}", ("query", "stage", "partition")),
    Instrument("headrace.records.late", Kind.COUNTER, "{record}", ("query", "stage", "partition")),
    Instrument("headrace.records.dead_lettered", Kind.COUNTER, "{record}", ("query", "stage", "partition")),
    Instrument("headrace.batch.records", Kind.HISTOGRAM, "{record}", ("stage",)),
    Instrument("headrace.batch.duration", Kind.HISTOGRAM, "s", ("stage",)),
    Instrument("headrace.commit.duration", Kind.HISTOGRAM, "s"),
    Instrument("headrace.consumer.lag", Kind.GAUGE, "{record}", ("stage", "topic", "partition")),
    Instrument("headrace.watermark.lag", Kind.GAUGE, "s", ("stage", "topic", "partition")),
    Instrument("headrace.end_to_end.latency", Kind.HISTOGRAM, "s", ("query",)),
    Instrument("headrace.state.keys", Kind.GAUGE, "{key}", ("stage", "partition")),
    Instrument("headrace.state.bytes", Kind.GAUGE, "By", ("stage", "partition")),
    Instrument("headrace.restore.records", Kind.COUNTER, "{record}", ("stage", "partition")),
    Instrument("headrace.rebalances", Kind.COUNTER, "{rebalance}"),
    Instrument("headrace.transactions.aborted", Kind.COUNTER, "{transaction}"),
)
