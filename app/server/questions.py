"""Questions in SQL to the streams and tables of all jobs: answered at once from a table, or on and on from a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from headrace.app.application import App
from headrace.app.inputs import SourceRecord
from headrace.app.local import DeadLetter, LocalCluster
from headrace.app.server.relations import Relation
from headrace.app.server.views import Contents
from headrace.sql.binder import RESULT
from headrace.sql.errors import Span, SqlError
from headrace.sql.physical import Mode
from headrace.sql.vocabulary import RelationKind

FILE = "query"


class Unanswerable(Exception):  # noqa: N818
    """The question cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """A SELECT over the rows of one relation."""

    app: App
    relation: Relation

    def over(self, records: Iterable[SourceRecord]) -> Answer:
        """The result over these records and no others."""
        cluster = LocalCluster(self.app, Mode.SINGLE, 1, None)
        cluster.feed(iter(records))
        cluster.finish()
        result = cluster.result()
        changes = [record.raw_value for record in result.records]
        if any(stage.stateful for stage in self.app.plan(Mode.SINGLE).stages):
            # Groups tell each of their changes: the last one is what they are.
            changes = list({record.raw_key: record.raw_value for record in result.records}.values())
        return Answer([row for row in changes if row is not None], result.dead_letters)


@dataclass(frozen=True, slots=True)
class Answer:
    rows: Sequence[bytes]
    """JSON objects."""
    unread: Sequence[DeadLetter]
    """Records that could not be read."""


def ask(sql: str, relations: Sequence[Relation], *, endless: bool) -> Question:
    """Compile a question. Unanswerable with the reason; `endless`: it is to be answered on and on."""
    named: dict[str, dict[str, Relation]] = {}
    for relation in relations:
        named.setdefault(relation.name.lower(), {}).setdefault(relation.topic, relation)
    # Of a name that several jobs have for different topics, nobody knows which one is meant.
    declared = [next(iter(same.values())) for same in named.values() if len(same) == 1]
    readable = [relation for relation in declared if relation.unreadable is None and relation.columns]
    prefix = "".join(relation.declaration for relation in readable)
    try:
        app = App(prefix + sql, "query", file=FILE)
    except SqlError as error:
        raise Unanswerable(_explained(error, prefix)) from error
    if len(app.logical.queries) != 1 or app.logical.queries[0].sink.name != RESULT or app.logical.inserts:
        raise Unanswerable("a question is one SELECT")
    topics = app.source_topics()
    if len(topics) != 1:
        raise Unanswerable("a question reads one table or stream")
    relation = next(each for each in readable if each.topic == topics[0])
    if endless:
        if any(stage.stateful for stage in app.plan(Mode.SINGLE).stages):
            raise Unanswerable("what is answered on and on cannot keep state: deploy a job for it")
    elif relation.kind is not RelationKind.TABLE:
        raise Unanswerable(
            f"`{relation.name}` is a stream, which has no end: ask for server-sent events (Accept: text/event-stream)"
        )
    return Question(app, relation)


def _explained(error: SqlError, prefix: str) -> str:
    """The error, with places in the user's text and not in ours."""
    own = []
    for problem in error.problems:
        span = problem.span
        if span is not None:
            start = span.start - len(prefix)
            span = Span(start, span.end - len(prefix)) if start >= 0 else None
        own.append(replace(problem, span=span))
    return str(SqlError(own, error.text[len(prefix) :], FILE))


def records_of(contents: Contents, topic: str) -> Iterator[SourceRecord]:
    """The rows of a table as records of its topic."""
    for key, row in contents.rows.items():
        yield SourceRecord(topic, key, row.value, row.timestamp_ms, 0, (), None)
