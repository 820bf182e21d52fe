"""Binding of statements: from syntax to the logical plan of an app. Every clause is consumed or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import options as o
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql import types as t
from headrace.sql.bind_formats import check_sink_key, check_source_key, check_value, value_format
from headrace.sql.errors import Problem, RecordError, Span, SqlError, did_you_mean, sql_error
from headrace.sql.functions.catalog import BUILT_IN, Functions
from headrace.sql.inserts import bind_insert
from headrace.sql.listings import described, listed
from headrace.sql.operations import cast, coerce
from headrace.sql.overs import check_limited, over_span
from headrace.sql.record_parts import TIMESTAMP_COLUMN, Part, RecordPart
from headrace.sql.relations import Relation, Relations, Rows, name_key, renamed
from headrace.sql.runtime.time_format import form_of
from headrace.sql.selects import groups_inside

RESULT = "result"
"""The name of the sink of a bare SELECT: the terminal."""


class Binder:
    """Binds the statements of one app in order."""

    def __init__(self, defaults: Mapping[str, str], functions: Functions) -> None:
        self._functions = functions
        self._relations = Relations(functions)
        self._settings: dict[str, str] = dict(defaults)
        self._set: dict[str, str] = {}
        self._queries: list[p.Query] = []
        self._explained: list[p.Query] = []
        self._views: list[tuple[str, p.Node]] = []
        self._inserts: list[tuple[s.InsertValues, p.Insert]] = []
        self._listings: list[p.Listing] = []

    def bind(self, statements: tuple[s.Statement, ...]) -> p.LogicalPlan:
        """The logical plan; SqlError with every statement's problems."""
        problems: list[Problem] = []
        for statement in statements:
            try:
                self._bind_statement(statement)
            except SqlError as error:
                problems.extend(error.problems)
        problems.extend(self._unused_options())
        problems.extend(self._unread_inserts())
        if problems:
            raise SqlError(problems)
        return p.LogicalPlan(
            tuple(self._queries),
            tuple(self._explained),
            tuple(self._views),
            tuple(self._set.items()),
            tuple(self._listings),
            tuple(insert for _, insert in self._inserts),
        )

    def _bind_statement(self, statement: s.Statement) -> None:
        self._relations.reader = RESULT
        match statement:
            case s.CreateRelation() | s.CreateAs() | s.CreateView():
                self._create(statement)
            case s.Drop():
                self._drop(statement)
            case s.Show():
                self._listings.append(listed(statement.subject, self._relations, self._queries))
            case s.Describe():
                self._listings.append(described(self._relations.find(statement.name)))
            case s.InsertInto():
                self._relations.reader = statement.target.text
                self._insert_into(statement)
            case s.InsertValues():
                self._insert_values(statement)
            case s.Query():
                node = self._bound(statement.query, self._settings).node
                sink = _terminal(node, statement.query)
                self._add_query(RESULT, node, sink, self._settings)
            case s.SetOption():
                self._set_option(statement.option)
            case s.Explain():
                node = self._bound(statement.query, self._settings).node
                sink = _terminal(node, statement.query)
                self._explained.append(_query(RESULT, node, sink, self._settings))
            case s.AssertValues() | s.AssertTombstones() | s.AssertRelation():
                raise sql_error("ASSERT is for `headrace test`", statement.span)
            case s.RunScript():
                raise sql_error("RUN SCRIPT is for `headrace test`", statement.span)

    def _create(self, statement: s.Create) -> None:
        self._relations.reader = statement.name.text
        if statement.name in self._relations:
            match statement.existing:
                case s.Existing.KEEP:
                    return
                case s.Existing.REPLACE:
                    self._remove(statement.name, "replaced")
                case s.Existing.REFUSE:
                    pass  # told where it is named
        match statement:
            case s.CreateRelation():
                self._declare(statement)
            case s.CreateAs():
                self._create_as(statement)
            case s.CreateView():
                self._create_view(statement)

    def _drop(self, statement: s.Drop) -> None:
        if statement.if_exists and statement.name not in self._relations:
            return
        relation = self._relations.find(statement.name)
        if relation.created is not statement.kind:
            what = "view" if relation.created is None else relation.created.lower()
            raise sql_error(f"`{relation.name}` is a {what}", statement.span, f"DROP {what.upper()} {relation.name}")
        self._remove(statement.name, "dropped")

    def _remove(self, name: s.Identifier, what: str) -> None:
        """Forget a relation that nothing uses, and the query that makes it."""
        relation = self._relations.find(name)
        readers = self._relations.readers(name)
        if readers:
            raise sql_error(f"`{relation.name}` cannot be {what}: `{readers[0]}` reads it", name.span)
        writers = [query for query in self._queries if query.sink is relation.sink]
        has_rows = any(name_key(statement.target) == name_key(name) for statement, _ in self._inserts)
        if len(writers) > (relation.declared is None) or has_rows:
            raise sql_error(f"`{relation.name}` cannot be {what}: INSERT INTO writes it", name.span)
        self._queries = [query for query in self._queries if query not in writers]
        self._views = [(view, node) for view, node in self._views if view != relation.name]
        self._relations.remove(name)

    def _unused_options(self) -> Iterator[Problem]:
        """Options for writing on declarations that no query writes: they would do nothing."""
        for relation in self._relations:
            if relation.declared is None or relation.sink is not None:
                continue
            for option in relation.declared.options:
                key = o.canonical(option, o.SOURCE_OPTIONS + o.SINK_OPTIONS, "option")
                if key not in o.SOURCE_OPTIONS:
                    yield Problem(f"`{option.key}` is for a sink, and no query writes `{relation.name}`", option.span)

    def _set_option(self, option: s.Option) -> None:
        key = o.canonical(option, o.SETTINGS, "setting")
        o.check_value(key, option)
        self._settings[key] = self._set[key] = option.value.lower()

    # Declarations

    def _declare(self, statement: s.CreateRelation) -> None:
        key = self._relations.new_name(statement.name)
        options = o.Options(statement.options, o.SOURCE_OPTIONS + o.SINK_OPTIONS, "option")
        if not statement.columns:
            raise sql_error(
                f"`{statement.name.text}` has no columns",
                statement.name.span,
                "`headrace infer` writes the declaration that fits a topic or a file",
            )
        seen: set[str] = set()
        for column in statement.columns:
            folded = column.name.text if column.name.quoted else column.name.text.lower()
            if folded in seen:
                raise sql_error(f"column `{column.name.text}` is declared twice", column.name.span)
            seen.add(folded)
        quoted = frozenset(c.name.text for c in statement.columns if c.name.quoted)
        node: p.Node | None = None
        if not statement.primary_key:
            node = p.Scan(self._source(statement, options))
        self._relations[key] = Relation(
            statement.name.text, statement.kind, statement, node, None, quoted, statement.kind
        )

    def _source(self, statement: s.CreateRelation, options: o.Options) -> p.Source:
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
        _check_topic_name(topic, options.entry("topic").value_span if "topic" in options else statement.name.span)
        for relation in self._relations:
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
        start = options.text("start_from") or self._settings.get("start_from", "earliest")
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

    # Queries

    def _create_as(self, statement: s.CreateAs) -> None:
        key = self._relations.new_name(statement.name)
        options = o.Options(statement.options, o.SINK_OPTIONS, "option")
        settings = self._with(options)
        rows = self._bound(statement.query, settings)
        node = rows.node
        _check_emission(options, statement.query, node, self._functions)
        name = statement.name.text
        kind = statement.kind if _has_keys(node) else s.RelationKind.STREAM  # a table without a key, as in Flink
        sink = _sink(name, name.lower(), kind, node, options, statement.query)
        self._check_topic(sink, statement.name.span)
        self._add_query(name, node, sink, settings)
        self._relations[key] = Relation(name, kind, None, node, sink, rows.quoted, statement.kind)

    def _create_view(self, statement: s.CreateView) -> None:
        key = self._relations.new_name(statement.name)
        rows = renamed(self._relations.bind(statement.query, self._settings), statement.columns)
        name = statement.name.text
        self._views.append((name, rows.node))
        self._relations[key] = Relation(name, s.RelationKind.STREAM, None, rows.node, None, rows.quoted, None)

    def _insert_into(self, statement: s.InsertInto) -> None:
        target = self._relations.find_writable(statement.target)
        if self._relations.is_read(statement.target):
            raise sql_error(
                f"`{target.name}` is read by a query above", statement.target.span, "write it before it is read"
            )
        declared = target.declared
        if target.kind is s.RelationKind.TABLE and target.sink is not None:
            raise sql_error(f"table `{target.name}` has a writer already", statement.target.span)
        if declared is None:
            columns = target.node.columns if target.node is not None else ()
            wanted = [(column.name, column.type, False) for column in columns]
            if statement.columns is not None:
                raise sql_error("a column list needs a declared target", statement.columns[0].span)
            options = o.Options((), o.SINK_OPTIONS, "option")
        else:
            beside = next((column for column in declared.columns if column.part is not None), None)
            if beside is not None:
                raise sql_error(
                    f"`{target.name}` has `{beside.name.text}`, which no value holds and a query cannot write",
                    statement.target.span,
                )
            if any(column.processing_time for column in declared.columns):
                raise sql_error(
                    f"`{target.name}` has a PROCTIME() column, which cannot be written", statement.target.span
                )
            wanted = [(c.name.text, c.type, c.not_null) for c in declared.columns]
            options = o.Options(declared.options, o.SOURCE_OPTIONS + o.SINK_OPTIONS, "option")
        settings = self._with(options)
        node = self._bound(statement.query, settings).node
        _check_emission(options, statement.query, node, self._functions)
        if self._relations.is_read(statement.target):
            raise sql_error("a query cannot write what it reads", statement.span)
        node = _as_declared(node, wanted, statement)
        kind = target.kind
        if declared is not None and kind is s.RelationKind.TABLE and not declared.primary_key:
            kind = s.RelationKind.STREAM
        if kind is s.RelationKind.TABLE and not _has_keys(node):
            raise sql_error(f"table `{target.name}` has a primary key, but the query does not group", statement.span)
        sink = target.sink or _sink(target.name, target.name.lower(), kind, node, options, statement.query)
        if target.sink is None:
            self._check_topic(sink, statement.target.span)
        self._add_query(target.name, node, sink, settings)
        reader = node if target.sink is None else None
        self._relations[name_key(statement.target)] = replace(target, node=reader, sink=sink)

    def _insert_values(self, statement: s.InsertValues) -> None:
        target = self._relations.find_writable(statement.target)
        if target.declared is None or target.sink is not None:
            raise sql_error(
                f"`{target.name}` is written by a query: INSERT INTO … VALUES is for declared sources",
                statement.target.span,
            )
        if not isinstance(target.node, p.Scan):
            raise sql_error("reading a table with a primary key is not supported yet", statement.target.span)
        self._inserts.append((statement, bind_insert(statement, target.node.source)))

    def _unread_inserts(self) -> Iterator[Problem]:
        """Rows for a relation that no query reads: they would do nothing."""
        for statement, _ in self._inserts:
            if not self._relations.is_read(statement.target):
                yield Problem(f"no query reads `{statement.target.text}`", statement.target.span)

    def _bound(self, query: s.SelectQuery, settings: Mapping[str, str]) -> Rows:
        rows = self._relations.bind(query, settings)
        check_limited(rows.node, over_span(s.selects_of(query)[0]))
        return rows

    def _with(self, options: o.Options) -> dict[str, str]:
        """Settings as a query sees them: WITH before SET before the app's defaults."""
        own = {key: value for key in o.SETTINGS if (value := options.word(key)) is not None}
        return {**self._settings, **own}

    def _check_topic(self, sink: p.Sink, span: Span) -> None:
        _check_topic_name(sink.topic, span)
        for relation in self._relations:
            if relation.sink is not None and relation.sink.topic == sink.topic:
                raise sql_error(f"topic `{sink.topic}` is the sink of `{relation.name}`", span)
            reads = isinstance(relation.node, p.Scan) and relation.node.source.topic == sink.topic
            if reads and relation.name.lower() != sink.name.lower():
                raise sql_error(f"topic `{sink.topic}` is read by `{relation.name}`", span)

    def _add_query(self, name: str, node: p.Node, sink: p.Sink, settings: Mapping[str, str]) -> None:
        names = {query.name for query in self._queries}
        unique, ordinal = name, 2
        while unique in names:
            unique, ordinal = f"{name}_{ordinal}", ordinal + 1
        self._queries.append(_query(unique, node, sink, settings))


def _has_keys(node: p.Node) -> bool:
    """Whether the record key tells rows apart: those of one key replace each other."""
    is_unnested = any(isinstance(below, p.Unnest) for below in p.walk_rows(node))
    return isinstance(p.origin_of(node), (p.Aggregate, p.TopN)) and not is_unnested


def _check_emission(options: o.Options, query: s.SelectQuery, node: p.Node, functions: Functions) -> None:
    """Options of the query's own that do not go with it. What was SET is for the queries that it fits."""
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
    if aggregate.emit is s.Emit.FINAL:
        raise sql_error("`ttl` does not go with EMIT FINAL: what ends before the run does would never be seen", span)


def _check_topic_name(topic: str, span: Span) -> None:
    """Kafka's rule for the names of topics."""
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic) or topic in (".", ".."):
        raise sql_error(f"`{topic}` cannot be a topic", span, "its name has letters, digits, `.`, `_` and `-`")


def _event_time(statement: s.CreateRelation, options: o.Options) -> p.EventTime:
    """The declared event time: WATERMARK FOR or the option `timestamp`, else the Kafka timestamp."""
    text = options.text("timestamp_format")
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
        try:
            form_of(text)
        except RecordError as error:
            raise sql_error(str(error), options.entry("timestamp_format").value_span) from None
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


def _query(name: str, node: p.Node, sink: p.Sink, settings: Mapping[str, str]) -> p.Query:
    on_error = p.OnError(settings.get("on_error", p.OnError.DEAD_LETTER))
    return p.Query(name, node, sink, on_error, p.Late(settings.get("late", p.Late.DEAD_LETTER)))


def _terminal(node: p.Node, query: s.SelectQuery) -> p.Sink:
    return _sink(RESULT, RESULT, s.RelationKind.STREAM, node, o.Options((), o.SINK_OPTIONS, "option"), query)


def _sink(
    name: str, topic: str, kind: s.RelationKind, node: p.Node, options: o.Options, query: s.SelectQuery
) -> p.Sink:
    text = options.text("timestamp_format")
    if text is not None:
        try:
            form_of(text)
        except RecordError as error:
            raise sql_error(str(error), options.entry("timestamp_format").value_span) from None
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
    fixed = (p.WINDOW_START, p.WINDOW_END) if isinstance(origin, p.Aggregate) else ()
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


def _as_declared(node: p.Node, wanted: list[tuple[str, t.Type, bool]], statement: s.InsertInto) -> p.Node:
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
            targets.append(found)
        if len(given) != len(targets):
            raise sql_error(f"{len(targets)} columns are named, the query has {len(given)}", statement.query.span)
    values = dict(zip(targets, given, strict=True))
    items: list[tuple[str, e.Expr]] = []
    for name, type_, not_null in wanted:
        column: e.Expr = values.get(name, e.Literal(None, type_))
        if not_null and column.nullable:
            raise sql_error(f"column `{name}` is NOT NULL, the query may give NULL", statement.query.span)
        items.append((name, cast(coerce(column, column.type, statement.span), type_, statement.query.span)))
    return p.Project(node, tuple(items))


def bind(
    statements: tuple[s.Statement, ...], defaults: Mapping[str, str] | None = None, functions: Functions = BUILT_IN
) -> p.LogicalPlan:
    """The logical plan of an app's statements; `defaults` are settings that SET and WITH override, `functions` those
    that it can call.
    """
    return Binder(defaults or {}, functions).bind(statements)
