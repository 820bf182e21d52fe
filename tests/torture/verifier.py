"""Compares what sinks hold with what follows from the hits of the source: pure, no Kafka.

Losses and repeats are counted in hits: a hit whose effect is missing from a row, or is in it twice, counts once for
each sink that shows it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from tests.torture.workload import Hit, Rows, Sink

Row = Mapping[str, Any]
Key = tuple[Hashable, ...]
EXAMPLES = 5
"""Of each sink."""


@dataclass
class Findings:
    """What is not as it must be."""

    lost: int = 0
    repeated: int = 0
    wrong: int = 0
    """Rows that are neither: another sum, order or key than there can be."""
    rows: int = 0
    """Records of the sinks that were looked at."""
    examples: list[str] = field(default_factory=list)

    def note(self, where: object, what: str, lost: int = 0, repeated: int = 0, wrong: int = 0) -> None:
        self.lost += lost
        self.repeated += repeated
        self.wrong += wrong
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{where}: {what}")

    def add(self, other: Findings) -> None:
        self.lost += other.lost
        self.repeated += other.repeated
        self.wrong += other.wrong
        self.rows += other.rows
        self.examples += other.examples


def check_source(hits: Sequence[Hit], count: int) -> Findings:
    """Whether the source has each of `count` hits once, in order within each partition."""
    findings = Findings(rows=len(hits))
    for partition, ids in _ids_by_partition(hits).items():
        if ids != sorted(ids):
            findings.note(f"source partition {partition}", "hits are not in order", wrong=1)
    times = Counter(hit.id for hit in hits)
    if missing := [number for number in range(count) if number not in times]:
        findings.note("source", f"acknowledged hits are not there: {missing[:10]}", lost=len(missing))
    if doubled := [number for number, seen in times.items() if seen > 1]:
        findings.note("source", f"hits are there twice: {doubled[:10]}", repeated=len(doubled))
    return findings


def check_sink(sink: Sink, hits: Iterable[Hit], rows: Iterable[Row | None]) -> Findings:
    """Compare the rows of a sink, each key's in the order in which they were written, with the hits of the source.

    Hits of one source partition come in its order. A None among the rows is a tombstone; there is never one.
    """
    truth = _truth(sink, [hit for hit in hits if hit.amount >= sink.amount_min])
    found: dict[Key, list[Row]] = defaultdict(list)
    findings = Findings()
    for row in rows:
        findings.rows += 1
        if row is None:
            findings.note(sink.name, "a tombstone", wrong=1)
        else:
            found[tuple(row[column] for column in sink.key)].append(row)
    for key in found.keys() - truth.keys():
        findings.note((sink.name, key), "no hit has this key", wrong=len(found[key]))
    for key, expected in truth.items():
        _check_key((sink.name, key), sink.rows, expected, found.get(key, []), findings)
    return findings


def _truth(sink: Sink, hits: Iterable[Hit]) -> Mapping[Key, list[Hit]]:
    """The hits of each key."""
    truth: dict[Key, list[Hit]] = defaultdict(list)
    if sink.gap_ms is None:
        for hit in hits:
            truth[tuple(getattr(hit, column) for column in sink.key)].append(hit)
        return truth
    page: str | None = None
    key: Key = ()
    last = 0
    for hit in sorted(hits, key=lambda hit: (hit.page, hit.at)):
        if hit.page != page or hit.at >= last + sink.gap_ms:
            key = hit.page, hit.at
        page, last = hit.page, hit.at
        truth[key].append(hit)
    return truth


def _check_key(where: object, kind: Rows, hits: Sequence[Hit], rows: Sequence[Row], findings: Findings) -> None:
    match kind:
        case Rows.COPIES:
            _check_each(where, hits, [row["id"] for row in rows], findings)
        case Rows.EVERY:
            ids = [row["ids"] - before for before, row in zip((0, *(row["ids"] for row in rows)), rows, strict=False)]
            _check_each(where, hits, ids, findings)
            _check_running(where, hits, ids, rows, findings)
        case Rows.LATEST:
            _check_growing(where, hits, rows, findings)
            _check_last(where, hits, rows, findings)
        case Rows.FINAL:
            if len(rows) > 1:
                findings.note(where, f"{len(rows)} final rows: {rows}", repeated=len(hits) * (len(rows) - 1))
            _check_last(where, hits, rows, findings)
        case Rows.NUMBERED:
            _check_each(where, hits, [row["id"] for row in rows], findings, in_order=False)
            _check_numbers(where, hits, rows, findings)


def _check_each(
    where: object, hits: Sequence[Hit], ids: Sequence[int], findings: Findings, *, in_order: bool = True
) -> None:
    """Each hit once, and in order as far as the source has an order."""
    expected, seen = Counter(hit.id for hit in hits), Counter(ids)
    missing, extra = expected - seen, seen - expected
    if missing:
        findings.note(where, f"hits are missing: {sorted(missing)[:10]}", lost=missing.total())
    if extra:
        findings.note(where, f"hits are there again: {sorted(extra)[:10]}", repeated=extra.total())
    if missing or extra or not in_order:
        return
    by_id = {hit.id: hit for hit in hits}
    for partition, found in _ids_by_partition(by_id[id_] for id_ in ids).items():
        if found != sorted(found):
            findings.note(where, f"hits of partition {partition} are not in order: {found[:20]}", wrong=1)


def _check_numbers(where: object, hits: Sequence[Hit], rows: Sequence[Row], findings: Findings) -> None:
    """Rows in order of event time, source partition and offset, numbered through, each with the one before it."""
    ordered = [hit.id for hit in sorted(hits, key=lambda hit: (hit.at, hit.partition))]
    before: int | None = None
    for number, (id_, row) in enumerate(zip(ordered, rows, strict=False), start=1):
        if (row["number"], row["id"], row["before"]) != (number, id_, before):
            findings.note(where, f"row {number} is {row}, it should be of {id_} after {before}", wrong=1)
            return
        before = id_


def _check_running(
    where: object, hits: Sequence[Hit], ids: Sequence[int], rows: Sequence[Row], findings: Findings
) -> None:
    """Each row is the one before and one hit more."""
    amounts = {hit.id: hit.amount for hit in hits}
    amount = 0
    for number, (id_, row) in enumerate(zip(ids, rows, strict=True), start=1):
        amount += amounts.get(id_, 0)
        if (row["hits"], row["amount"]) != (number, amount):
            findings.note(where, f"row {number} is {row}, its amount should be {amount}", wrong=1)
            return


def _check_growing(where: object, hits: Sequence[Hit], rows: Sequence[Row], findings: Findings) -> None:
    """Rows replace older ones; where all hits come from one partition, each is the sum of the first so many."""
    for before, row in pairwise(rows):
        if row["hits"] <= before["hits"]:
            findings.note(where, f"after {before} comes {row}", repeated=max(1, before["hits"] - row["hits"]))
    if len({hit.partition for hit in hits}) > 1:
        return
    sums = list(accumulate(((hit.id, hit.amount) for hit in hits), lambda a, b: (a[0] + b[0], a[1] + b[1])))
    for row in rows:
        if 0 < row["hits"] <= len(hits) and (row["ids"], row["amount"]) != sums[row["hits"] - 1]:
            findings.note(where, f"{row} should have the sums {sums[row['hits'] - 1]}", wrong=1)


def _check_last(where: object, hits: Sequence[Hit], rows: Sequence[Row], findings: Findings) -> None:
    if not rows:
        findings.note(where, f"no row about {len(hits)} hits", lost=len(hits))
        return
    row, count = rows[-1], len(hits)
    sums = sum(hit.id for hit in hits), sum(hit.amount for hit in hits)
    if row["hits"] < count:
        findings.note(where, f"of {count} hits some are missing in {row}", lost=count - row["hits"])
    elif row["hits"] > count:
        findings.note(where, f"of {count} hits some count again in {row}", repeated=row["hits"] - count)
    elif (row["ids"], row["amount"]) != sums:
        findings.note(where, f"{row} should have the sums {sums}", wrong=1)


def _ids_by_partition(hits: Iterable[Hit]) -> dict[int, list[int]]:
    ids: dict[int, list[int]] = defaultdict(list)
    for hit in hits:
        ids[hit.partition].append(hit.id)
    return ids
