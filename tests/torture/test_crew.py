"""What the crew makes of workers that end, without any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.torture import crew as crews
from tests.torture.cluster import TortureBroker
from tests.torture.crew import REFUSED, Crew, RoundFailed

from headrace.agents.ending import EXIT_KAFKA
from headrace.app.order import WorkerOrder

REFUSAL = "Kafka failed: another worker has the instance_id of this one"


class Process:
    """A worker that ends when the test says so."""

    def __init__(self, _order: bytes, log: Path) -> None:
        self.log = log
        self.exit_code: int | None = None

    def signal(self, number: int) -> None:
        pass


class Order:
    """As much of an order as a crew changes."""

    slot: int

    def to_json(self) -> bytes:
        return b"{}"


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    monkeypatch.setattr(crews, "WorkerProcess", Process)
    monkeypatch.setattr(crews, "replace", lambda order, **_: order)
    broker = SimpleNamespace(was_away_since=lambda _at: False)
    made = Crew(cast(WorkerOrder, Order()), tmp_path, cast(TortureBroker, broker), lambda: None)
    made.start([1])
    return made


def process(crew: Crew, slot: int) -> Any:
    return crew._running[slot].process


def ends(crew: Crew, slot: int, said: str) -> None:
    process(crew, slot).log.write_text(said)
    process(crew, slot).exit_code = EXIT_KAFKA
    crew._check()


def test_worker_whose_place_the_one_that_it_replaced_took_is_started_again(crew: Crew) -> None:
    """That one was stopped before it had joined, so that it joined last when it went on."""
    crew.pause([1])
    stopped = crew.replace(1)
    first = process(crew, 1)
    ends(crew, 1, REFUSAL)
    assert crew.runs(1)
    assert process(crew, 1) is not first
    ends(crew, stopped, REFUSAL)
    assert not crew.runs(stopped)
    assert crew.counts[REFUSED] == 2


@pytest.mark.parametrize("said", [REFUSAL, "Kafka failed: no answer"])
def test_worker_that_ends_by_itself_fails_the_round(crew: Crew, said: str) -> None:
    with pytest.raises(RoundFailed, match="worker 1 ended by itself with 3"):
        ends(crew, 1, said)


def test_worker_that_ends_for_another_reason_beside_the_one_that_it_replaced_fails_the_round(crew: Crew) -> None:
    crew.pause([1])
    crew.replace(1)
    with pytest.raises(RoundFailed, match="worker 1 ended by itself with 3"):
        ends(crew, 1, "Kafka failed: no answer")
