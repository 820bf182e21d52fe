"""Dashboards and alerts are as their code says, ask for metrics that exist, and every alert has its runbook."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from helm.dashboards import generate
from helm.dashboards.expressions import Alert, alerts, dashboard_expressions, names
from helm.dashboards.instruments import SERIES, series
from opentelemetry.sdk.resources import Resource
from tests.unit.batches import batch_of
from tests.unit.test_http import STATUS

from headrace.app.instruments import INSTRUMENTS
from headrace.app.telemetry import Telemetry

RUNBOOKS = generate.FOLDER.parents[3] / "docs" / "operations.md"
ALERTS_TEST = generate.FOLDER.parents[3] / "tests" / "dashboards" / "alerts_test.yaml"
PROMETHEUS_OWN = {"up"}
TARGET_LABELS = {"instance", "job", "le"}


@pytest.mark.parametrize("name", sorted(generate.files()))
def test_dashboard_file_is_as_its_code_says(name: str) -> None:
    written = (generate.FOLDER / name).read_text(encoding="utf-8")
    assert written == generate.files()[name], "run `make dashboards`"


def test_every_dashboard_file_has_its_code() -> None:
    assert {path.name for path in generate.FOLDER.iterdir()} == set(generate.files())


EXPRESSIONS = [*dashboard_expressions(), *((alert.name, alert.expression) for alert in alerts())]


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_expression_asks_for_metrics_and_labels_that_exist(place: str, expression: str) -> None:
    metrics, labels = names(expression)
    assert metrics, f"{place} asks for no metric"
    assert metrics <= set(SERIES) | PROMETHEUS_OWN
    known = TARGET_LABELS.union(*(SERIES[metric].attributes for metric in metrics - PROMETHEUS_OWN))
    assert labels <= known


@pytest.mark.parametrize("board", generate.BOARDS, ids=lambda board: board.name)
def test_choices_come_from_labels_that_exist(board: generate.Board) -> None:
    for label, metric in board.variables:
        assert label in SERIES[metric].attributes


def test_every_instrument_is_shown() -> None:
    shown = set().union(*(names(expression)[0] for _, expression in dashboard_expressions()))
    assert [i.name for i in INSTRUMENTS if not shown & set(series(i))] == []


def test_series_are_named_as_the_exporter_names_them() -> None:
    watching = Telemetry("shop", Resource({}), [])
    watching.publish(STATUS)
    with watching.processing("totals-0", batch_of([()])):
        pass
    watching.committed(0.1, {"trades": 250.0})
    exported = set(re.findall(r"^(headrace_\w+)", watching.exposition()[0].decode(), re.MULTILINE))
    assert exported == set(SERIES)


def test_names_are_told_from_functions_labels_and_strings() -> None:
    expression = 'sum by (job, le) (rate(headrace_a_total{query="headrace_b", topic=~"$topic"}[5m])) > on (stage) up'
    assert names(expression) == ({"headrace_a_total", "up"}, {"job", "le", "query", "topic", "stage"})


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_alert_says_how_bad_it_is_and_what_to_do(alert: Alert) -> None:
    assert alert.severity in {"warning", "critical"}
    assert alert.annotations["summary"]
    assert alert.annotations["description"]
    assert alert.annotations["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    runbooks = re.findall(r"^### (Headrace\w+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert runbooks == [alert.name for alert in alerts()]


def test_every_alert_has_cases_in_which_it_fires_and_does_not() -> None:
    cases = yaml.safe_load(ALERTS_TEST.read_text(encoding="utf-8"))["tests"]
    checks = [check for case in cases for check in case["alert_rule_test"]]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    silent = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == silent == {alert.name for alert in alerts()}


def test_panels_have_titles_units_legends_and_descriptions() -> None:
    for text in generate.files().values():
        panels = [panel for panel in json.loads(text)["panels"] if panel["type"] != "row"]
        assert panels
        for panel in panels:
            assert panel["title"]
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert all(target["legendFormat"] for target in panel["targets"])
