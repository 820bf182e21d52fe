"""The verifier accepts what the engine makes of hits, and finds each kind of damage in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from tests.integration.sql_app import contents, written_locally
from tests.torture.verifier import Findings, check_sink, check_source
from tests.torture.workload import PLANS, Hit, Plan, Rows, Sink, hit

from headrace.app.application import App
from headrace.app.local import LocalResult

PAGES = 7
COUNT = 6_000
HITS = [hit(number, PAGES) for number in range(COUNT)]
PAGE = HITS[0].page
WHERE = {
    Rows.COPIES: Sink("copies", Rows.COPIES, ("page",)),
    Rows.EVERY: Sink("changes", Rows.EVERY, ("page",)),
    Rows.LATEST: Sink("latest", Rows.LATEST, ("page",)),
    Rows.FINAL: Sink("windows", Rows.FINAL, ("page", "window_start")),
    Rows.NUMBERED: Sink("numbered", Rows.NUMBERED, ("page",)),
}
Row = dict[str, Any]


def local_rows(plan: Plan, mode: str) -> dict[str, list[Row]]:
    """Rows of each sink as `headrace local` makes them."""
    records = [
        {
            "topic": "t-in",
            "partition": each.partition,
            "key": each.page.encode(),
            "value": orjson.dumps(each._asdict()),
            "timestamp": each.at,
        }
        for each in HITS
    ]
    result = App(plan.sql.replace("{name}", "t"), "t").local(records=records, mode=mode, partitions=4)
    return {sink.name: [orjson.loads(value or b"") for value in values_of(sink, result)] for sink in plan.sinks}


def values_of(sink: Sink, result: LocalResult) -> Iterable[bytes | None]:
    written = written_locally(result, f"t-{sink.name}")
    return [value for value, _ in contents(written).values()] if sink.is_table else [value for _, value, _ in written]


@pytest.mark.parametrize("mode", ["single", "partitioned"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_rows_of_an_undisturbed_run_are_accepted(plan: Plan, mode: str) -> None:
    rows = local_rows(plan, mode)
    for sink in plan.sinks:
        findings = check_sink(sink, HITS, rows[sink.name])
        assert findings == Findings(rows=len(rows[sink.name]))
        assert findings.rows > 0


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_any_lost_or_doubled_row_that_shows_is_found(plan: Plan) -> None:
    for sink, rows in zip(plan.sinks, local_rows(plan, "partitioned").values(), strict=True):
        doubled = check_sink(sink, HITS, [*rows, rows[-1]])
        assert (doubled.lost, doubled.repeated > 0) == (0, True), sink
        lost = check_sink(sink, HITS, rows[:-1])
        assert (lost.lost > 0, lost.repeated) == (True, 0), sink


def small(kind: Rows) -> tuple[list[Hit], list[Row]]:
    """Hits of one page, and the rows of a sink about them, written out by hand."""
    hits = [each for each in HITS if each.page == PAGE][:6]
    rows: list[Row] = []
    for number, each in enumerate(hits, start=1):
        so_far = hits[:number]
        sums = {
            "hits": number,
            "ids": sum(past.id for past in so_far),
            "amount": sum(past.amount for past in so_far),
        }
        rows.append(
            {"page": PAGE, "id": each.id, "amount": each.amount} if kind is Rows.COPIES else {"page": PAGE, **sums}
        )
    if kind is Rows.FINAL:
        start = hits[0].window_start
        hits = [each._replace(at=start) for each in hits]
        rows = [{**rows[-1], "window_start": start}]
    if kind is Rows.NUMBERED:
        ids = [each.id for each in sorted(hits, key=lambda each: each.at)]
        rows = [
            {"page": PAGE, "id": id_, "number": number, "before": before}
            for number, (id_, before) in enumerate(zip(ids, [None, *ids], strict=False), start=1)
        ]
    return hits, rows


@pytest.mark.parametrize("kind", Rows)
def test_right_rows_are_accepted(kind: Rows) -> None:
    hits, rows = small(kind)
    assert check_sink(WHERE[kind], hits, rows) == Findings(rows=len(rows))


Damage = Callable[[list[Row]], Iterable[Row | None]]


def swapped(rows: list[Row]) -> list[Row]:
    return [rows[1], rows[0], *rows[2:]]


def with_last(**columns: Any) -> Damage:
    return lambda rows: [*rows[:-1], {**rows[-1], **columns}]


def with_one_more_hit(rows: list[Row]) -> list[Row]:
    return [*rows[:-1], {**rows[-1], "hits": rows[-1]["hits"] + 1}]


@pytest.mark.parametrize(
    ("kind", "damage", "lost", "repeated", "wrong"),
    [
        (Rows.COPIES, lambda rows: rows[1:], 1, 0, 0),
        (Rows.COPIES, lambda rows: [*rows, rows[0]], 0, 1, 0),
        (Rows.COPIES, swapped, 0, 0, 1),
        (Rows.EVERY, lambda _: [], 6, 0, 0),
        (Rows.EVERY, lambda rows: rows[:-1], 1, 0, 0),
        (Rows.EVERY, with_last(amount=-1), 0, 0, 1),
        (Rows.EVERY, with_last(hits=7), 0, 0, 1),
        (Rows.LATEST, lambda rows: rows[:-2], 2, 0, 0),
        (Rows.LATEST, lambda rows: [*rows, rows[-1]], 0, 1, 0),
        (Rows.LATEST, with_one_more_hit, 0, 1, 0),
        (Rows.LATEST, with_last(ids=0), 0, 0, 2),  # as the last row, and as the sum of the first six
        (Rows.LATEST, lambda rows: [{**rows[0], "amount": -1}, *rows[1:]], 0, 0, 1),
        (Rows.FINAL, lambda _: [], 6, 0, 0),
        (Rows.FINAL, lambda rows: [*rows, *rows], 0, 6, 0),
        (Rows.FINAL, with_last(hits=4), 2, 0, 0),
        (Rows.FINAL, with_one_more_hit, 0, 1, 0),
        (Rows.FINAL, with_last(amount=0), 0, 0, 1),
        (Rows.FINAL, lambda rows: [None, *rows], 0, 0, 1),
        (Rows.FINAL, lambda rows: [{**rows[0], "page": "none"}, *rows], 0, 0, 1),
        (Rows.NUMBERED, lambda rows: rows[:-1], 1, 0, 0),
        (Rows.NUMBERED, lambda rows: [*rows, rows[-1]], 0, 1, 0),
        (Rows.NUMBERED, swapped, 0, 0, 1),
        (Rows.NUMBERED, with_last(before=None), 0, 0, 1),
    ],
)
def test_damage_is_told_apart(kind: Rows, damage: Damage, lost: int, repeated: int, wrong: int) -> None:
    hits, rows = small(kind)
    findings = check_sink(WHERE[kind], hits, damage(rows))
    assert (findings.lost, findings.repeated, findings.wrong) == (lost, repeated, wrong)
    assert findings.examples


def test_session_that_ends_too_early_is_told() -> None:
    sink = Sink("sessions", Rows.FINAL, ("page", "window_start"), gap_ms=10)
    hits = [HITS[0]._replace(id=number, amount=1, at=at) for number, at in enumerate((100, 105, 114, 124))]
    rows: list[Row] = [
        {"page": PAGE, "window_start": 100, "hits": 3, "ids": 3, "amount": 3},
        {"page": PAGE, "window_start": 124, "hits": 1, "ids": 3, "amount": 1},
    ]
    assert check_sink(sink, hits, rows) == Findings(rows=2)
    assert check_sink(sink, hits, [{**rows[0], "hits": 2, "ids": 1, "amount": 2}, rows[1]]).lost == 1
    assert check_sink(sink, hits, [*rows, {**rows[0], "window_start": 114}]).wrong == 1


def test_source_that_is_not_what_was_acknowledged_is_told() -> None:
    assert check_source(HITS, COUNT) == Findings(rows=COUNT)
    assert check_source(HITS[1:], COUNT).lost == 1
    assert check_source([*HITS, HITS[-1]], COUNT).repeated == 1
    assert check_source(HITS[::-1], COUNT).wrong > 0
