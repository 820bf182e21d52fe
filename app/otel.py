"""What OpenTelemetry's own environment variables ask for, without loading its SDK."""

from __future__ import annotations

import os
from collections.abc import Mapping

from headrace.app.errors import UsageError

PROTOCOL = "http/protobuf"
SIGNALS = ("METRICS", "TRACES")


def is_sent(signal: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether METRICS or TRACES are to be sent to a collector."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    is_wanted = "otlp" in environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return is_wanted and any(environ.get(name) for name in endpoints)


def check(environ: Mapping[str, str] = os.environ) -> None:
    """UsageError for what is asked for and cannot be done."""
    for signal in SIGNALS:
        if not is_sent(signal, environ):
            continue
        for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"):
            if environ.get(name, PROTOCOL) != PROTOCOL:
                raise UsageError(
                    f"{name}={environ[name]}: only {PROTOCOL} is spoken", "collectors hear it on port 4318"
                )
    name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    if is_sent("METRICS", environ) and environ.get(name, "cumulative").lower() != "cumulative":
        # Counters begin anew when a partition moves: as a difference that would be less than nothing.
        raise UsageError(f"{name}={environ[name]}: counters are sent as cumulative ones only")
