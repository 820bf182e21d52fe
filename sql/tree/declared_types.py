"""From sqlglot's types to Headrace's."""

from __future__ import annotations

from sqlglot import exp

from headrace.sql import types
from headrace.sql.errors import Span, did_you_mean, sql_error
from headrace.sql.tree.nodes import checked_name

_TYPES: dict[exp.DType, types.Type] = {
    exp.DType.BOOLEAN: types.BOOLEAN,
    exp.DType.INT: types.INT,
    exp.DType.BIGINT: types.BIGINT,
    exp.DType.UINT: types.INT,
    exp.DType.UBIGINT: types.BIGINT,
    exp.DType.DOUBLE: types.DOUBLE,
    exp.DType.FLOAT: types.DOUBLE,
    exp.DType.VARCHAR: types.VARCHAR,
    exp.DType.TEXT: types.VARCHAR,
    exp.DType.TIMESTAMP: types.TIMESTAMP,
    exp.DType.DATE: types.DATE,
    exp.DType.VARBINARY: types.BYTES,
    exp.DType.JSON: types.JSON,
    exp.DType.JSONB: types.JSON,
    exp.DType.TIME: types.TIME,
    exp.DType.TIMESTAMPTZ: types.TIMESTAMP_LTZ,
    exp.DType.TIMESTAMPLTZ: types.TIMESTAMP_LTZ,
}
_WITH_PRECISION = (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMPLTZ, exp.DType.TIME)
MAX_TIME_PRECISION = 9
TYPE_NAMES = (
    *("BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL", "VARCHAR", "BYTES", "TIMESTAMP", "TIMESTAMP_LTZ", "DATE"),
    *("TIME", "ARRAY", "MAP", "STRUCT", "JSON"),
)


def convert_type(node: exp.DataType, span: Span) -> tuple[types.Type, bool]:
    """A declared type, and whether it is UNSIGNED."""
    kind = node.this
    if kind in (exp.DType.ARRAY, exp.DType.LIST, exp.DType.MAP, exp.DType.STRUCT):
        return _nested_type(node, span), False
    parameters = [p.this.name for p in node.expressions if isinstance(p, exp.DataTypeParam)]
    if not all(text.isascii() and text.isdigit() for text in parameters):
        raise sql_error("a type takes whole numbers as parameters", span)
    arguments = [int(text) for text in parameters]
    if kind is exp.DType.DECIMAL:
        precision, scale = [*arguments, 0][:2] if arguments else (types.MAX_PRECISION, 9)
        if not 1 <= precision <= types.MAX_PRECISION or not 0 <= scale <= precision:
            raise sql_error(f"DECIMAL takes a precision of 1 to {types.MAX_PRECISION} and a scale within it", span)
        return types.Type(types.Kind.DECIMAL, precision, scale), False
    if kind not in _TYPES:
        name = kind.value if isinstance(kind, exp.DType) else str(kind)
        if kind is exp.DType.USERDEFINED:
            name = str(node.args.get("kind") or name)
        raise sql_error(f"type {name} is not supported yet", span, did_you_mean(name, TYPE_NAMES))
    if arguments and kind in _WITH_PRECISION:  # all of them hold milliseconds
        if len(arguments) > 1 or arguments[0] > MAX_TIME_PRECISION:
            raise sql_error(f"{_TYPES[kind]} takes a precision of 0 to {MAX_TIME_PRECISION}", span)
    elif arguments:
        raise sql_error(f"{_TYPES[kind]} with a length or precision is not supported yet", span, "leave it out")
    return _TYPES[kind], kind in (exp.DType.UINT, exp.DType.UBIGINT)


def _nested_type(node: exp.DataType, span: Span) -> types.Type:
    parts = [part for part in node.expressions if isinstance(part, exp.DataType)]
    if node.this is exp.DType.STRUCT:
        fields: list[tuple[str, types.Type]] = []
        for part in node.expressions:
            if not isinstance(part, exp.ColumnDef) or not isinstance(part.kind, exp.DataType):
                raise sql_error("a STRUCT has fields with a name and a type", span, "for example STRUCT<a INT, b DATE>")
            _check_clauses(part, span)
            if any(part.name.lower() == name.lower() for name, _ in fields):
                raise sql_error(f"two fields are named `{part.name}`", span)
            fields.append((checked_name(part.name, span), _inner_type(part.kind, span)))
        if not fields:
            raise sql_error("a STRUCT has fields with a name and a type", span, "for example STRUCT<a INT, b DATE>")
        return types.struct_type(*fields)
    if node.this is exp.DType.MAP:
        if len(parts) != 2:
            raise sql_error("a MAP has the types of its keys and values", span, "for example MAP<VARCHAR, INT>")
        key, value = (_inner_type(part, span) for part in parts)
        if key != types.VARCHAR:
            raise sql_error(f"keys of a MAP are VARCHAR, found {key}", span)
        return types.map_type(value)
    if len(parts) != 1:
        raise sql_error("an ARRAY has the type of its elements", span, "for example ARRAY<INT>")
    return types.array_type(_inner_type(parts[0], span))


def _check_clauses(field: exp.ColumnDef, span: Span) -> None:
    """SqlError for what says more of a field than its type; a COMMENT says nothing, and NULL what holds anyway."""
    for clause in field.args.get("constraints") or ():
        kind = clause.args["kind"]
        if isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            raise sql_error("NOT NULL is for columns alone", span)
        if not isinstance(kind, exp.NotNullColumnConstraint | exp.CommentColumnConstraint):
            raise sql_error("a STRUCT has fields with a name and a type", span, "for example STRUCT<a INT, b DATE>")


def _inner_type(node: exp.DataType, span: Span) -> types.Type:
    type_, unsigned = convert_type(node, span)
    if unsigned:
        raise sql_error("UNSIGNED is for columns alone", span)
    return type_
