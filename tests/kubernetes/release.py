"""A release `flow` of the chart in a namespace of its own, and what it has in the cluster."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kubernetes.cluster import Cluster

HERE = Path(__file__).parent
CHART = HERE.parents[1] / "helm" / "headrace"
VALUES = HERE / "values.yaml"
TOTALS = "flow-headrace-totals"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class Release:
    def __init__(self, cluster: Cluster, namespace: str):
        self.cluster = cluster
        self.namespace = namespace

    def prepare_namespace(self) -> None:
        """What the chart expects to find; the namespace allows only pods of the level `restricted`."""
        here = {"namespace": self.namespace}
        self.cluster.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": RESTRICTED}},
            _config("orders-sql", here, "ConfigMap", {"orders.sql": "SELECT 1 AS n FROM s;"}),
            _config("kafka-user", here, "Secret", {"username": "flow", "password": "secret"}),
            _config("kafka-certificates", here, "Secret", {"ca.crt": "certificate"}),
        )

    def install(self, *arguments: str | Path) -> None:
        self.cluster.helm("install", *self._chart(*arguments), "--wait", "--timeout=120s")

    def upgrade(self, *arguments: str | Path) -> None:
        self.cluster.helm("upgrade", *self._chart(*arguments), "--wait", "--timeout=120s")

    def rollback(self, revision: int) -> None:
        self.cluster.helm("rollback", "flow", str(revision), "-n", self.namespace, "--wait", "--timeout=120s")

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", "flow", "-n", self.namespace, "--wait", "--timeout=120s")

    def refusal(self, *arguments: str | Path) -> str:
        """Why the server does not take what the chart renders."""
        return self.cluster.refusal("helm", "install", *self._chart(*arguments))

    def manifest(self, *arguments: str | Path) -> str:
        return self.cluster.helm("template", *self._chart(*arguments))

    def pods(self, app: str) -> dict[str, dict]:
        return self.get("pod", f"app.kubernetes.io/component={app}")

    def get(self, kind: str, selector: str = "app.kubernetes.io/instance=flow") -> dict[str, dict]:
        return self.cluster.get(kind, self.namespace, selector)

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def eviction(self, pod: str) -> list[str]:
        """Arguments of a kubectl that asks to evict a pod as a drain does; the body comes by stdin."""
        return ["create", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", "-f", "-"]

    def _chart(self, *arguments: str | Path) -> list[str | Path]:
        return ["flow", CHART, "-n", self.namespace, "-f", VALUES, *arguments]


def eviction_of(pod: str) -> str:
    return json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}})


def _config(name: str, metadata: dict[str, str], kind: str, content: dict[str, str]) -> dict:
    field = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name} | metadata, field: content}
