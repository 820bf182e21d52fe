"""What SHOW and DESCRIBE tell of an app: its relations, queries and topics, as tables of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.sql import plan as p
from headrace.sql.relations import Relation
from headrace.sql.vocabulary import RelationKind


def listed(subject: str, relations: Iterable[Relation], queries: Iterable[p.Query]) -> p.Listing:
    """The answer to SHOW, as far as the app has been read."""
    match subject:
        case "QUERIES":
            shown = [
                (query.name, ", ".join(_read(query)), f"{query.sink.kind} {query.sink.topic}") for query in queries
            ]
            return p.Listing("Queries", ("name", "reads", "writes"), tuple(shown))
        case "TOPICS":
            return p.Listing("Topics", ("topic", "partitions", "is"), tuple(_topics(relations, queries)))
        case "VIEWS":
            names = [(relation.name,) for relation in relations if relation.is_view]
            return p.Listing("Views", ("name",), tuple(names))
    kind = RelationKind(subject.removesuffix("S"))
    rows = [(r.name, _topic(r), _origin(r)) for r in relations if r.kind is kind and not r.is_view]
    return p.Listing(f"{kind.capitalize()}s", ("name", "topic", "is"), tuple(rows))


def described(relation: Relation) -> p.Listing:
    """The answer to DESCRIBE: the columns of a relation."""
    kind = "View" if relation.is_view else relation.kind.capitalize()
    topic = "" if relation.is_view else f", topic {_topic(relation)}"
    return p.Listing(f"{kind} {relation.name}{topic}", ("column", "type", "is"), tuple(_columns(relation)))


def _columns(relation: Relation) -> Iterator[tuple[str, ...]]:
    declared = relation.declared
    if relation.node is None and declared is not None:
        for definition in declared.columns:
            notes = [*_noted(definition.key, "key"), *_noted(definition.not_null, "NOT NULL")]
            yield definition.name.text, str(definition.type), ", ".join(notes)
        return
    assert relation.node is not None, "only a declared table has no rows to read"
    source = relation.node.source if isinstance(relation.node, p.Scan) else None
    keys = p.kept_keys(relation.node)
    if relation.sink is not None and relation.sink.key_columns is not None:
        keys = frozenset(relation.sink.key_columns)
    for column in relation.node.columns:
        notes = [*_noted(column.name in keys, "key"), *_noted(not column.nullable, "NOT NULL")]
        if source is not None and column.name == source.event_time.column:
            what = "processing time" if source.event_time.processing else "event time"
            notes.append(f"{what}, delay {source.event_time.delay_ms} ms" if source.event_time.delay_ms else what)
        yield column.name, str(column.type), ", ".join(notes)


def _noted(holds: object, note: str) -> list[str]:
    return [note] if holds else []


def _topics(relations: Iterable[Relation], queries: Iterable[p.Query]) -> Iterator[tuple[str, ...]]:
    written = {query.sink.topic: query.sink.partitions for query in queries}
    for relation in relations:
        topic = _topic(relation)
        if relation.is_view or topic in written:
            continue
        partitions = relation.node.source.partitions if isinstance(relation.node, p.Scan) else None
        yield topic, str(partitions or ""), "source"
    for topic, partitions in written.items():
        yield topic, str(partitions or ""), "sink"


def _read(query: p.Query) -> Iterator[str]:
    return iter(dict.fromkeys(scan.source.topic for scan in p.scans_of(query.node)))


def _topic(relation: Relation) -> str:
    if relation.sink is not None:
        return relation.sink.topic
    if isinstance(relation.node, p.Scan):
        return relation.node.source.topic
    return relation.name.lower()


def _origin(relation: Relation) -> str:
    if relation.declared is None:
        return "made by a query"
    return "declared" if relation.sink is None else "declared, written by a query"
