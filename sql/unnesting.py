"""Binding of rows made of the elements of arrays: UNNEST in FROM, and EXPLODE or UNNEST among the columns."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.errors import Span, sql_error
from headrace.sql.functions import scalars
from headrace.sql.operations import call
from headrace.sql.scopes import Scope

CALLS = ("EXPLODE", "UNNEST")


class Explosions:
    """The arrays of the EXPLODE calls of a SELECT: their elements come out together, side by side."""

    def __init__(self, node: p.Node) -> None:
        self._node = node
        self._taken = {column.name for column in node.columns}
        self._columns: dict[e.Expr, e.Column] = {}

    def column(self, array: e.Expr, node: s.FunctionCall) -> e.Column:
        """The column of the elements of an array."""
        if array.type.kind is not t.Kind.ARRAY:
            hint = "MAP_VALUES makes one of a MAP" if array.type.kind is t.Kind.MAP else None
            raise sql_error(f"{node.name} takes an ARRAY, found {array.type}", node.span, hint)
        if array not in self._columns:
            name = e.free_name(f"element_{len(self._columns)}", self._taken)
            self._columns[array] = e.Column(name, t.element_of(array.type), True)
        return self._columns[array]

    def node(self, span: Span) -> p.Node:
        """The rows with the elements beside the columns."""
        if not self._columns:
            return self._node
        _check_rows(self._node, span)
        return p.Unnest(self._node, tuple((column.name, array) for array, column in self._columns.items()), False)


def unnested(node: p.Node, scope: Scope, unnesting: s.Unnesting) -> tuple[p.Node, Scope]:
    """The rows joined with elements, and the scope that knows the new columns."""
    _check_rows(node, unnesting.span)
    items = _items(unnesting, scope)
    if unnesting.ordinality is not None:
        items.append((unnesting.ordinality.text, _numbers(items[0][1], unnesting)))
    known = {column.name.lower() for column in node.columns}
    struct = items[0][1].type.element if len(items) == 1 else None
    if struct is not None and struct.fields and len(unnesting.columns) != 1:
        return _fields(node, scope, unnesting, items[0][1], struct)
    names = [name for name, _ in items]
    _check_names(names, known, unnesting)
    node = p.Unnest(node, tuple(items), unnesting.keeps_empty)
    return node, _widened(scope, node, names, unnesting)


def _check_rows(node: p.Node, span: Span) -> None:
    if p.is_updating(node):
        raise sql_error(
            "rows of an updating table cannot be unnested: they replace each other",
            span,
            "unnest before GROUP BY",
        )


def _items(unnesting: s.Unnesting, scope: Scope) -> list[tuple[str, e.Expr]]:
    """Names and arrays; of a MAP the arrays of its keys and of its values."""
    binder = ExpressionBinder(scope)
    arrays: list[e.Expr] = []
    for item in unnesting.arrays:
        bound = binder.bind(item)
        if bound.type.kind is t.Kind.MAP:
            for name in ("MAP_KEYS", "MAP_VALUES"):
                node = s.FunctionCall(name, (item,), False, False, item.span)
                arrays.append(call(scalars.BY_NAME[name], [bound], node))
        elif bound.type.kind is t.Kind.ARRAY:
            arrays.append(bound)
        else:
            raise sql_error(f"UNNEST takes an ARRAY or a MAP, found {bound.type}", item.span)
    names = [name.text for name in unnesting.columns]
    if not names:
        first = unnesting.alias.text if unnesting.alias is not None else "unnest"
        names = [first, *(f"{first}_{number}" for number in range(2, len(arrays) + 1))]
    is_struct = len(arrays) == 1 and bool(t.element_of(arrays[0].type).fields)
    if len(names) != len(arrays) and not is_struct:
        raise sql_error(f"{len(names)} columns are named, UNNEST has {len(arrays)}", unnesting.span)
    return list(zip(names, arrays, strict=False))


def _numbers(array: e.Expr, unnesting: s.Unnesting) -> e.Expr:
    """1, 2, … for the elements of an array."""
    node = s.FunctionCall("GENERATE_SERIES", (), False, False, unnesting.span)
    length = call(scalars.BY_NAME["ARRAY_LENGTH"], [array], node)
    return call(scalars.BY_NAME["GENERATE_SERIES"], [e.Literal(1, t.BIGINT), length, e.Literal(1, t.BIGINT)], node)


def _fields(node: p.Node, scope: Scope, unnesting: s.Unnesting, array: e.Expr, struct: t.Type) -> tuple[p.Node, Scope]:
    """Of an ARRAY of STRUCT the fields, each as a column (as in Flink and PostgreSQL)."""
    names = [name.text for name in unnesting.columns] or [name for name, _ in struct.fields]
    if len(names) != len(struct.fields):
        raise sql_error(
            f"{len(names)} columns are named, the elements have {len(struct.fields)} fields",
            unnesting.span,
            "one name is for the whole element",
        )
    columns = node.columns
    _check_names(names, {column.name.lower() for column in columns}, unnesting)
    hidden = e.free_name("element", {column.name for column in columns})
    element = e.Column(hidden, struct, True)
    fields = [(name, e.Field(element, field, type_)) for name, (field, type_) in zip(names, struct.fields, strict=True)]
    below = p.Unnest(node, ((hidden, array),), unnesting.keeps_empty)
    kept: list[tuple[str, e.Expr]] = [(column.name, column) for column in columns]
    project = p.Project(below, (*kept, *fields))
    return project, _widened(scope, project, names, unnesting)


def _check_names(names: list[str], known: set[str], unnesting: s.Unnesting) -> None:
    for index, name in enumerate(names):
        if name.lower() in known or name.lower() in (earlier.lower() for earlier in names[:index]):
            raise sql_error(f"column `{name}` exists already", unnesting.span, "name it with AS t (name)")


def _widened(scope: Scope, node: p.Node, names: list[str], unnesting: s.Unnesting) -> Scope:
    called = unnesting.alias.text if unnesting.alias is not None else None
    quoted = frozenset(name.text for name in unnesting.columns if name.quoted)
    return replace(
        scope,
        columns=tuple(column for column in node.columns if column not in scope.pseudo),
        qualifiers=scope.qualifiers if called is None else (*scope.qualifiers, called),
        quoted=scope.quoted | quoted,
        owned=(*scope.owned, (called, frozenset(names))),
    )
