"""The streams and tables of all jobs, as a question about them needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from headrace.app.application import App
from headrace.app.server.jobs import Job
from headrace.sql.errors import did_you_mean
from headrace.sql.formats import FormatName
from headrace.sql.physical import SourceInput
from headrace.sql.plan import Query, Source, key_parts, value_columns
from headrace.sql.types import Kind
from headrace.sql.vocabulary import RelationKind


@dataclass(frozen=True, slots=True)
class Relation:
    """A stream or table, and the topic that holds its rows."""

    name: str
    kind: RelationKind
    topic: str
    job: str
    columns: tuple[tuple[str, str], ...]
    """Names and types of what the values of its records hold."""
    keys: tuple[str, ...]
    """Columns of the record key of a table; none where it is that of the input."""
    is_json_key: bool
    unreadable: str | None
    """Why it cannot be asked; None where it can."""

    @property
    def declaration(self) -> str:
        """A statement that reads its topic."""
        columns = ", ".join(f"{_quoted(name)} {type_}" for name, type_ in self.columns)
        return f"CREATE STREAM {_quoted(self.name)} ({columns}) WITH (topic = {_text(self.topic)});\n"

    def key_of(self, text: str) -> bytes:
        """A key as a record has it; what a user writes for several columns is a JSON object of them, in any order."""
        if not self.is_json_key:
            return text.encode()
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValueError(f"the key of {self.name} is JSON: {self._example()}") from None
        if isinstance(value, dict):
            if value.keys() != set(self.keys):
                raise ValueError(f"the key of {self.name} has the columns {', '.join(self.keys)}: {self._example()}")
            value = {name: value[name] for name in self.keys}
        return orjson.dumps(value)

    def _example(self) -> str:
        return orjson.dumps(dict.fromkeys(self.keys, "…")).decode() if len(self.keys) > 1 else '"…"'


def relations(jobs: Iterable[tuple[Job, App]]) -> Iterator[Relation]:
    """What the jobs write, then what they read."""
    listed = list(jobs)
    for job, app in listed:
        written = {query.sink.name: query for query in app.logical.queries}
        for query in written.values():
            yield _of_sink(job, query)
    for job, app in listed:
        for stage in app.plan(job.record.mode).stages:
            if isinstance(stage.input, SourceInput):
                yield _of_source(job, stage.input.source)


class NoSuchRelation(Exception):  # noqa: N818
    """There is no stream or table of that name, or several."""


def find(listed: Iterable[Relation], name: str) -> Relation:
    """The relation of a name, `counts` or `job.counts`, without regard to case. Raises NoSuchRelation."""
    known = list(listed)
    wanted = name.lower()
    found = {r.topic: r for r in reversed(known) if wanted in (r.name.lower(), f"{r.job}.{r.name}".lower())}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise NoSuchRelation(
            f"several jobs have a `{name}`: {', '.join(sorted(f'{r.job}.{r.name}' for r in found.values()))}"
        )
    hint = did_you_mean(name, [relation.name for relation in known])
    raise NoSuchRelation(f"there is no stream or table `{name}`{f'; {hint}' if hint else ''}")


def _of_sink(job: Job, query: Query) -> Relation:
    sink = query.sink
    columns = tuple(
        (column.name, "VARCHAR" if column.type.kind is Kind.TIMESTAMP and sink.timestamp_format else str(column.type))
        for column in value_columns(query.node, sink)
    )
    parts = key_parts(query.node)
    keys = sink.key_columns or tuple(name for name, _ in parts or ())
    is_json = sink.key_format == "json" or len(keys) > 1
    unreadable = None if sink.value_format.name is FormatName.JSON else f"its values are {sink.value_format.name}"
    return Relation(sink.name, sink.kind, sink.topic, job.name, columns, keys, is_json, unreadable)


def _of_source(job: Job, source: Source) -> Relation:
    in_value = [column for column in source.columns if column.part is None and not column.key]
    columns = tuple((column.name, str(column.column.type)) for column in in_value)
    unreadable = None if source.value_format.name is FormatName.JSON else f"its values are {source.value_format.name}"
    return Relation(source.name, RelationKind.STREAM, source.topic, job.name, columns, (), False, unreadable)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
