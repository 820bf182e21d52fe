"""kubeconform and kube-score read what the chart renders (`make check` builds them, where there is Go)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.helm.test_chart import CHART, FULL, ROOT, VALUES, run_helm

TOOLS = ROOT / "build" / "tools"
SCHEMAS = "tests/helm/schemas/{{.ResourceKind}}{{.KindSuffix}}.json"
ANSWERED = {
    (
        "StatefulSet",
        "container-ephemeral-storage-request-and-limit",
    ): "its volumes have limits of their own",
    (
        "StatefulSet",
        "container-image-pull-policy",
    ): "a tag is a version; the registry may be away",
    ("StatefulSet", "statefulset-has-host-podantiaffinity"): "the topology spread does that, on small clusters too",
    ("HorizontalPodAutoscaler", "horizontalpodautoscaler-replicas"): "while the only pod moves, results stand still",
    ("Pod", "container-ephemeral-storage-request-and-limit"): "the pod of `helm test` writes nothing",
    ("Pod", "container-image-pull-policy"): "it has the image of the apps",
    ("Pod", "pod-networkpolicy"): "it must reach the apps, from where callers are allowed",
}
"""What kube-score finds, as kind and check, and why it stays."""
ALL_RIGHT = 10
# A worker without its CPU falls behind, so there is no limit by default. NetworkPolicies are for a cluster to decide.
SCORE = ["score", "--kubernetes-version=v1.37", "--output-format=json", "--ignore-container-cpu-limit", "-"]


def tool(name: str) -> Path:
    path = TOOLS / name
    if not path.exists():
        pytest.skip(f"did not run: {path} is missing; `make check` builds it where there is Go")
    return path


def run(command: list[str | Path], text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)


def kubeconform(text: str) -> subprocess.CompletedProcess[str]:
    return run([tool("kubeconform"), "-strict", "-schema-location", SCHEMAS, "-"], text)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_objects_are_what_kubernetes_defines(values: Path) -> None:
    result = kubeconform(run_helm("template", "flow", CHART, "-f", values).stdout)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("maxUnavailable:", "maxUnavailabl:"),
        ("minReplicas: 1", "minReplicas: one"),
        ("maxReplicaCount:", "maxReplicasCount:"),
    ],
)
def test_wrong_field_is_found(right: str, wrong: str) -> None:
    text = run_helm("template", "flow", CHART, "-f", FULL).stdout
    assert right in text
    assert kubeconform(text.replace(right, wrong)).returncode == 1


def test_every_finding_of_kube_score_is_answered() -> None:
    found = set()
    for values in VALUES:
        text = run_helm("template", "flow", CHART, "-f", values, "--set", "networkPolicy.enabled=true").stdout
        scored = json.loads(run([tool("kube-score"), *SCORE], text).stdout)
        assert len(scored) > 1
        found |= {
            (each["type_meta"]["kind"], check["check"]["id"])
            for each in scored
            for check in each["checks"]
            if not check["skipped"] and check["grade"] < ALL_RIGHT
        }
    assert found == set(ANSWERED)
