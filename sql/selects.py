"""Binding of a SELECT over the rows of a relation: WHERE, GROUP BY, windows, HAVING and the output columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from headrace.sql import expressions as e
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql import windows as w
from headrace.sql.aggregate_calls import is_aggregate
from headrace.sql.bind_windows import bind_window
from headrace.sql.binding import ExpressionBinder, Grouping, Scope, names_window, walk
from headrace.sql.errors import Span, did_you_mean, sql_error
from headrace.sql.event_times import event_time_columns
from headrace.sql.functions.catalog import Functions
from headrace.sql.options import duration_ms
from headrace.sql.overs import OverBinder, check_limited, has_over, refuse_rows_behind_time, refuse_times_by_arrival
from headrace.sql.tops import filtered
from headrace.sql.unnesting import Explosions, unnested

_WINDOW_COLUMNS = (p.WINDOW_START, p.WINDOW_END)


def bind_select(
    select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str], source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    """The node of a query over the rows of `node`, and those of its columns that were named in double quotes."""
    for unnesting in select.unnestings:
        node, scope = unnested(node, scope, unnesting)
    if select.where is not None:
        _refuse_aliases(select.where, select, scope)
        node = filtered(node, ExpressionBinder(scope).bind_predicate(select.where), select.where.span)
    check_limited(node, select.source.span)
    if select.qualify is not None and not has_over(select):
        raise sql_error("QUALIFY needs OVER", select.qualify.span, "WHERE filters rows, HAVING groups")
    if select.windows and not has_over(select):
        raise sql_error(f"window `{select.windows[0][0].text}` is not used", select.windows[0][0].span)
    quoted = frozenset(item.alias.text for item in select.items if item.alias is not None and item.alias.quoted)
    if select.distinct:
        rows, quoted = _bind_distinct(select, node, scope, settings, source_quoted)
    elif has_over(select):
        rows = _bind_over(select, node, scope, settings)
    elif is_grouped(select, scope.functions):
        rows = _SelectGrouped(select, node, scope, settings).bind()
    else:
        return _bind_plain(select, node, scope, source_quoted)
    return (_rekeyed_above(select, rows, quoted) if select.partition_by else rows), quoted


def _bind_plain(
    select: s.Select, node: p.Node, scope: Scope, source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    _refuse_grouping_clauses(select, node)
    quoted = frozenset(item.alias.text for item in select.items if item.alias is not None and item.alias.quoted)
    explosions = Explosions(node)
    binder = ExpressionBinder(scope, arrays=explosions)
    items = _select_items(select, scope, binder)
    keys = [(_key(item, select, scope, binder), item.span) for item in select.partition_by]
    node = explosions.node(select.span)
    if keys:
        _refuse_rekeying(select, node)
        node, computed = _rekeyed_below(node, [key for key, _ in keys])
        items = tuple((name, computed.get(expr, expr)) for name, expr in items)
    if len(items) == len(node.columns) and all(
        expr == column and name == column.name for (name, expr), column in zip(items, node.columns, strict=True)
    ):
        return node, quoted | source_quoted
    return p.Project(node, items), quoted


def _bind_distinct(
    select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str], source_quoted: frozenset[str]
) -> tuple[p.Node, frozenset[str]]:
    """SELECT DISTINCT is GROUP BY of all columns; over the rows of windows, of those and the window."""
    all_rows = replace(select, distinct=False, partition_by=())
    window = select.window or select.source.window
    if window is not None and not is_grouped(select, scope.functions) and not has_over(select):
        if any(isinstance(item.expression, s.Star) for item in select.items):
            raise sql_error("SELECT DISTINCT over windows names its columns", select.span, "window_start among them")
        windowed = replace(all_rows, group_by=tuple(item.expression for item in select.items))
        return bind_select(replace(windowed, where=None), node, scope, settings, source_quoted)
    emit = None if is_grouped(select, scope.functions) else select.emit
    if emit is not None and emit.every_ms is not None:
        raise sql_error("EMIT EVERY does not go with SELECT DISTINCT: a row comes out once", emit.span)
    if not is_grouped(select, scope.functions):
        all_rows = replace(all_rows, emit=None)
    rows, quoted = bind_select(replace(all_rows, where=None), node, scope, settings, source_quoted)
    return distinct(rows, s.Emit.CHANGES if emit is None else emit.emit, settings, select.span), quoted


def distinct(node: p.Node, emit: s.Emit, settings: Mapping[str, str], span: Span) -> p.Node:
    """Each row of a node once: when it comes first, or at the end of a finite run."""
    if p.is_updating(node):
        raise sql_error(
            "DISTINCT over the changes of an updating table is not supported: its rows come again when they change",
            span,
            "read a windowed table with EMIT FINAL, or the stream itself",
        )
    for column in node.columns:
        if not column.type.has_keys:
            raise sql_error(f"DISTINCT does not take {column.type} (`{column.name}`)", span)
    ttl = settings.get("ttl") if emit is s.Emit.CHANGES else None
    keys = tuple((column.name, column) for column in node.columns)
    ttl_ms = duration_ms(ttl, span) if ttl else None
    return p.Aggregate(node, keys, None, (), emit, None, ttl_ms)


def _key(item: s.Expression, select: s.Select, scope: Scope, binder: ExpressionBinder) -> e.Expr:
    """An entry of PARTITION BY, over the rows that the SELECT reads."""
    expr = binder.bind(_item_of(item, select, scope, "PARTITION BY"))
    if not (expr.type.is_storable and expr.type.has_keys):
        raise sql_error(f"cannot partition by {expr.type}", item.span)
    return expr


def _rekeyed_below(node: p.Node, keys: list[e.Expr]) -> tuple[p.Node, dict[e.Expr, e.Column]]:
    """Rows with another record key, and the columns of what was computed for it."""
    computed: dict[e.Expr, e.Column] = {}
    columns: list[e.Column] = []
    taken = {column.name for column in node.columns}
    for expr in keys:
        if isinstance(expr, e.Column):
            columns.append(expr)
            continue
        name = e.free_name(f"key_{len(columns)}", taken)
        taken.add(name)
        columns.append(computed.setdefault(expr, e.Column(name, expr.type, expr.nullable)))
    if computed:
        given = ((column.name, column) for column in node.columns)
        node = p.Project(node, (*given, *((column.name, expr) for expr, column in computed.items())))
    return p.Rekey(node, tuple(dict.fromkeys(columns))), computed


def _rekeyed_above(select: s.Select, node: p.Node, quoted: frozenset[str]) -> p.Node:
    """The rows of a SELECT that groups, with the key of PARTITION BY: columns of its result."""
    _refuse_rekeying(select, node)
    scope = Scope(node.columns, (), quoted)
    keys: list[e.Column] = []
    for item in select.partition_by:
        if not isinstance(item, s.Name):
            raise sql_error("PARTITION BY takes columns of the result here", item.span, "give the expression a name")
        keys.append(scope.resolve(item))
    return p.Rekey(node, tuple(dict.fromkeys(keys)))


def _refuse_rekeying(select: s.Select, node: p.Node) -> None:
    check_limited(node, select.source.span)
    if p.is_updating(node):
        raise sql_error(
            "PARTITION BY is for streams: rows of an updating table replace each other by their key",
            select.partition_by[0].span,
            "GROUP BY chooses the key of a table",
        )


def _bind_over(select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> p.Node:
    overs = OverBinder(select, node, scope, settings)
    _refuse_grouping_clauses(select, node)
    binder = ExpressionBinder(scope, overs=overs)
    items = _select_items(select, scope, binder)
    if select.qualify is None:
        node = overs.node()
    else:
        condition = binder.bind_predicate(_with_aliases(select.qualify, select, scope))
        node = filtered(overs.node(), condition, select.qualify.span)
    return p.Project(node, tuple((name, overs.known(expr)) for name, expr in items))


def _refuse_grouping_clauses(select: s.Select, node: p.Node) -> None:
    if select.having is not None:
        raise sql_error("HAVING needs GROUP BY", select.having.span)
    if select.source.window is not None or select.window is not None:
        raise sql_error("a window needs GROUP BY", (select.window or select.source.window or select).span)
    if select.emit is not None and select.emit.emit is s.Emit.FINAL:
        why = (
            "these rows replace each other until the run ends" if p.is_updating(node) else "every row is final at once"
        )
        raise sql_error(f"EMIT FINAL needs GROUP BY: without it {why}", select.span)
    if select.emit is not None and select.emit.every_ms is not None:
        raise sql_error("EMIT EVERY needs GROUP BY: without it every row goes out at once", select.emit.span)


def is_grouped(select: s.Select, functions: Functions) -> bool:
    """Whether a query groups its rows."""
    return select.group_by is not None or any(
        is_aggregate(part, functions) for item in select.items for part in walk(item.expression)
    )


def groups_inside(query: s.SelectQuery, functions: Functions) -> bool:
    """Whether a query, or one of those inside of it, groups its rows."""
    inner = [common.query for common in query.commons]
    if isinstance(query, s.Union):
        inner += query.branches
        return query.distinct or any(groups_inside(each, functions) for each in inner)
    if not isinstance(query.source.relation, s.Identifier):
        inner.append(query.source.relation)
    return query.distinct or is_grouped(query, functions) or any(groups_inside(each, functions) for each in inner)


def _select_items(select: s.Select, scope: Scope, binder: ExpressionBinder) -> tuple[tuple[str, e.Expr], ...]:
    """Output names and expressions; stars expanded."""
    items: list[tuple[str, e.Expr, Span]] = []
    for item in select.items:
        if isinstance(item.expression, s.Star):
            items.extend(_star_items(item.expression, scope, binder))
        else:
            bound = _storable(binder.bind(item.expression), item.span)
            items.append((_item_name(item, len(items)), bound, item.span))
    seen: set[str] = set()
    for name, _, span in items:
        if name.lower() in seen:
            raise sql_error(f"two columns are named `{name}`", span, "give one an alias with AS")
        seen.add(name.lower())
    return tuple((name, expr) for name, expr, _ in items)


def _storable(bound: e.Expr, span: Span) -> e.Expr:
    """An expression as a column of a result."""
    if bound.type.kind is t.Kind.NULL:
        return e.Literal(None, t.VARCHAR)
    if not bound.type.is_storable:
        raise sql_error(f"{bound.type} cannot be a column of a result", span, "CAST it to VARCHAR")
    return bound


def _star_items(star: s.Star, scope: Scope, binder: ExpressionBinder) -> Iterator[tuple[str, e.Expr, Span]]:
    """The columns of `*`, or the fields of a STRUCT: without some, others in the place of some, with other names."""
    columns = _star_columns(star, scope)
    without = {_named(name, columns) for name in star.without}
    replaced = {_named(name, columns): expression for name, expression in star.replaced}
    renamed = {_named(old, columns): new.text for old, new in star.renamed}
    written = [*star.without, *(name for name, _ in star.replaced)]
    for names in (written, [*star.without, *(old for old, _ in star.renamed)]):
        for number, name in enumerate(names):
            if any(_named(name, columns) == _named(earlier, columns) for earlier in names[:number]):
                raise sql_error(f"* names `{name.text}` twice", name.span)
    if len(without) == len(columns):
        raise sql_error("no column is left", star.span)
    for column, expr in columns.items():
        if column not in without:
            other = replaced.get(column)
            item = expr if other is None else _storable(binder.bind(other), other.span)
            yield renamed.get(column, column), item, star.span


def _star_columns(star: s.Star, scope: Scope) -> dict[str, e.Expr]:
    if star.qualifier is None:
        return {column.name: column for column in scope.columns}
    if (struct := scope.struct_of(star.qualifier)) is not None:
        return {name: e.Field(struct, name, type_) for name, type_ in struct.type.fields}
    return {column.name: column for column in scope.columns_of(star.qualifier)}


def _named(name: s.Identifier, columns: Iterable[str]) -> str:
    """The column that a name behind `*` means."""
    found = [column for column in columns if name.matches(column)]
    if not found:
        raise sql_error(f"column `{name.text}` does not exist", name.span, did_you_mean(name.text, columns))
    return next((column for column in found if column == name.text), found[0])


def _item_name(item: s.SelectItem, position: int) -> str:
    if item.alias is not None:
        return item.alias.text
    node = item.expression
    while isinstance(node, s.Cast):
        node = node.operand
    match node:
        case s.Name():
            return node.column.text
        case s.FunctionCall():
            return node.name.lower()
    return f"col_{position}"


class _SelectGrouped:
    """A SELECT with GROUP BY or aggregate calls: Aggregate, then HAVING, then the output expressions."""

    def __init__(self, select: s.Select, node: p.Node, scope: Scope, settings: Mapping[str, str]) -> None:
        self._select = select
        self._node = node
        self._scope = scope
        self._settings = settings

    def bind(self) -> p.Node:
        select = self._select
        if p.is_updating(self._node):
            raise sql_error(
                "grouping the changes of an updating table is not supported yet",
                select.source.span,
                "read a windowed table with EMIT FINAL, or the stream itself",
            )
        refuse_rows_behind_time(self._node, select, "GROUP BY")
        clause, group_by = self._window_clause()
        window = self._window(clause, group_by)
        if window is not None:
            refuse_times_by_arrival(self._node, select, "a window")
        keys = self._keys(group_by)
        columns = tuple(e.Column(name, t.TIMESTAMP, False) for name in (p.WINDOW_START, p.WINDOW_END)) if window else ()
        grouping = Grouping(keys, columns)
        above = ExpressionBinder(self._scope, grouping)
        if any(isinstance(item.expression, s.Star) for item in select.items):
            star = next(item for item in select.items if isinstance(item.expression, s.Star))
            raise sql_error("* does not go with GROUP BY", star.span, "name the keys and the aggregates")
        for item in select.items:
            if isinstance(item.expression, s.WindowClause) and item.expression.time is not None:
                self._check_time(item.expression.time)
        if clause is not None:
            select = replace(select, items=tuple(_with_bounds(select.items, clause)))
        items = _select_items(select, self._scope, above)
        if window is not None:
            _check_key_names(select, items, {name for name, _ in keys})
        having: e.Expr | None = None
        if select.having is not None:
            having = above.bind_predicate(_with_aliases(select.having, select, self._scope))
        if isinstance(window, w.Session):
            _check_mergeable(grouping, select)
        default = self._settings.get("emit") if window else None
        emit = select.emit.emit if select.emit else s.Emit(default or ("final" if window else "changes"))
        every_ms = select.emit.every_ms if select.emit else None
        if every_ms is not None and every_ms <= 0:
            raise sql_error("EMIT EVERY takes a time above zero", (select.emit or select).span)
        ends = window is None and emit is s.Emit.CHANGES and every_ms is None
        ttl = self._settings.get("ttl") if ends else None
        calls = tuple((name, call) for call, name in grouping.calls.items())
        if any(call.aggregation.ordered for _, call in calls):
            refuse_times_by_arrival(self._node, select, "a function of the order of rows")
        aggregate = p.Aggregate(
            self._node,
            keys,
            window,
            calls,
            emit,
            p.Changes(self._settings.get("changes", p.Changes.EVERY)),
            duration_ms(ttl, select.span) if ttl else None,
            every_ms,
        )
        return p.Project(p.Filter(aggregate, having) if having is not None else aggregate, items)

    def _window_clause(self) -> tuple[s.WindowClause | None, list[s.Expression]]:
        """The one window of the query, wherever it is written, and the other entries of GROUP BY."""
        select = self._select
        found = [clause for clause in (select.window, select.source.window) if clause is not None]
        rest: list[s.Expression] = []
        is_named = False
        for item in select.group_by or ():
            meant = _item_of(item, select, self._scope, "GROUP BY")
            match item:
                case _ if isinstance(meant, s.WindowClause):
                    found.append(meant)
                case s.Name() if found and names_window(item, self._scope):
                    is_named = True
                case _:
                    rest.append(item)
        if len(found) > 1:
            raise sql_error("a query has one window", found[1].span)
        if select.source.window is not None and not is_named:
            raise sql_error("GROUP BY must name window_start or window_end", select.source.window.span)
        return (found[0] if found else None), rest

    def _window(self, clause: s.WindowClause | None, group_by: list[s.Expression]) -> w.Window | None:
        if clause is None:
            return None
        if clause.time is not None:
            self._check_time(clause.time)
        if clause.kind is s.WindowKind.SESSION and clause.partition_by is not None:
            self._check_partition_by(clause, clause.partition_by, group_by)
        return bind_window(clause)

    def _check_partition_by(
        self, clause: s.WindowClause, partition_by: tuple[s.Identifier, ...], group_by: list[s.Expression]
    ) -> None:
        """Sessions are those of a group: what Flink partitions by must be what the query groups by."""
        keys = {self._scope.resolve(item).name for item in group_by if isinstance(item, s.Name)}
        named = {self._scope.resolve(s.Name(name, None, name.span)).name for name in partition_by}
        if named != keys or len(keys) < len(group_by):
            raise sql_error(
                "sessions are partitioned by the columns that the query groups by",
                clause.span,
                f"for example SESSION(TABLE … PARTITION BY {', '.join(sorted(keys)) or '…'}, DESCRIPTOR(…), …)",
            )

    def _check_time(self, time: s.Expression) -> None:
        """Windows are over the event time of the source: a column named for it must be that one."""
        if not isinstance(time, s.Name):
            raise sql_error("a window takes a column as its time", time.span)
        column = self._scope.resolve(time)
        event_times = event_time_columns(self._node)
        if column.name in event_times:
            return
        if column in self._scope.pseudo:
            raise sql_error(f"`{time.column.text}` is not the event time of these rows", time.span, "ROWTIME is")
        shown = event_times & {known.name for known in self._scope.columns}
        if not shown:
            origin = p.origin_of(self._node)
            if isinstance(origin, p.Scan) and origin.source.event_time.column is None:
                raise sql_error(
                    f"`{time.column.text}` is not declared as the event time of `{origin.source.name}`",
                    time.span,
                    f"add WATERMARK FOR {time.column.text} AS {time.column.text} - INTERVAL '5' SECOND to it",
                )
            raise sql_error(
                f"`{time.column.text}` is not the event time of these rows", time.span, "leave the time column out"
            )
        raise sql_error(f"`{time.column.text}` is not the event time of these rows", time.span, f"it is `{min(shown)}`")

    def _keys(self, group_by: list[s.Expression]) -> tuple[tuple[str, e.Expr], ...]:
        binder = ExpressionBinder(self._scope)
        keys: list[tuple[str, e.Expr]] = []
        for item in group_by:
            node = _item_of(item, self._select, self._scope, "GROUP BY")
            if any(is_aggregate(part, self._scope.functions) for part in walk(node)):
                raise sql_error("GROUP BY cannot hold an aggregate function", node.span)
            expr = binder.bind(node)
            if not (expr.type.is_storable and expr.type.has_keys):
                raise sql_error(f"cannot group by {expr.type}", node.span)
            if all(expr != known for _, known in keys):
                columns = {column.name for column in self._scope.columns}
                name = e.free_name(f"key_{len(keys)}", columns)
                if isinstance(expr, e.Column) and expr.name not in _WINDOW_COLUMNS:
                    name = expr.name
                keys.append((name, expr))
        return tuple(keys)


def _item_of(item: s.Expression, select: s.Select, scope: Scope, clause: str) -> s.Expression:
    """An ordinal or an alias in a clause stands for the expression of its SELECT item."""
    items = select.items
    if isinstance(item, s.NumberLiteral) and item.text.isdigit():
        if not 1 <= int(item.text) <= len(items):
            raise sql_error(f"{clause} {item.text}: the query has {len(items)} columns", item.span)
        return items[int(item.text) - 1].expression
    return _aliased(item, select, scope) if isinstance(item, s.Name) else item


def _aliased(name: s.Name, select: s.Select, scope: Scope) -> s.Expression:
    """A name that is no column but an alias stands for the expression of its SELECT item."""
    if name.qualifier is None and not any(name.column.matches(column.name) for column in scope.columns):
        for item in select.items:
            if item.alias is not None and name.column.matches(item.alias.text):
                return item.expression
    return name


_WITH_NAMES = (*get_args(s.Expression), s.OverClause, s.OrderItem)


def _with_aliases(expression: s.Expression, select: s.Select, scope: Scope) -> s.Expression:
    """An expression of HAVING or QUALIFY, with what the aliases in it stand for."""

    def meant(part: Any) -> Any:
        if isinstance(part, s.Name):
            return _aliased(part, select, scope)
        if isinstance(part, tuple):
            return tuple(map(meant, part))
        if not isinstance(part, _WITH_NAMES):
            return part
        return replace(part, **{each.name: meant(getattr(part, each.name)) for each in fields(part)})

    found: s.Expression = meant(expression)
    return found


def _refuse_aliases(where: s.Expression, select: s.Select, scope: Scope) -> None:
    """SqlError for an alias in WHERE, which sees the columns of FROM."""
    for part in walk(where):
        if isinstance(part, s.Name) and _aliased(part, select, scope) is not part:
            raise sql_error(
                f"`{part.column.text}` is an alias of SELECT, which WHERE does not know",
                part.span,
                "write its expression, or put the SELECT into FROM",
            )


def _check_mergeable(grouping: Grouping, select: s.Select) -> None:
    """A row between two sessions makes one of them, so their states must become one."""
    for call in grouping.calls:
        if not call.function.mergeable:
            name = call.function.name
            raise sql_error(
                f"{name} has no `merge`, which sessions need", select.span, "merge(self, other) in its class"
            )


def _with_bounds(items: tuple[s.SelectItem, ...], window: s.WindowClause) -> Iterator[s.SelectItem]:
    """Arroyo's `TUMBLE(…) AS w` among the columns is the window of the query: two columns, `w.start` and `w.end`."""
    for item in items:
        if not isinstance(item.expression, s.WindowClause) or not _is_same(item.expression, window):
            yield item
            continue
        name = item.alias.text if item.alias is not None else "window"
        for call, bound in (("TUMBLE_START", "start"), ("TUMBLE_END", "end")):
            expression = s.FunctionCall(call, (), False, False, item.span)
            yield s.SelectItem(expression, s.Identifier(f"{name}.{bound}", False, item.span), item.span)


def _is_same(one: s.WindowClause, other: s.WindowClause) -> bool:
    """Whether two clauses are written alike."""

    def shape(window: s.WindowClause) -> tuple[object, ...]:
        zone = window.zone.value if window.zone is not None else None
        return window.kind, window.size_ms, window.step_ms, window.offset_ms, window.grace_ms, zone

    return one is other or shape(one) == shape(other)


def _check_key_names(select: s.Select, items: tuple[tuple[str, e.Expr], ...], keys: set[str]) -> None:
    """The record key of a windowed row has the window beside the keys: none of them may be called like it."""
    for item, (name, expr) in zip(select.items, items, strict=True):
        if name in _WINDOW_COLUMNS and isinstance(expr, e.Column) and expr.name in keys:
            raise sql_error(
                f"the key `{name}` would be called like the window's", item.span, "give it an alias with AS"
            )
