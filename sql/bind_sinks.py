"""Binding of a sink: the topic, record key and format of the rows of a query, and the options that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from headrace.sql import expressions as e
from headrace.sql import options as o
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.bind_formats import check_sink_key, check_value, time_format, value_format
from headrace.sql.errors import Span, sql_error
from headrace.sql.functions.catalog import Functions
from headrace.sql.inspection import groups_inside
from headrace.sql.relations import Relation
from headrace.sql.vocabulary import Emit, RelationKind


def has_keys(node: p.Node) -> bool:
    """Whether the record key tells rows apart: those of one key replace each other."""
    is_unnested = any(isinstance(below, p.Unnest) for below in p.walk_rows(node))
    return isinstance(p.origin_of(node), (p.Aggregate, p.TopN)) and not is_unnested


def check_emission(options: o.Options, query: s.SelectQuery, node: p.Node, functions: Functions) -> None:
    """SqlError for options of the query's own that do not go with it. What was SET is for the queries that it fits."""
    emits = [select.emit for select in s.selects_of(query) if select.emit is not None]
    if "changes" in options and any(emit.every_ms is not None for emit in emits):
        raise sql_error("`changes` does not go with EMIT EVERY", options.entry("changes").span)
    if "changes" in options and isinstance(origin := p.origin_of(node), p.Aggregate) and origin.changes is None:
        raise sql_error(
            "`changes` does not go with SELECT DISTINCT: a row comes out once", options.entry("changes").span
        )
    if "ttl" not in options:
        return
    aggregate = p.aggregate_of(node) if groups_inside(query, functions) else None
    span = options.entry("ttl").span
    if aggregate is None and isinstance(p.origin_of(node), (p.Over, p.TopN)):
        raise sql_error("`ttl` is for GROUP BY alone so far: OVER keeps its partitions", span)
    if aggregate is None:
        raise sql_error("`ttl` needs GROUP BY: a query that does not group keeps no state", span)
    if aggregate.window is not None:
        raise sql_error("`ttl` does not go with a window: its state is freed when it closes", span)
    if aggregate.every_ms is not None:
        raise sql_error("`ttl` does not go with EMIT EVERY yet", span)
    if aggregate.emit is Emit.FINAL:
        raise sql_error("`ttl` does not go with EMIT FINAL: what ends before the run does would never be seen", span)


def bind_sink(
    name: str, topic: str, kind: RelationKind, node: p.Node, options: o.Options, query: s.SelectQuery
) -> p.Sink:
    """The sink of a query's rows; `topic` is its topic where WITH names none."""
    text = time_format(options)
    retention = options.text("retention")
    retention_ms: int | None = None
    if retention is not None:
        retention_ms = o.duration_ms(retention, options.entry("retention").value_span)
    format_ = value_format(options)
    if format_.is_single and options.word("key_in_value") == "true":
        raise sql_error(
            f"a value of format `{format_.name}` is one column: it has no key", options.entry("key_in_value").span
        )
    key_format = options.word("key_format") or "kafka"
    if "key_format" in options:
        sources = (scan.source for scan in p.scans_of(node))
        kept = [source.key_format for source in sources if any(column.key for column in source.columns)]
        known = next((kept_format for kept_format in kept if kept_format != key_format), kept[0] if kept else None)
        parts = p.key_parts(node)
        types = None if parts is None else [type_ for _, type_ in parts]
        check_sink_key(key_format, types, known, options.entry("key_format").value_span)
    sink = p.Sink(
        name,
        kind,
        options.text("topic") or topic,
        options.number("partitions"),
        options.number("replicas"),
        retention_ms,
        _key_columns(node, query.span),
        key_format,
        options.word("key_in_value") != "false" and not format_.is_single,
        text,
        format_,
    )
    check_value(format_, p.value_columns(node, sink), query.span)
    return sink


def check_topic(sink: p.Sink, relations: Iterable[Relation], taken: Mapping[str, str], span: Span) -> None:
    """SqlError where the topic of a sink can be none, or another relation writes or reads it; `taken` says what other
    topics are.
    """
    o.check_topic_name(sink.topic, span)
    if sink.topic in taken:
        raise sql_error(f"topic `{sink.topic}` is {taken[sink.topic]}", span)
    for relation in relations:
        if relation.sink is not None and relation.sink.topic == sink.topic:
            raise sql_error(f"topic `{sink.topic}` is the sink of `{relation.name}`", span)
        reads = isinstance(relation.node, p.Scan) and relation.node.source.topic == sink.topic
        if reads and relation.name.lower() != sink.name.lower():
            raise sql_error(f"topic `{sink.topic}` is read by `{relation.name}`", span)


def check_declared_keys(sink: p.Sink, declared: Sequence[str], node: p.Node, statement: s.InsertInto) -> None:
    """SqlError where a sink is declared with a key, and the records of the query have another one.

    The bounds of a window are part of their key whether the declaration names them or not.
    """
    if not declared:
        return
    parts = p.key_parts(node)
    if parts is None:
        made: dict[str, str | None] = dict.fromkeys(p.kept_keys(node), "")
    else:
        made = {name: _column_of(node, name) for name, _ in parts}
        made = {name: column for name, column in made.items() if column in declared or name not in _BOUNDS}
    columns = {column or name for name, column in made.items() if column is not None}
    if columns != set(declared) or None in made.values():
        theirs = f"({', '.join(made)}) of the query" if made else "that of its source"
        wanted = f"({', '.join(declared)}) of `{sink.name}`"
        raise sql_error(
            f"the records of the query would not have the key {wanted}: theirs is {theirs}",
            statement.query.span,
            "GROUP BY or PARTITION BY the columns of the key, and select them for it",
        )


_BOUNDS = (p.WINDOW_START, p.WINDOW_END)


def _column_of(node: p.Node, key: str) -> str | None:
    """The column that holds a part of the key in the rows of a node, perhaps converted; None where none does."""
    if isinstance(node, p.Filter) or (isinstance(node, p.Over) and not p.is_rekeyed(node)):
        return _column_of(node.input, key)
    if not isinstance(node, p.Project):
        return key
    inner = _column_of(node.input, key)
    for name, expr in node.items:
        column = expr.operand if isinstance(expr, e.Cast) else expr
        if isinstance(column, e.Column) and column.name == inner:
            return name
    return None


def _key_columns(node: p.Node, span: Span) -> tuple[str, ...] | None:
    """Names of the record key's parts: a key's output name where it is selected, else its name below."""
    parts = p.key_parts(node)
    origin = p.origin_of(node)
    if isinstance(origin, p.Union):
        _check_same_keys(origin, span)
    if parts is None:
        return None
    while isinstance(origin, p.Over) and not p.is_rekeyed(origin):
        origin = p.origin_of(origin.input)
    fixed = _BOUNDS if isinstance(origin, p.Aggregate) else ()
    names = tuple(name if name in fixed else _output_name(node, name) for name, _ in parts)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise sql_error(f"two parts of the record key would be called `{twice}`", span, "give one an alias with AS")
    return names


def _check_same_keys(union: p.Union, span: Span) -> None:
    """SqlError where the rows of a UNION have record keys of more than one shape."""
    shapes = {_key_columns(branch, span) for branch in union.branches}
    types = {None if parts is None else tuple(t for _, t in parts) for parts in map(p.key_parts, union.branches)}
    if len(shapes) > 1 or len(types) > 1:
        raise sql_error(
            "the queries of this UNION have different record keys",
            span,
            "say which it is: SELECT * FROM (… UNION ALL …) PARTITION BY a column",
        )


def _output_name(node: p.Node, key: str) -> str:
    """The name that a column of the key has in the rows of a node; its name below where it is not selected."""
    if isinstance(node, p.Filter):
        return _output_name(node.input, key)
    if isinstance(node, p.Over) and not p.is_rekeyed(node):
        return _output_name(node.input, key)
    if isinstance(node, p.Project):
        inner = _output_name(node.input, key)
        for name, expr in node.items:
            if isinstance(expr, e.Column) and expr.name == inner:
                return name
        return inner
    return key
