"""The spans of a worker, and the lines of the log that belong to them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator, Sequence
from typing import cast

import pytest
import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from tests.unit.batches import batch_of

from headrace.agents.commit import Committer
from headrace.agents.delivery import Delivery, TaskCut
from headrace.agents.membership import Membership
from headrace.agents.open_task import OpenTask
from headrace.agents.task import Task
from headrace.app.logging import configure_logging
from headrace.app.settings import LogFormat, LogLevel
from headrace.app.telemetry import Telemetry
from headrace.app.traces import LINKS_MAX, LOOKED_AT, add_ids
from headrace.app.worker import log_processors
from headrace.sql.runtime.records import Cut, Headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Watched:
    """Telemetry whose spans stay here."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.telemetry = Telemetry("shop", Resource({}), [], self._exporter)

    def process(self, *headers: Headers) -> None:
        with self.telemetry.processing("totals-0", batch_of(headers)):
            pass

    def commit(self) -> None:
        with self.telemetry.committing():
            pass

    def spans(self) -> Sequence[ReadableSpan]:
        self.telemetry.close()
        return self._exporter.get_finished_spans()


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def all_watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Every batch is sampled."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    return Watched()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, LogLevel.INFO, stream, [add_ids])
    yield stream
    structlog.reset_defaults()


def traced(trace_id: int, flags: str = "01") -> Headers:
    return [("traceparent", f"00-{trace_id:032x}-{trace_id:016x}-{flags}".encode())]


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.trace_id for link in span.links]


def test_batch_is_a_span_of_its_producers_trace_and_a_commit_names_its_batches(watched: Watched) -> None:
    headers: Headers = [("other", None), ("traceparent", PARENT.encode())]
    watched.process(headers)
    watched.telemetry.failed()  # that batch comes again
    watched.process(headers, (), ())
    watched.commit()
    watched.commit()  # of batches that were not sampled
    _, joined, commit = watched.spans()
    assert joined.parent is not None
    assert f"{joined.parent.trace_id:032x}-{joined.parent.span_id:016x}" == PARENT[3:-3]
    assert joined.name == "process trades"
    assert joined.attributes is not None
    assert joined.attributes["messaging.batch.message_count"] == 3
    assert joined.attributes["messaging.destination.partition.id"] == "3"
    assert commit.name == "commit"
    assert commit.parent == joined.context
    assert [link.context for link in commit.links] == [joined.context]
    assert (joined.end_time or 0) <= (commit.start_time or 0) <= (commit.end_time or 0)


def test_batch_names_the_other_traces_that_wrote_it(watched: Watched) -> None:
    watched.process(traced(1), traced(2), (), traced(1), traced(3, "00"), traced(2), [("traceparent", b"?")], traced(4))
    (span,) = watched.spans()
    assert span.context is not None
    assert span.context.trace_id == 1
    assert linked(span) == [2, 4]


def test_batch_names_so_many_traces_and_looks_at_so_many_records(watched: Watched) -> None:
    watched.process(*(traced(1 + n) for n in range(1_000)))
    (span,) = watched.spans()
    step = -(-1_000 // LOOKED_AT)
    assert linked(span) == [1 + n * step for n in range(1, LINKS_MAX + 1)]


def test_batches_are_looked_at_for_other_traces_ten_times_a_second_at_most(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in (100.0, 100.05, 100.1):
        monkeypatch.setattr("headrace.app.traces.time.monotonic", lambda at=at: at)
        watched.process(traced(1), traced(2))
    assert list(map(linked, watched.spans())) == [[2], [], [2]]


def test_header_that_is_no_trace_begins_one(all_watched: Watched) -> None:
    all_watched.process([("traceparent", b"nonsense")])
    (own,) = all_watched.spans()
    assert own.parent is None


def test_one_in_twenty_batches_is_sampled(watched: Watched) -> None:
    for _ in range(2_000):
        watched.process(())
    assert 40 < len(watched.spans()) < 200


def test_producer_that_did_not_sample_is_followed(watched: Watched) -> None:
    watched.process(traced(1, "00"), traced(2))
    assert watched.spans() == ()


def test_span_of_what_went_wrong_says_so(watched: Watched) -> None:
    watched.process(traced(1))
    with pytest.raises(ArithmeticError), watched.telemetry.processing("totals-0", batch_of([traced(2)])):
        raise ArithmeticError("no such number")
    with pytest.raises(OSError, match="gone"), watched.telemetry.committing():
        raise OSError("gone")
    _, batch, commit = watched.spans()
    assert (batch.status.status_code, batch.status.description) == (StatusCode.ERROR, "ArithmeticError: no such number")
    assert commit.status.status_code is StatusCode.ERROR
    assert linked(commit) == [1]  # what failed is in no commit


def test_line_of_the_log_names_its_span(all_watched: Watched, logged: io.StringIO) -> None:
    log = structlog.get_logger("headrace.test")
    with all_watched.telemetry.processing("totals-0", batch_of([traced(1)])):
        log.warning("within a batch")
    log.warning("outside")
    batch, *_ = all_watched.spans()
    within, outside = map(json.loads, logged.getvalue().splitlines())
    assert batch.context is not None
    assert (within["trace_id"], within["span_id"]) == (f"{1:032x}", f"{batch.context.span_id:016x}")
    assert {"trace_id", "span_id"}.isdisjoint(outside)


class Talking:
    """A delivery that logs."""

    markers = 0

    async def deliver(self, cuts: Sequence[TaskCut], membership: Membership) -> None:  # noqa: ARG002 (a protocol)
        structlog.get_logger("headrace.test").warning("within a commit")


class Changed:
    """A task that has done something since its last cut."""

    caches = ()

    def cut(self) -> Cut:
        return Cut((), (), {})


def test_line_that_a_commit_logs_names_its_span(watched: Watched, logged: io.StringIO) -> None:
    async def commit() -> None:
        committer = Committer(cast(Delivery, Talking()), lambda _: None, 0, watched.telemetry)
        watched.process(traced(1))
        await committer.commit([OpenTask(cast(Task, Changed()), None, 0, {}, {})], Membership(1, "m", frozenset()))

    asyncio.run(commit())
    _, span = watched.spans()
    line = json.loads(logged.getvalue())
    assert span.context is not None
    assert (line["trace_id"], line["span_id"]) == (f"{1:032x}", f"{span.context.span_id:016x}")


@pytest.mark.parametrize("exporter", ["otlp", "none"])
def test_lines_name_spans_only_where_spans_are_sent(monkeypatch: pytest.MonkeyPatch, exporter: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporter)
    assert log_processors() == ([add_ids] if exporter == "otlp" else [])
