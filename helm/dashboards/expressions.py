"""The PromQL expressions of dashboards and alerts, and the names in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from helm.dashboards.generate import FOLDER

ALERTS = FOLDER.parent / "alerts.yaml"

STRING = re.compile(r'"[^"]*"')
RANGE = re.compile(r"\[[^\]]*\]")
LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\{([^}]*)\}")
CALL = re.compile(r"\b\w+\s*\(")
OPERATOR = re.compile(r"\b(?:and|or|unless|bool|offset)\b")
AGGREGATION = re.compile(r"\b(?:sum|min|max|avg|count|topk)\b")
NAME = re.compile(r"\b[a-zA-Z_]\w*\b")


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule."""

    name: str
    expression: str
    severity: str
    annotations: Mapping[str, str]


def alerts() -> list[Alert]:
    """The alert rules of the chart, in the order of the file."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"]["severity"], rule["annotations"])
        for group in groups
        for rule in group["rules"]
    ]


def dashboard_expressions() -> list[tuple[str, str]]:
    """Place (dashboard and panel) and expression of everything that the dashboard files ask for."""
    return [
        (f"{path.stem}: {panel['title']}: {target['refId']}", target["expr"])
        for path in sorted(FOLDER.glob("*.json"))
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]


def names(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels that a PromQL expression names."""
    text = RANGE.sub("", STRING.sub("", expression))
    label_lists = " ".join(LABEL_LIST.findall(text) + SELECTOR.findall(text))
    rest = text
    for other in (LABEL_LIST, SELECTOR, CALL, OPERATOR, AGGREGATION):
        rest = other.sub(" ", rest)
    return set(NAME.findall(rest)), set(NAME.findall(label_lists))
