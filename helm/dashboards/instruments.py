"""The names that the instruments of a worker have in Prometheus."""

from __future__ import annotations

from headrace.app.instruments import INSTRUMENTS, Instrument, Kind


def series(instrument: Instrument) -> tuple[str, ...]:
    """Names of its series, as the Prometheus exporter of OpenTelemetry writes them."""
    base = instrument.name.replace(".", "_")
    if instrument.unit == "s":
        base += "_seconds"
    match instrument.kind:
        case Kind.COUNTER:
            return (f"{base}_total",)
        case Kind.GAUGE:
            return (base,)
        case Kind.HISTOGRAM:
            return (f"{base}_bucket", f"{base}_count", f"{base}_sum")


SERIES = {name: instrument for instrument in INSTRUMENTS for name in series(instrument)}
