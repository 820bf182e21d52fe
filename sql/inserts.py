"""INSERT INTO: constants as the records of a source, the rows of a query as their target declares them."""

from __future__ import annotations

from collections.abc import Sequence
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

RECORD_TIME = e.Column("ROWTIME", t.TIMESTAMP, False)
"""Stands for the time of the record among the columns that are written."""
_TIME_NAMES = ("rowtime", "_timestamp")
_KAFKAS_OWN = ("rowpartition", "rowoffset", "_partition", "_offset", "_topic", "_headers", "_key")


def bind_insert(statement: s.InsertValues, source: p.Source) -> p.Insert:
    """The records of the statement. SqlError at the value that is none, or does not fit its column."""
    columns = [column.column for column in source.stored_columns if column.part is None]
    fields = written_columns(statement.columns, columns, statement.target)
    node = p.Project(p.Scan(source), tuple((column.name, column) for column in columns))
    sink = p.Sink(source.name, s.RelationKind.STREAM, source.topic, None, None, None, None, "kafka", True, None)
    encoder = RowEncoder(p.Query(source.name, node, sink, p.OnError.DEAD_LETTER, p.Late.DEAD_LETTER))
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
    if names is None:
        return tuple(columns)
    found: list[e.Column] = []
    for name in names:
        column = next((column for column in columns if name.matches(column.name)), None)
        if column is None:
            column = _pseudo_column(name, columns, target)
        if column in found:
            raise sql_error(f"column `{name.text}` is named twice", name.span)
        found.append(column)
    return tuple(found)


def _pseudo_column(name: s.Identifier, columns: Sequence[e.Column], target: s.Identifier) -> e.Column:
    if name.text.lower() in _TIME_NAMES:
        return RECORD_TIME
    if name.text.lower() in _KAFKAS_OWN:
        raise sql_error(
            f"`{name.text}` cannot be written: Kafka gives it, or the KEY columns do",
            name.span,
            "ROWTIME is the one that can: the time of the record",
        )
    hint = did_you_mean(name.text, (column.name for column in columns))
    raise sql_error(f"column `{name.text}` does not exist in `{target.text}`", name.span, hint)


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


def as_declared(node: p.Node, wanted: list[tuple[str, t.Type, bool]], statement: s.InsertInto) -> p.Node:
    """The rows of INSERT INTO … SELECT as the target declares them: by position, converted, the rest NULL."""
    given = node.columns
    names = statement.columns
    if names is None:
        targets = [name for name, _, _ in wanted]
        if len(given) != len(targets):
            raise sql_error(
                f"`{statement.target.text}` has {len(targets)} columns, the query {len(given)}", statement.query.span
            )
    else:
        targets = []
        for identifier in names:
            found = next((name for name, _, _ in wanted if identifier.matches(name)), None)
            if found is None:
                hint = did_you_mean(identifier.text, (name for name, _, _ in wanted))
                raise sql_error(f"column `{identifier.text}` does not exist", identifier.span, hint)
            if found in targets:
                raise sql_error(f"column `{identifier.text}` is named twice", identifier.span)
            targets.append(found)
        if len(given) != len(targets):
            raise sql_error(f"{len(targets)} columns are named, the query has {len(given)}", statement.query.span)
    values = dict(zip(targets, given, strict=True))
    items: list[tuple[str, e.Expr]] = []
    for name, type_, not_null in wanted:
        column: e.Expr = values.get(name, e.Literal(None, type_))
        if not_null and column.nullable:
            raise sql_error(f"column `{name}` is NOT NULL, the query may give NULL", statement.query.span)
        items.append((name, cast(column, type_, statement.query.span)))
    return p.Project(node, tuple(items))
