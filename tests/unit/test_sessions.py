"""The sessions of one group: where a row belongs, and what a row connects.

rows       10    30    50    70         gap 5
sessions   |--|  |--|  |--|  |--|       by start, in whatever order rows come
"""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from headrace.sql.runtime.sessions import SessionPlaces


class Session(msgspec.Struct):
    start: int = 0
    last: int = 0


def merged(into: Session, other: Session) -> None:
    into.start, into.last = min(into.start, other.start), max(into.last, other.last)


@pytest.fixture
def places() -> SessionPlaces:
    return SessionPlaces(5, Session, merged)


@pytest.mark.parametrize("times", list(permutations((10, 30, 50, 70))))
def test_sessions_stand_by_start(places: SessionPlaces, times: tuple[int, ...]) -> None:
    sessions: list[Session] = []
    for time in times:
        places.of_row(sessions, time)
    assert [session.start for session in sessions] == [10, 30, 50, 70]


def test_row_belongs_to_a_session_within_the_gap_and_not_at_it(places: SessionPlaces) -> None:
    sessions: list[Session] = []
    first = places.of_row(sessions, 10)
    assert places.of_row(sessions, 14) is first
    assert places.of_row(sessions, 6) is first
    assert places.of_row(sessions, 19) is not first
    assert [(session.start, session.last) for session in sessions] == [(6, 14), (19, 19)]


def test_row_between_two_sessions_connects_them(places: SessionPlaces) -> None:
    sessions: list[Session] = []
    for time in (10, 18, 40, 14):
        places.of_row(sessions, time)
    assert [(session.start, session.last) for session in sessions] == [(10, 18), (40, 40)]
