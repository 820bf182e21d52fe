"""The part of the HTTP API that asks streams and tables."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

import orjson
from aiohttp import web
from confluent_kafka import Message

from headrace.app.clients import raw
from headrace.app.errors import OutsideError
from headrace.app.http import HEADERS
from headrace.app.inputs import SourceRecord
from headrace.app.server import documents as d
from headrace.app.server.endpoints import JSON, Answer, Endpoint, Handler, HttpProblem, answer, read_body, read_query
from headrace.app.server.push import listening
from headrace.app.server.questions import Question, ask, records_of
from headrace.app.server.relations import Relation, find, relations
from headrace.app.server.server import JobServer
from headrace.app.server.views import Contents, Views
from headrace.sql.vocabulary import RelationKind

EVENTS = "text/event-stream"
LISTENERS_MAX = 64
LISTENER_S = 30.0
"""How long a listener may take to read what it is sent."""


class TableApi:
    """The handlers. What they raise, `guard.py` makes problem documents of."""

    def __init__(self, server: JobServer) -> None:
        self._server = server
        self._views = Views(server.settings)
        self._listeners = 0
        self.endpoints = (
            Endpoint(
                "GET", "/relations", "List streams and tables", self.list_relations, {200: (d.RelationList,)}, (503,)
            ),
            self._of_relation("/tables/{name}", "Rows of a table", self.get_table, {200: (d.Rows,)}, d.Limit),
            self._of_relation(
                "/tables/{name}/{key}", "The row of a key", self.get_row, {200: (d.Rows,)}, None, {"key": ".+"}
            ),
            self._of_relation("/streams/{name}", "Rows as they come", self.get_stream, {200: (EVENTS,)}, None),
            Endpoint(
                "POST",
                "/query",
                "Ask a table; or a stream, as server-sent events",
                self.query,
                {200: (d.Rows, EVENTS)},
                (404, 503),
                body=d.QueryText,
            ),
        )

    @staticmethod
    def _of_relation(
        path: str,
        summary: str,
        handler: Handler,
        answers: Mapping[int, Answer],
        query: type[d.Strict] | None,
        patterns: Mapping[str, str] | None = None,
    ) -> Endpoint:
        named = {"name": "^[^/]+$", **(patterns or {})}
        return Endpoint("GET", path, summary, handler, answers, (404, 422, 503), query, path_patterns=named)

    def close(self) -> None:
        """Ends what is being read for answers."""
        self._views.close()

    async def list_relations(self, _request: web.Request) -> web.Response:
        return answer(d.RelationList(relations=[_described(each) for each in self._relations()]))

    async def get_table(self, request: web.Request) -> web.Response:
        options = read_query(request, d.Limit)
        table = self._table(request)

        def rows(contents: Contents) -> web.Response:
            values = [row.value for row in islice(contents.rows.values(), options.limit)]
            return _rows(values, contents, total=len(contents.rows))

        return await self._views.ask(table.topic, rows)

    async def get_row(self, request: web.Request) -> web.Response:
        table = self._table(request)
        try:
            key = table.key_of(request.match_info["key"])
        except ValueError as error:
            raise HttpProblem(422, str(error)) from None

        def row(contents: Contents) -> web.Response:
            found = contents.rows.get(key)
            if found is None:
                raise HttpProblem(404, f"table `{table.name}` has no row with this key")
            return _rows([found.value], contents, total=1)

        return await self._views.ask(table.topic, row)

    async def query(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, d.QueryText)
        known = [each for each in self._relations() if body.job in (None, each.job)]
        if EVENTS in request.headers.get("Accept", ""):
            question = await asyncio.to_thread(partial(ask, body.sql, known, endless=True))
            return await self._stream(request, question.relation, question)
        question = await asyncio.to_thread(partial(ask, body.sql, known, endless=False))

        def answered(contents: Contents) -> web.Response:
            result = question.over(records_of(contents, question.relation.topic))
            if result.unread:
                raise HttpProblem(422, f"a row cannot be read: {result.unread[0].message}")
            return _rows(result.rows[: body.limit], contents, total=len(result.rows))

        return await self._views.ask(question.relation.topic, answered)

    async def get_stream(self, request: web.Request) -> web.StreamResponse:
        relation = find(self._relations(), request.match_info["name"])
        return await self._stream(request, relation, None)

    async def _stream(self, request: web.Request, relation: Relation, question: Question | None) -> web.StreamResponse:
        """Server-sent events: a row as JSON, or `deleted` with the key of a tombstone.

        Ends when nobody listens, or with `error` and the reason where the topic cannot be read any more.
        """
        if self._listeners >= LISTENERS_MAX:
            raise HttpProblem(429, f"{LISTENERS_MAX} listeners are there already")
        self._listeners += 1
        try:
            async with listening(self._server.settings, relation.topic) as batches:
                response = web.StreamResponse(headers={"Content-Type": EVENTS, **HEADERS})
                await response.prepare(request)
                await response.write(b": listening\n\n")
                try:
                    async for messages in batches:
                        rows = await asyncio.to_thread(_events, messages, relation, question)
                        # A comment where nothing came: how else would a listener that is gone be found out?
                        async with asyncio.timeout(LISTENER_S):
                            await response.write(b"".join(rows) or b": still here\n\n")
                except OutsideError as error:
                    await response.write(b"event: error\ndata: %s\n\n" % orjson.dumps(str(error)))
        except ConnectionResetError:
            pass  # nobody listens any more
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # nobody reads any more
        finally:
            self._listeners -= 1
        return response

    def _relations(self) -> list[Relation]:
        return list(relations((job, self._server.working_app(job.name)) for job in self._server.known()))

    def _table(self, request: web.Request) -> Relation:
        relation = find(self._relations(), request.match_info["name"])
        if relation.kind is not RelationKind.TABLE:
            raise HttpProblem(404, f"`{relation.name}` is a stream: GET /streams/{relation.name} tells its rows")
        if relation.unreadable is not None:
            raise HttpProblem(422, f"`{relation.name}` cannot be asked: {relation.unreadable}")
        return relation


def _rows(values: Sequence[bytes], contents: Contents, total: int) -> web.Response:
    """Rows as they are in Kafka, byte for byte: every digit is kept."""
    for value in values:
        try:
            orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise HttpProblem(422, f"a row cannot be read: its value is not JSON: {error}") from None
    document = {
        "rows": [orjson.Fragment(value) for value in values],
        "total": total,
        "read_ms": contents.read_ms,
        "newest_ms": contents.newest_ms,
    }
    return web.Response(body=orjson.dumps(document), content_type=JSON)


def _events(messages: Sequence[Message], relation: Relation, question: Question | None) -> list[bytes]:
    records = [SourceRecord(relation.topic, *raw(message), 0, (), None) for message in messages]
    if question is not None:
        return [b"data: %s\n\n" % row for row in question.over(records).rows]
    events = []
    for record in records:
        if record.value is None:
            events.append(b"event: deleted\ndata: %s\n\n" % orjson.dumps((record.key or b"").decode(errors="replace")))
        else:
            events.append(b"data: %s\n\n" % b" ".join(record.value.splitlines()))
    return events


def _described(relation: Relation) -> d.RelationDocument:
    return d.RelationDocument(
        name=relation.name,
        kind=relation.kind,
        topic=relation.topic,
        job=relation.job,
        columns=[d.ColumnDocument(name=name, type=type_) for name, type_ in relation.columns],
        keys=list(relation.keys),
    )
