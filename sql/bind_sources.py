"""Binding of a declaration: its columns, event time, topic and format as a source."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.sql import expressions as e
from headrace.sql import options as o
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.bind_formats import check_source_key, check_value, time_format, value_format
from headrace.sql.errors import did_you_mean, sql_error
from headrace.sql.record_parts import TIMESTAMP_COLUMN, Part, RecordPart
from headrace.sql.relations import Relation


def bind_source(statement: s.CreateRelation, options: o.Options, start: str, relations: Iterable[Relation]) -> p.Source:
    """The source that a statement declares; `start` is where reading begins, as an option says it."""
    event_time = _event_time(statement, options)
    columns = tuple(
        p.SourceColumn(
            column.name.text,
            e.Column(
                column.name.text,
                column.type,
                not (column.not_null or column.name.text == event_time.column or _is_always(column)),
            ),
            column.key,
            column.unsigned,
            column.name.quoted,
            _part_of(column, event_time),
        )
        for column in statement.columns
    )
    topic = options.text("topic") or statement.name.text.lower()
    o.check_topic_name(topic, options.entry("topic").value_span if "topic" in options else statement.name.span)
    for relation in relations:
        if isinstance(relation.node, p.Scan) and relation.node.source.topic == topic:
            raise sql_error(f"topic `{topic}` is declared already, as `{relation.name}`", statement.name.span)
        if relation.sink is not None and relation.sink.topic == topic:
            raise sql_error(
                f"topic `{topic}` is written by a query of this app",
                statement.name.span,
                f"read `{relation.name}` instead",
            )
    key_format = options.word("key_format") or "kafka"
    check_source_key(key_format, [column.column for column in columns if column.key], options)
    format_ = value_format(options)
    computed = event_time.column if event_time.processing else None
    in_value = [c.column for c in columns if c.part is None and c.name != computed]
    if format_.is_single:
        in_value = [c for c in in_value if not any(known.key and known.column is c for known in columns)]
    check_value(format_, in_value, statement.name.span)
    return p.Source(
        statement.name.text,
        topic,
        columns,
        event_time,
        options.number("partitions"),
        options.number("replicas"),
        key_format,
        o.start_from(start, None),
        format_,
    )


def _event_time(statement: s.CreateRelation, options: o.Options) -> p.EventTime:
    """The declared event time: WATERMARK FOR or the option `timestamp`, else the Kafka timestamp."""
    text = time_format(options)
    name = statement.watermark.column if statement.watermark is not None else None
    by_wall_time = [column for column in statement.columns if column.processing_time]
    if by_wall_time:
        if name is not None or "timestamp" in options or len(by_wall_time) > 1:
            raise sql_error("a source has one time: an event time, or PROCTIME()", by_wall_time[-1].span)
        return p.EventTime(by_wall_time[0].name.text, 0, None, processing=True)
    if "timestamp" in options:
        option = options.entry("timestamp")
        if name is not None:
            raise sql_error("the event time is declared twice: by WATERMARK FOR and by `timestamp`", option.span)
        name = s.Identifier(option.value, False, option.value_span)
    delay_ms = statement.watermark.delay_ms if statement.watermark is not None else 0
    if name is None:
        return p.EventTime(None, delay_ms, None)
    column = next((c for c in statement.columns if name.matches(c.name.text)), None)
    if column is None and any(name.matches(known) for known in (TIMESTAMP_COLUMN, "ROWTIME")):
        return p.EventTime(None, delay_ms, None)
    if column is None:
        hint = did_you_mean(name.text, (c.name.text for c in statement.columns))
        raise sql_error(f"column `{name.text}` does not exist", name.span, hint)
    if column.part is not None:
        if column.part.part is not Part.TIMESTAMP:
            raise sql_error(f"the event time `{column.name.text}` is not in the value of a record", name.span)
        return p.EventTime(None, delay_ms, None)
    if column.type.kind is t.Kind.VARCHAR:
        if text is None:
            raise sql_error(
                f"the event time `{column.name.text}` is VARCHAR",
                name.span,
                "declare it TIMESTAMP, or give timestamp_format",
            )
        return p.EventTime(column.name.text, delay_ms, text)
    if column.type.kind not in (t.Kind.TIMESTAMP, t.Kind.TIMESTAMP_LTZ, t.Kind.BIGINT):
        raise sql_error(f"the event time `{column.name.text}` is {column.type}", name.span, "declare it TIMESTAMP")
    return p.EventTime(column.name.text, delay_ms, None)


def _is_always(column: s.ColumnDefinition) -> bool:
    """Whether every record has what the column holds."""
    return column.part is not None and column.part.part is not Part.HEADER


def _part_of(column: s.ColumnDefinition, event_time: p.EventTime) -> RecordPart | None:
    if column.part == RecordPart(Part.TIMESTAMP) and event_time.column is None:
        return RecordPart(Part.TIME)  # the Kafka timestamp is the event time
    return column.part
