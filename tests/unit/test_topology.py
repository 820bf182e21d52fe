"""The topology of an app: which topics and tasks follow from its plan and its source partitions."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from headrace.agents.cluster import Cluster
from headrace.agents.topics import internal_topics
from headrace.agents.topology import GrowthRefused, TopicKind, Topology, grown
from headrace.app.application import App
from headrace.app.running import topologies_left_behind
from headrace.app.settings_sources import load_settings
from headrace.sql.physical import Mode

KEYED = "CREATE STREAM events (k VARCHAR KEY, v VARCHAR, at TIMESTAMP, WATERMARK FOR at);"
WINDOWS = "CREATE TABLE windows AS SELECT k, COUNT(*) AS n FROM events GROUP BY k WINDOW TUMBLING (SIZE 1 SECOND);"
RE_KEYED = KEYED.replace(" KEY", "") + WINDOWS
TOTALS = "CREATE TABLE totals{} AS SELECT k, COUNT(*) AS n FROM events GROUP BY k;"


def topology(sql: str, mode: Mode = Mode.PARTITIONED, partitions: int = 2) -> Topology:
    return App(sql, "app").topology(mode, {"events": partitions})


@pytest.mark.parametrize(
    ("sql", "mode", "partitions", "shared"),
    [
        (KEYED + WINDOWS, Mode.PARTITIONED, 2, True),
        (KEYED + TOTALS.format(" WITH (ttl = '1d')"), Mode.PARTITIONED, 2, True),
        (KEYED + TOTALS.format(""), Mode.PARTITIONED, 2, False),
        (KEYED + "CREATE STREAM some AS SELECT * FROM events;", Mode.PARTITIONED, 2, False),
        (KEYED + WINDOWS, Mode.PARTITIONED, 1, False),
        (KEYED + WINDOWS, Mode.SINGLE, 2, False),
        (RE_KEYED, Mode.PARTITIONED, 2, False),
        (KEYED.replace("WATERMARK FOR at", "p AS PROCTIME()") + WINDOWS, Mode.PARTITIONED, 2, False),
    ],
    ids=[
        "windows",
        "ttl",
        "no time",
        "no state",
        "one partition",
        "one task",
        "behind a repartition topic",
        "wall time",
    ],
)
def test_watermarks_are_shared_where_state_ends_with_time_and_lies_in_several_source_partitions(
    sql: str, mode: Mode, partitions: int, shared: bool
) -> None:
    made = topology(sql, mode, partitions)
    topics = [spec.name for spec in made.topics if spec.kind is TopicKind.WATERMARKS]
    assert topics == (["app-watermarks"] if shared else [])
    assert (made.watermarks is not None) == shared
    assert {task.watermarks for task in made.tasks} == {made.watermarks}


@pytest.mark.parametrize(
    ("sql", "mode"),
    [
        (RE_KEYED, Mode.PARTITIONED),
        (RE_KEYED, Mode.SINGLE),
        (KEYED + WINDOWS, Mode.SINGLE),
        (KEYED + "CREATE STREAM some AS SELECT * FROM events;", Mode.PARTITIONED),
    ],
    ids=["re-keyed", "re-keyed, single", "keyed, single", "no state"],
)
def test_topology_grows_to_what_it_would_be_over_that_many_partitions(sql: str, mode: Mode) -> None:
    app = App(sql, "app")
    before, after = (app.topology(mode, {"events": count}, 2) for count in (2, 5))
    assert grown(before, {"events": 5}) == after
    assert grown(grown(before, {"events": 3}), {"events": 5}) == after
    assert grown(after, {"events": 5}) == after
    assert after.source_partitions == {"events": 5}


def test_topology_with_state_in_its_source_partitions_cannot_grow_and_says_why() -> None:
    app = App(KEYED + WINDOWS, "app")
    with pytest.raises(
        GrowthRefused, match=r"'events' has 3 partitions, and the state of stage windows-0 .* with 2: .*"
    ):
        grown(app.topology(Mode.PARTITIONED, {"events": 2}), {"events": 3})


@pytest.mark.parametrize("mode", list(Mode))
def test_plan_of_an_app_that_re_keys_nothing_stays_the_same_when_its_source_gets_more_partitions(mode: Mode) -> None:
    sql = KEYED + ("CREATE STREAM some AS SELECT * FROM events;" if mode is Mode.PARTITIONED else WINDOWS)
    assert topology(sql, mode, 2).plan_version == topology(sql, mode, 3).plan_version


def test_plan_of_an_app_that_re_keys_is_of_its_parallelism() -> None:
    app = App(RE_KEYED, "app")
    plans = {(n, p): app.topology(Mode.PARTITIONED, {"events": n}, p).plan_version for n in (2, 3) for p in (2, 3)}
    assert plans[2, 2] == plans[3, 2] != plans[2, 3]


def test_topic_of_the_watermarks_is_the_apps_own_and_compacted() -> None:
    (spec,) = (spec for spec in topology(KEYED + WINDOWS).topics if spec.kind is TopicKind.WATERMARKS)
    assert spec.internal
    assert spec.partitions == 1
    assert spec.config["cleanup.policy"] == "compact"


class SourcesGone(Cluster):
    """A cluster that has no source of any app."""

    def __init__(self) -> None:
        pass

    def source_partitions(self, names: Collection[str]) -> dict[str, int]:  # noqa: ARG002
        return {}


def test_what_an_app_leaves_behind_is_known_by_name_where_its_source_is_gone() -> None:
    app, settings = App(KEYED + WINDOWS, "app"), load_settings({}, environ={})
    names = internal_topics(topologies_left_behind(app, settings, SourcesGone()))
    assert set(names) == set(internal_topics([topology(KEYED + WINDOWS), topology(KEYED + WINDOWS, Mode.SINGLE)]))
    assert "app-watermarks" in names
