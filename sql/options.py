"""Options of WITH (…) and SET: their names in every dialect, and the values they take."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headrace.sql import syntax
from headrace.sql.errors import RecordError, Span, did_you_mean, sql_error
from headrace.sql.formats import DELIMITERS, NAMES
from headrace.sql.interval_literals import amount_ms
from headrace.sql.runtime.values import parse_iso_timestamp

_SYNONYMS = {
    "kafka_topic": "topic",
    "value_format": "format",
    "value.format": "format",
    "csv.field-delimiter": "value_delimiter",
    "value.csv.field-delimiter": "value_delimiter",
    "key.format": "key_format",
    "replication": "replicas",
    "scan.startup.mode": "start_from",
    "properties.bootstrap.servers": "bootstrap_servers",
    "json.timestamp-format.standard": "timestamp_format",
}
_START = {"earliest": "earliest", "latest": "latest", "earliest-offset": "earliest", "latest-offset": "latest"}

SOURCE_OPTIONS = (
    *("topic", "format", "value_delimiter", "wrap_single_value", "key_format", "partitions", "replicas", "timestamp"),
    *("timestamp_format", "start_from", "connector"),
)
SINK_OPTIONS = (
    *("topic", "format", "value_delimiter", "wrap_single_value", "key_format", "partitions", "replicas", "retention"),
    "key_in_value",
    *("timestamp_format", "changes", "ttl", "on_error", "late", "connector"),
)
SETTINGS = ("emit", "changes", "ttl", "on_error", "late", "start_from", "parallelism", "idle_timeout")
_VALUES = {
    "format": tuple(NAMES),
    "key_format": ("kafka", "json", "binary", "none"),
    "wrap_single_value": ("true", "false"),
    "connector": ("kafka",),
    "changes": ("every", "latest"),
    "on_error": ("dead_letter", "skip", "fail"),
    "late": ("dead_letter", "drop"),
    "emit": ("changes", "final"),
    "key_in_value": ("true", "false"),
}
_WITH_SCHEMAS = ("avro", "protobuf", "protobuf_nosr", "json_sr", "avro-confluent", "protobuf-confluent")
_COUNTS = ("partitions", "replicas", "parallelism")


class Options:
    """The entries of one WITH clause, each known and valid."""

    def __init__(self, entries: Iterable[syntax.Option], known: tuple[str, ...], what: str) -> None:
        """Raises SqlError for an unknown, repeated or wrong entry."""
        self._entries: dict[str, syntax.Option] = {}
        for entry in entries:
            key = canonical(entry, known, what)
            if key in self._entries:
                raise sql_error(f"option `{entry.key}` is given twice", entry.span)
            check_value(key, entry)
            self._entries[key] = entry

    def text(self, key: str) -> str | None:
        entry = self._entries.get(key)
        return entry.value if entry else None

    def word(self, key: str) -> str | None:
        """A value that is matched without regard to case."""
        value = self.text(key)
        return value.lower() if value is not None else None

    def number(self, key: str) -> int | None:
        value = self.text(key)
        return int(value) if value is not None else None

    def entry(self, key: str) -> syntax.Option:
        return self._entries[key]

    def __contains__(self, key: str) -> bool:
        return key in self._entries


def canonical(entry: syntax.Option, known: tuple[str, ...], what: str) -> str:
    """The name of an option in Headrace's own spelling."""
    key = entry.key.lower()
    key = _SYNONYMS.get(key, key)
    if key == "bootstrap_servers":
        raise sql_error(
            "the address of Kafka does not belong to the query", entry.span, "give --bootstrap-servers when running it"
        )
    if key not in known:
        hint = did_you_mean(key, known) or ""
        every = f"known: {', '.join(dict.fromkeys(known))}"
        hint = every if hint == every else f"{hint} {every}".strip()
        raise sql_error(f"unknown {what} `{entry.key}`", entry.span, hint)
    return key


def check_value(key: str, entry: syntax.Option) -> None:
    """Raises SqlError where an option does not take the value."""
    value = entry.value.lower()
    if key in ("format", "key_format") and value in _WITH_SCHEMAS:
        hint = f"its schemas are in a registry; known: {', '.join(_VALUES[key])}"
        raise sql_error(f"format `{entry.value}` is not supported", entry.value_span, hint)
    if key == "value_delimiter" and value not in DELIMITERS and (len(value) != 1 or value in '"\r\n'):
        raise sql_error("`value_delimiter` is one character, SPACE or TAB", entry.value_span)
    if key in _VALUES and value not in _VALUES[key]:
        allowed = ", ".join(_VALUES[key])
        raise sql_error(f"`{entry.value}` is not a value of `{entry.key}`", entry.value_span, f"known: {allowed}")
    if key in _COUNTS and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 100_000):
        raise sql_error(f"`{entry.key}` takes a number from 1", entry.value_span)
    if key == "start_from":
        start_from(entry.value, entry.value_span)
    if key in ("idle_timeout", "ttl") and duration_ms(entry.value, entry.value_span) <= 0:
        raise sql_error(f"`{entry.key}` is longer than nothing", entry.value_span)
    if key in ("topic", "timestamp") and not entry.value:
        raise sql_error(f"`{entry.key}` is empty", entry.value_span)


def start_from(value: str, span: Span | None) -> str:
    """Where reading starts: `earliest`, `latest`, or a time as epoch milliseconds in decimal."""
    if value.lower() in _START:
        return _START[value.lower()]
    if value.isascii() and value.isdigit():
        return value
    try:
        return str(parse_iso_timestamp(value))
    except RecordError:
        hint = "known: earliest, latest, an ISO-8601 time or epoch milliseconds"
        raise sql_error(f"`{value}` is not a value of `start_from`", span, hint) from None


def check_topic_name(topic: str, span: Span) -> None:
    """Kafka's rule for the names of topics."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic) or topic in (".", ".."):
        raise sql_error(f"`{topic}` cannot be a topic", span, "its name has letters, digits, `.`, `_` and `-`")


def duration_ms(value: str, span: Span) -> int:
    """Milliseconds of a duration such as `200ms`, `5s` or `10 minutes`."""
    amount = value.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    if not amount:
        raise sql_error(f"`{value}` is not a duration", span, "for example 30s or 10m")
    return amount_ms(amount, value[len(amount) :] or "MS", span)
