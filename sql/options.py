"""Options of WITH (…) and SET: their names in every dialect, and the values they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from headrace.sql import syntax
from headrace.sql.errors import RecordError, Span, did_you_mean, sql_error
from headrace.sql.formats import DELIMITERS, NAMES
from headrace.sql.interval_literals import amount_ms
from headrace.sql.runtime.values import parse_iso_timestamp

_START = {"earliest": "earliest", "latest": "latest", "earliest-offset": "earliest", "latest-offset": "latest"}
_ADDRESS = ("bootstrap_servers", "properties.bootstrap.servers")
_BOOLEANS = ("true", "false")
_WITH_SCHEMAS = ("avro", "protobuf", "protobuf_nosr", "json_sr", "avro-confluent", "protobuf-confluent")


class Place(Enum):
    """Where an option may stand."""

    SOURCE = "source"
    """WITH of a relation that is read."""
    SINK = "sink"
    """WITH of a relation that is written."""
    SET = "SET"


@dataclass(frozen=True, slots=True)
class Option:
    """An option as users know it; messages and docs name its options in the order of `OPTIONS`."""

    name: str
    places: tuple[Place, ...]
    doc: str
    """What it does, in Markdown, for the docs of SQL."""
    also: tuple[str, ...] = ()
    """Its names in other dialects."""
    values: tuple[str, ...] = ()
    """The words that it takes, in lower case; none where it takes more than words."""
    takes: str = "text"
    """What else it takes, where it takes more than words."""
    check: Callable[[syntax.Option], None] | None = None
    """Raises SqlError for a value that it does not take."""


def _check_not_empty(entry: syntax.Option) -> None:
    if not entry.value:
        raise sql_error(f"`{entry.key}` is empty", entry.value_span)


def _check_topic(entry: syntax.Option) -> None:
    _check_not_empty(entry)
    if not entry.quoted and entry.value.lower() in ("null", *_BOOLEANS):
        raise sql_error(f"`{entry.value}` is not a value of `{entry.key}`", entry.value_span, "a name stands in quotes")


def _check_delimiter(entry: syntax.Option) -> None:
    if entry.value.lower() not in DELIMITERS and (len(entry.value) != 1 or entry.value in '"\r\n'):
        raise sql_error("`value_delimiter` is one character, SPACE or TAB", entry.value_span)


def _check_count(entry: syntax.Option) -> None:
    if not (entry.value.isascii() and entry.value.isdigit() and 1 <= int(entry.value) <= 100_000):
        raise sql_error(f"`{entry.key}` takes a number from 1", entry.value_span)


def _check_start(entry: syntax.Option) -> None:
    start_from(entry.value, entry.value_span)


def _check_duration(entry: syntax.Option) -> None:
    if duration_ms(entry.value, entry.value_span) <= 0:
        raise sql_error(f"`{entry.key}` is longer than nothing", entry.value_span)


_SOURCE, _SINK, _SET = (Place.SOURCE,), (Place.SINK,), (Place.SET,)

OPTIONS = (
    Option(
        "topic",
        _SOURCE + _SINK,
        "the Kafka topic; default: the lower-case name of the stream or table",
        also=("kafka_topic",),
        check=_check_topic,
    ),
    Option(
        "format",
        _SOURCE + _SINK,
        "[form of the values](#formats)",
        also=("value_format", "value.format"),
        values=tuple(NAMES),
    ),
    Option(
        "value_delimiter",
        _SOURCE + _SINK,
        "what stands between two fields of CSV: one character, SPACE or TAB; default: a comma",
        also=("csv.field-delimiter", "value.csv.field-delimiter"),
        check=_check_delimiter,
    ),
    Option(
        "wrap_single_value",
        _SOURCE + _SINK,
        "`false`: the JSON value is the one column itself, no object",
        values=_BOOLEANS,
    ),
    Option(
        "key_format",
        _SOURCE + _SINK,
        "[form of the record keys](#formats); default: `kafka`",
        also=("key.format",),
        values=("kafka", "json", "binary", "none"),
    ),
    Option(
        "partitions",
        _SOURCE + _SINK,
        "of a source: the topic is created with so many where it does not exist; of a sink: created with so many "
        "(default: the parallelism)",
        takes="a number from 1",
        check=_check_count,
    ),
    Option(
        "replicas",
        _SOURCE + _SINK,
        "replicas of a topic that Headrace creates; default: 3, or the number of brokers if that is less",
        also=("replication",),
        takes="a number from 1",
        check=_check_count,
    ),
    Option(
        "timestamp",
        _SOURCE,
        "the column that is the event time, with a delay of 0; the same as `WATERMARK FOR column`",
        check=_check_not_empty,
    ),
    Option(
        "retention",
        _SINK,
        "how long a sink topic that Headrace creates keeps records (`7d`, `12 hours`); default: no limit",
        takes="a duration",
        check=_check_duration,
    ),
    Option("key_in_value", _SINK, "`false` leaves the key columns out of the value", values=_BOOLEANS),
    Option(
        "timestamp_format",
        _SOURCE + _SINK,
        "of a source: pattern of a VARCHAR event time; of a sink: form in which every TIMESTAMP is written (default: "
        "epoch milliseconds)",
        also=("json.timestamp-format.standard",),
    ),
    Option(
        "emit",
        _SET,
        "what a windowed query without EMIT does; default: `final`",
        values=("changes", "final"),
    ),
    Option(
        "changes",
        _SINK + _SET,
        "with EMIT CHANGES: a record for every change, or the newest row of each changed group per commit",
        values=("every", "latest"),
    ),
    Option(
        "ttl",
        _SINK + _SET,
        "of a grouped query without a window: event time after which a group without rows ends (`7d`)",
        takes="a duration",
        check=_check_duration,
    ),
    Option(
        "on_error",
        _SINK + _SET,
        "what a bad record does: dead letter, nothing (counted), or the end of the worker",
        values=("dead_letter", "skip", "fail"),
    ),
    Option(
        "late",
        _SINK + _SET,
        "whether a late record goes to the dead-letter topic; it is counted in both cases",
        values=("dead_letter", "drop"),
    ),
    Option(
        "start_from",
        _SOURCE + _SET,
        "where a partition that the app never read is begun",
        also=("scan.startup.mode",),
        takes="`earliest`, `latest`, a time",
        check=_check_start,
    ),
    Option("connector", _SOURCE + _SINK, "accepted for Flink's texts", values=("kafka",)),
    Option(
        "parallelism",
        _SET,
        "number of partitions after a re-key; default: the largest source partition count at the first run",
        takes="a number from 1",
        check=_check_count,
    ),
    Option(
        "idle_timeout",
        _SET,
        "silence after which a source partition that was read to its end holds no window open (`30s`)",
        takes="a duration",
        check=_check_duration,
    ),
)
SOURCE_OPTIONS, SINK_OPTIONS, SETTINGS = (
    tuple(option.name for option in OPTIONS if place in option.places) for place in Place
)
_BY_NAME = {option.name: option for option in OPTIONS}
_ALSO = {also: option.name for option in OPTIONS for also in option.also}


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
    key = _ALSO.get(key, key)
    if key in _ADDRESS:
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
    option, value = _BY_NAME[key], entry.value.lower()
    if option.values and value not in option.values:
        known = f"known: {', '.join(option.values)}"
        if key in ("format", "key_format") and value in _WITH_SCHEMAS:
            hint = f"its schemas are in a registry; {known}"
            raise sql_error(f"format `{entry.value}` is not supported", entry.value_span, hint)
        raise sql_error(f"`{entry.value}` is not a value of `{entry.key}`", entry.value_span, known)
    if option.check is not None:
        option.check(entry)


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
