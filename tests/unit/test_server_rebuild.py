"""When a rebuilt version has caught up, and where its results go until then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.agents.following import NOWHERE, Reached
from headrace.app.application import App
from headrace.app.server.rebuild import Seen
from headrace.app.server.transfer import Move, diverted, moves
from headrace.sql.runtime.records import TopicPartition

FIRST, SECOND, OTHER = TopicPartition("in", 0), TopicPartition("in", 1), TopicPartition("other", 0)
AT_10 = {FIRST: Reached(10), SECOND: NOWHERE}
SEEN = Seen((FIRST, SECOND), AT_10, AT_10, {})

OLD = """
CREATE STREAM e (k VARCHAR, n BIGINT) WITH (topic = 'in');
CREATE TABLE t WITH (topic = 't') AS SELECT k, COUNT(*) AS c FROM e GROUP BY k;
CREATE STREAM s WITH (topic = 's') AS SELECT n FROM e;
"""
MORE = "CREATE STREAM more WITH (topic = 'more') AS SELECT n FROM e WHERE n > 1;"


def test_it_has_caught_up_where_it_is_where_the_old_version_was() -> None:
    further = replace(SEEN, old={FIRST: Reached(12), SECOND: NOWHERE})
    assert further.caught_up_with(SEEN)
    assert not further.caught_up_with(further)
    assert (SEEN.behind, further.behind) == (0, 2)
    assert (SEEN.stand_alike, further.stand_alike) == (True, False)


def test_it_has_not_caught_up_while_windows_are_open_that_the_old_version_has_closed() -> None:
    idle = {FIRST: Reached(10, is_idle=True), SECOND: NOWHERE}
    assert not replace(SEEN, old=idle).caught_up_with(SEEN)
    assert not replace(SEEN, new=idle).caught_up_with(SEEN)  # nor has it closed windows that are open there
    assert replace(SEEN, old=idle, new=idle).caught_up_with(SEEN)


def test_a_source_that_only_the_new_version_reads_has_to_be_read_to_its_end() -> None:
    with_other = replace(SEEN, ends={OTHER: 5})
    assert not with_other.caught_up_with(with_other)
    assert with_other.behind == 5
    read = replace(with_other, new={**AT_10, OTHER: Reached(5)})
    assert read.caught_up_with(with_other)


def test_results_wait_but_for_those_of_a_stream_that_the_old_version_writes() -> None:
    old, new = App(OLD, "job"), App(OLD + MORE, "job.1")
    assert diverted("job.1", new, old) == {"t": "job.1-t-rebuild", "s": None, "more": "job.1-more-rebuild"}
    assert moves("job.1", new, old) == [
        Move("job.1-t-rebuild", "t", is_table=True),
        Move("job.1-more-rebuild", "more", is_table=False),
    ]


@pytest.mark.parametrize("mode", ["partitioned", "single"])
def test_a_version_whose_results_wait_differs_in_nothing_but_its_topics(mode: str) -> None:
    app = App(OLD, "job")
    topologies = [
        app.topology(app.plan(mode).mode, {"in": 2}, diverted=where)  # type: ignore[arg-type]
        for where in ({}, {"t": "elsewhere", "s": None})
    ]
    plain, waiting = ({topic.name for topic in topology.topics} for topology in topologies)
    assert plain - waiting == {"t", "s"}
    assert waiting - plain == {"elsewhere"}
    assert topologies[0].plan_version == topologies[1].plan_version
    assert topologies[0].tasks == topologies[1].tasks
