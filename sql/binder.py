"""Binding of statements: from syntax to the logical plan of an app. Every clause is consumed or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from headrace.sql import expressions as e
from headrace.sql import options as o
from headrace.sql import plan as p
from headrace.sql import syntax as s
from headrace.sql.bind_sinks import bind_sink, check_declared_keys, check_emission, check_topic, has_keys
from headrace.sql.bind_sources import bind_source
from headrace.sql.errors import Problem, SqlError, sql_error
from headrace.sql.functions.catalog import BUILT_IN, Functions
from headrace.sql.inserts import as_declared, bind_insert
from headrace.sql.inspection import over_span
from headrace.sql.listings import described, listed
from headrace.sql.refusals import check_limited
from headrace.sql.relations import Relation, Relations, Rows, name_key, renamed
from headrace.sql.vocabulary import Late, OnError, RelationKind

RESULT = "result"
"""The name of the sink of a bare SELECT: the terminal."""


class Binder:
    """Binds the statements of one app in order."""

    def __init__(self, defaults: Mapping[str, str], functions: Functions, taken: Mapping[str, str]) -> None:
        self._functions = functions
        self._relations = Relations(functions)
        self._settings: dict[str, str] = dict(defaults)
        self._set: dict[str, str] = {}
        self._queries: list[p.Query] = []
        self._explained: list[p.Query] = []
        self._views: list[tuple[str, p.Node]] = []
        self._inserts: list[tuple[s.InsertValues, p.Insert]] = []
        self._listings: list[p.Listing] = []
        self._taken = dict(taken)  # what topics are that no relation may write

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
                self._check_result(statement)
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
            start = options.text("start_from") or self._settings.get("start_from", "earliest")
            node = p.Scan(bind_source(statement, options, start, self._relations))
        self._relations[key] = Relation(
            statement.name.text, statement.kind, statement, node, None, quoted, statement.kind
        )

    # Queries

    def _create_as(self, statement: s.CreateAs) -> None:
        key = self._relations.new_name(statement.name)
        options = o.Options(statement.options, o.SINK_OPTIONS, "option")
        settings = self._with(options)
        rows = self._bound(statement.query, settings)
        node = rows.node
        check_emission(options, statement.query, node, self._functions)
        name = statement.name.text
        kind = statement.kind if has_keys(node) else RelationKind.STREAM  # a table without a key, as in Flink
        sink = bind_sink(name, name.lower(), kind, node, options, statement.query)
        check_topic(sink, self._relations, self._taken, statement.name.span)
        self._add_query(name, node, sink, settings)
        self._relations[key] = Relation(name, kind, None, node, sink, rows.quoted, statement.kind)

    def _check_result(self, statement: s.Query) -> None:
        """SqlError where a relation writes what bare SELECTs write; afterwards none may."""
        for relation in self._relations:
            if relation.sink is not None and relation.sink.topic == RESULT:
                hint = "a bare SELECT writes there too"
                raise sql_error(f"topic `{RESULT}` is the sink of `{relation.name}`", statement.span, hint)
        self._taken[RESULT] = "the sink of a bare SELECT"

    def _create_view(self, statement: s.CreateView) -> None:
        key = self._relations.new_name(statement.name)
        rows = renamed(self._relations.bind(statement.query, self._settings), statement.columns)
        name = statement.name.text
        self._views.append((name, rows.node))
        self._relations[key] = Relation(name, RelationKind.STREAM, None, rows.node, None, rows.quoted, None)

    def _insert_into(self, statement: s.InsertInto) -> None:
        target = self._relations.find_writable(statement.target)
        if self._relations.is_read(statement.target):
            raise sql_error(
                f"`{target.name}` is read by a query above", statement.target.span, "write it before it is read"
            )
        if target.kind is RelationKind.TABLE and target.sink is not None:
            raise sql_error(f"table `{target.name}` has a writer already", statement.target.span)
        wanted, options = _as_target(target, statement)
        settings = self._with(options)
        node = self._bound(statement.query, settings).node
        check_emission(options, statement.query, node, self._functions)
        if self._relations.is_read(statement.target):
            raise sql_error("a query cannot write what it reads", statement.span)
        node = as_declared(node, wanted, statement)
        kind, declared = target.kind, target.declared
        if declared is not None and kind is RelationKind.TABLE and not declared.primary_key:
            kind = RelationKind.STREAM
        if kind is RelationKind.TABLE and not has_keys(node):
            raise sql_error(f"table `{target.name}` has a primary key, but the query does not group", statement.span)
        sink = target.sink or bind_sink(target.name, target.name.lower(), kind, node, options, statement.query)
        if target.sink is None:
            check_topic(sink, self._relations, self._taken, statement.target.span)
        if declared is not None:
            check_declared_keys(sink, [column.name.text for column in declared.columns if column.key], node, statement)
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

    def _add_query(self, name: str, node: p.Node, sink: p.Sink, settings: Mapping[str, str]) -> None:
        names = {query.name for query in self._queries}
        unique, ordinal = name, 2
        while unique in names:
            unique, ordinal = f"{name}_{ordinal}", ordinal + 1
        self._queries.append(_query(unique, node, sink, settings))


def _as_target(target: Relation, statement: s.InsertInto) -> tuple[list[e.Column], o.Options]:
    """The columns that INSERT INTO … SELECT writes, and the options."""
    declared = target.declared
    if declared is None:
        if statement.columns is not None:
            raise sql_error("a column list needs a declared target", statement.columns[0].span)
        columns = target.node.columns if target.node is not None else ()
        wanted = [e.Column(column.name, column.type, nullable=True) for column in columns]
        return wanted, o.Options((), o.SINK_OPTIONS, "option")
    beside = next((column for column in declared.columns if column.part is not None), None)
    if beside is not None:
        raise sql_error(
            f"`{target.name}` has `{beside.name.text}`, which no value holds and a query cannot write",
            statement.target.span,
        )
    if any(column.processing_time for column in declared.columns):
        raise sql_error(f"`{target.name}` has a PROCTIME() column, which cannot be written", statement.target.span)
    wanted = [e.Column(column.name.text, column.type, not column.not_null) for column in declared.columns]
    return wanted, o.Options(declared.options, o.SOURCE_OPTIONS + o.SINK_OPTIONS, "option")


def _query(name: str, node: p.Node, sink: p.Sink, settings: Mapping[str, str]) -> p.Query:
    on_error = OnError(settings.get("on_error", OnError.DEAD_LETTER))
    return p.Query(name, node, sink, on_error, Late(settings.get("late", Late.DEAD_LETTER)))


def _terminal(node: p.Node, query: s.SelectQuery) -> p.Sink:
    return bind_sink(RESULT, RESULT, RelationKind.STREAM, node, o.Options((), o.SINK_OPTIONS, "option"), query)


def bind(
    statements: tuple[s.Statement, ...],
    defaults: Mapping[str, str] | None = None,
    functions: Functions = BUILT_IN,
    taken: Mapping[str, str] | None = None,
) -> p.LogicalPlan:
    """The logical plan of an app's statements; `defaults` are settings that SET and WITH override, `functions` those
    that it can call, `taken` says what topics are that it must not write.
    """
    return Binder(defaults or {}, functions, taken or {}).bind(statements)
