"""INSERT INTO: constants as the records of a source, the rows of a query as their target declares them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.codegen.constants import RowEncoder, evaluate
from headrace.sql.errors import RecordError, Span, did_you_mean, sql_error
from headrace.sql.operations import cast, coerce
from headrace.sql.scopes import Scope
from headrace.sql.vocabulary import Late, OnError, RelationKind


class RecordTime(e.Column):
    """What stands for the time of the record among the columns that are written; equal to no column."""


RECORD_TIME = RecordTime("ROWTIME", t.TIMESTAMP, False)
_TIME_NAMES = ("rowtime", "_timestamp")
_KAFKAS_OWN = ("rowpartition", "rowoffset", "_partition", "_offset", "_topic", "_headers", "_key")


def bind_insert(statement: s.InsertValues, source: p.Source) -> p.Insert:
    """The records of the statement. SqlError at the value that is none, or does not fit its column."""
    columns = [column.column for column in source.stored_columns if column.part is None]
    fields = written_columns(statement.columns, columns, statement.target)
    node = p.Project(p.Scan(source), tuple((column.name, column) for column in columns))
    sink = p.Sink(source.name, RelationKind.STREAM, source.topic, None, None, None, None, "kafka", True, None)
    encoder = RowEncoder(p.Query(source.name, node, sink, OnError.DEAD_LETTER, Late.DEAD_LETTER))
    records: list[p.InsertedRecord] = []
    for row in statement.rows:
        given = dict(zip(fields, constants(row, fields), strict=True))
        for column in columns:
            if not column.nullable and given.get(column) is None:
                raise sql_error(f"column `{column.name}` is NOT NULL", row.span)
        value = encoder.encode([given.get(column) for column in columns])
        records.append(p.InsertedRecord(value, given.get(RECORD_TIME, 0), row.span))
    return p.Insert(source, tuple(records), statement.span)


def written_columns(
    names: tuple[s.Identifier, ...] | None, columns: Sequence[e.Column], target: s.Identifier
) -> tuple[e.Column, ...]:
    """The columns that the values of a row are for; all of them where none are named."""
    return tuple(columns) if names is None else _named(names, columns, target, _record_time)


def _named(
    names: tuple[s.Identifier, ...],
    columns: Sequence[e.Column],
    target: s.Identifier,
    otherwise: Callable[[s.Identifier], e.Column | None],
) -> tuple[e.Column, ...]:
    """The columns of these names, each once; `otherwise` may know what is none of the target's columns."""
    found: list[e.Column] = []
    for name in names:
        column = next((column for column in columns if name.matches(column.name)), None) or otherwise(name)
        if column is None:
            hint = did_you_mean(name.text, (column.name for column in columns))
            raise sql_error(f"column `{name.text}` does not exist in `{target.text}`", name.span, hint)
        if column in found:
            raise sql_error(f"column `{name.text}` is named twice", name.span)
        found.append(column)
    return tuple(found)


def _record_time(name: s.Identifier) -> e.Column | None:
    if name.text.lower() in _TIME_NAMES:
        return RECORD_TIME
    if name.text.lower() in _KAFKAS_OWN:
        raise sql_error(
            f"`{name.text}` cannot be written: Kafka gives it, or the KEY columns do",
            name.span,
            "ROWTIME is the one that can: the time of the record",
        )
    return None


def constants(row: s.ValuesRow, fields: Sequence[e.Column]) -> list[Any]:
    """The values of a row in memory, as the types of their columns."""
    if len(row.values) != len(fields):
        raise sql_error(f"the row has {len(row.values)} values for {len(fields)} columns", row.span)
    return [_constant(value, field) for value, field in zip(row.values, fields, strict=True)]


def _constant(node: s.Expression, field: e.Column) -> Any:
    if isinstance(node, s.Name):
        raise sql_error(
            f"VALUES takes constants, `{node.column.text}` is a name",
            node.span,
            "text stands in single quotes" if node.column.quoted else None,
        )
    bound = ExpressionBinder(Scope((), ())).bind(node)
    changing = next((call.name for call in e.calls_of(bound) if not call.signature.is_repeatable), None)
    if changing is not None:
        raise sql_error(f"VALUES takes constants, {changing} has another value each time", node.span)
    if bound.type.kind is t.Kind.INT and field.type.kind is t.Kind.TIMESTAMP:
        bound = coerce(bound, t.BIGINT, node.span)
    value = _evaluated(coerce(bound, field.type, node.span), node.span)
    if field is RECORD_TIME and (value is None or value < 0):
        raise sql_error("the time of a record is a time from 1970 on", node.span)
    return value


def _evaluated(expression: e.Expr, span: Span) -> Any:
    try:
        return evaluate(expression)
    except RecordError as error:
        raise sql_error(str(error), span) from None


def as_declared(node: p.Node, wanted: Sequence[e.Column], statement: s.InsertInto) -> p.Node:
    """The rows of INSERT INTO … SELECT as the target declares them: by position, converted, the rest NULL."""
    given, target, span = node.columns, statement.target, statement.query.span
    if statement.columns is None:
        targets = tuple(wanted)
        if len(given) != len(targets):
            raise sql_error(f"`{target.text}` has {len(targets)} columns, the query {len(given)}", span)
    else:
        targets = _named(statement.columns, wanted, target, lambda _: None)
        if len(given) != len(targets):
            raise sql_error(f"{len(targets)} columns are named, the query has {len(given)}", span)
    values = dict(zip(targets, given, strict=True))
    items: list[tuple[str, e.Expr]] = []
    for column in wanted:
        value: e.Expr = values.get(column, e.Literal(None, column.type))
        if not column.nullable and value.nullable:
            raise sql_error(f"column `{column.name}` is NOT NULL, the query may give NULL", span)
        items.append((column.name, cast(value, column.type, span)))
    return p.Project(node, tuple(items))
