"""From sqlglot's SELECT to Headrace's: each clause consumed, or refused by its name."""

from __future__ import annotations

from sqlglot import exp

from headrace.sql import syntax
from headrace.sql.errors import Problem, Span, SqlError, sql_error
from headrace.sql.tree.expressions import convert_expression
from headrace.sql.tree.nodes import (
    EMIT_ARG,
    GROUPING_WINDOW_ARG,
    NAMED_WINDOWS_ARG,
    PARTITION_BY_ARG,
    held,
    identifier,
    is_holder,
    span_of,
)

_CLAUSES = {
    *("expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify"),
    *(GROUPING_WINDOW_ARG, NAMED_WINDOWS_ARG, PARTITION_BY_ARG, EMIT_ARG),
}
_CLAUSE_NAMES = {
    "laterals": "LATERAL",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "into": "SELECT INTO",
    "pivots": "PIVOT",
    "sample": "TABLESAMPLE",
    "locks": "FOR UPDATE",
    "version": "FOR SYSTEM_TIME",
    "db": "a name of two parts in FROM",
    "kind": "SELECT AS",
}


def convert_select(node: exp.Expr | None, around: Span) -> syntax.Select:
    """A parsed SELECT as Headrace syntax; each clause consumed or refused by name."""
    if not isinstance(node, exp.Select):
        raise sql_error("expected SELECT", around)
    if problems := _unknown_clauses(node, around):
        raise SqlError(problems)
    source = node.args.get("from_")
    if source is None:
        raise sql_error("a query needs FROM", around)
    if not node.expressions:
        raise sql_error("a query needs columns", around, "SELECT * takes all")
    window = node.args.get(GROUPING_WINDOW_ARG)
    windows = node.args.get(NAMED_WINDOWS_ARG)
    emit = node.args.get(EMIT_ARG)
    partition_by = node.args.get(PARTITION_BY_ARG)
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise sql_error(
            "DISTINCT ON is not supported yet", span_of(distinct, around), "ROW_NUMBER finds the first rows"
        )
    where, having, qualify = (node.args.get(clause) for clause in ("where", "having", "qualify"))
    return syntax.Select(
        commons=(),
        distinct=distinct is not None,
        items=tuple(_select_item(item, around) for item in node.expressions),
        source=_table(source.this, around),
        unnestings=tuple(_unnesting(join, around) for join in node.args.get("joins") or ()),
        where=convert_expression(where.this, around) if where is not None else None,
        group_by=_group_by(node.args.get("group"), around),
        having=convert_expression(having.this, around) if having is not None else None,
        window=held(window) if window is not None else None,
        windows=held(windows) if windows is not None else (),
        partition_by=held(partition_by) if partition_by is not None else (),
        qualify=convert_expression(qualify.this, around) if qualify is not None else None,
        emit=held(emit) if emit is not None else None,
        span=around,
    )


def _unknown_clauses(node: exp.Expr, around: Span) -> list[Problem]:
    problems: list[Problem] = []
    for argument, value in node.args.items():
        if value and argument not in _CLAUSES:
            what = _CLAUSE_NAMES.get(argument, argument.strip("_").upper())
            place = value[0] if isinstance(value, list) else value
            span = span_of(place, around) if isinstance(place, exp.Expr) else around
            problems.append(Problem(f"{what} is not supported yet", span))
    return problems


def _select_item(node: exp.Expr, around: Span) -> syntax.SelectItem:
    span = span_of(node, around)
    if isinstance(node, exp.Alias):
        alias = identifier(node.args["alias"], span)
        return syntax.SelectItem(convert_expression(node.this, span), alias, span)
    return syntax.SelectItem(convert_expression(node, span), None, span)


_GROUPINGS: dict[type[exp.Expr], str] = {
    exp.Cube: "CUBE",
    exp.Rollup: "ROLLUP",
    exp.GroupingSets: "GROUPING SETS",
}


def _group_by(node: exp.Expr | None, around: Span) -> tuple[syntax.Expression, ...] | None:
    if node is None:
        return None
    for argument, value in node.args.items():
        if value and argument != "expressions":
            raise sql_error(f"GROUP BY {argument.replace('_', ' ').upper()} is not supported yet", around)
    if not node.expressions:
        raise sql_error("GROUP BY needs an expression", around)
    flat: list[syntax.Expression] = []
    for item in node.expressions:
        if type(item) in _GROUPINGS:
            raise sql_error(f"{_GROUPINGS[type(item)]} is not supported yet", span_of(item, around))
        if isinstance(item, exp.Tuple) and not item.expressions:
            hint = "all rows are one group without it"
            raise sql_error("GROUP BY () is not supported yet", span_of(item, around), hint)
        if isinstance(item, exp.Tuple):
            raise sql_error("a row in GROUP BY is not supported yet", span_of(item, around))
        flat.append(convert_expression(item, around))
    return tuple(flat)


def _table(node: exp.Expr, around: Span) -> syntax.TableReference:
    span = span_of(node, around)
    if not isinstance(node, exp.Table):
        raise sql_error("FROM takes the name of a stream or table, or a query in parentheses", span)
    for argument, value in node.args.items():
        if value and argument not in ("this", "alias"):
            what = _CLAUSE_NAMES.get(argument, argument.strip("_").upper())
            raise sql_error(f"{what} is not supported yet", span)
    alias, columns = _alias(node.args.get("alias"), span)
    inner = node.this
    if is_holder(inner):
        relation, window = held(inner)
        return syntax.TableReference(relation, alias, columns, window, relation.span if window is None else window.span)
    if not isinstance(inner, exp.Identifier):
        raise sql_error(f"{inner.name.upper()} in FROM is not supported yet", span)
    return syntax.TableReference(identifier(inner, span), alias, columns, None, span)


def _unnesting(node: exp.Expr, around: Span) -> syntax.Unnesting:
    """A join with the elements of an array. SqlError where it is another join."""
    span = span_of(node, around)
    unnest = node.this
    alias = unnest.args.get("alias")
    if isinstance(unnest, exp.Lateral):
        unnest = unnest.this
    if not isinstance(unnest, exp.Unnest):
        raise sql_error("JOIN is not supported yet", span)
    side, on = str(node.args.get("side") or "").upper(), node.args.get("on")
    is_true = isinstance(on, exp.Boolean) and bool(on.this)
    if side not in ("", "LEFT") or node.args.get("using") or (on is not None and not is_true):
        raise sql_error("UNNEST takes CROSS JOIN, or LEFT JOIN … ON TRUE", span)
    called, columns = _alias(alias, span)
    offset = unnest.args.get("offset")
    ordinality: syntax.Identifier | None = None
    if offset:
        ordinality = identifier(offset, span) if isinstance(offset, exp.Identifier) else None
        ordinality = ordinality or syntax.Identifier("ordinality", False, span)
    arrays = tuple(convert_expression(array, span) for array in unnest.expressions)
    return syntax.Unnesting(arrays, called, columns, ordinality, side == "LEFT", span)


def _alias(node: exp.Expr | None, around: Span) -> tuple[syntax.Identifier | None, tuple[syntax.Identifier, ...]]:
    """`name (columns)` behind a relation, or before AS in WITH."""
    if node is None:
        return None, ()
    columns: list[syntax.Identifier] = []
    for column in node.args.get("columns") or ():
        if not isinstance(column, exp.Identifier):
            raise sql_error("a column name in an alias is a name alone", span_of(column, around))
        columns.append(identifier(column, around))
    return (identifier(node.this, around) if node.this is not None else None), tuple(columns)
