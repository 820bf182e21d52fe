"""Arroyo's SQL tests: JSON lines in, JSON lines out, compared as a set; debezium_json sinks by their final rows."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.golden.adapters.suite import Case, Options, edit_options
from tests.golden.goldens import Layout, read_json_lines

from headrace import App

_SOURCE_PARTITIONS = 4
_FINAL_ROWS = frozenset(("aggregates", "grouped_aggregates"))
"""Cases whose sink is debezium_json: the suite gives the final rows, not the changes."""


class Arroyo:
    name = "arroyo"
    passing = frozenset(
        (
            *("aggregates", "cast_to_sink_type", "grouped_aggregates", "hourly_by_event_type"),
            *(
                "most_active_driver_last_hour",
                "select_star",
                "session_window",
                "sliding_window_end",
                "tight_watermark",
                "union",
            ),
        )
    )

    def original(self, case: Case) -> str:
        return case.sql

    def adapt(self, case: Case) -> str:
        return edit_options(case.sql, _kafka)

    def check(self, case: Case, app: App, layout: Layout) -> None:
        inputs = _inputs(case, app)
        result = app.local(
            inputs=inputs, mode=layout.mode, partitions=_SOURCE_PARTITIONS, parallelism=layout.parallelism
        )
        (sink,) = {query.sink.name for query in app.logical.queries}
        assert not result.dead_letters
        if case.id in _FINAL_ROWS:
            expected = [change["after"] for change in case.outputs()]
            actual: list[Any] = list(result.final(sink).values())
        else:
            expected = case.outputs()
            actual = [record.value for record in result.records]
        assert _as_set(actual) == _as_set(expected)


def _kafka(relation: str, options: Options) -> Options:
    """A topic instead of a single file; `event_time_field` by our name; the text form of times that Arroyo writes."""
    kept: Options = {"topic": relation, "format": "json"}
    if "event_time_field" in options:
        kept["timestamp"] = options["event_time_field"]
    if options.get("type") == "sink":
        kept["timestamp_format"] = "iso8601"
    return kept


def _inputs(case: Case, app: App) -> dict[str, list[Any]]:
    """All sources of these cases read the one input file of the case."""
    (file,) = case.data["input_files"]
    rows = read_json_lines(case.folder / "inputs" / f"{file}.gz")
    return dict.fromkeys(app.source_topics(), rows)


def _as_set(rows: list[Any]) -> list[bytes]:
    return sorted(msgspec.json.encode(row, order="sorted") for row in rows)
