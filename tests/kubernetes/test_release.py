"""What operators do with the chart, on a real control plane: `make kubernetes-test`."""

from __future__ import annotations

import pytest
import yaml
from tests.helm import schemas
from tests.integration.edge_cluster import wait_until
from tests.kubernetes.cluster import NODES
from tests.kubernetes.release import CHART, TOTALS, Release, eviction_of

FULL = CHART / "ci" / "full.yaml"


def uids(objects: dict[str, dict]) -> dict[str, str]:
    return {name: each["metadata"]["uid"] for name, each in objects.items()}


def image(pod: dict) -> str:
    return pod["spec"]["containers"][0]["image"]


def instance_id(pod: dict) -> str:
    """The member's name, which the kubelet takes from the pod."""
    (variable,) = [e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "HEADRACE_INSTANCE_ID"]
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    return pod["metadata"]["name"]


def is_running(pod: dict) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return pod["status"]["phase"] == "Running" and conditions.get("Ready") == "True"


def claims_of(pods: dict[str, dict]) -> dict[str, str]:
    """The claim of each pod's state."""
    return {
        name: volume["persistentVolumeClaim"]["claimName"]
        for name, pod in pods.items()
        for volume in pod["spec"]["volumes"]
        if volume["name"] == "state"
    }


def test_all_pods_of_two_apps_run(release: Release) -> None:
    release.install()
    totals, orders = release.pods("totals"), release.pods("orders")
    assert list(totals) == [f"{TOTALS}-{n}" for n in range(3)]
    assert list(orders) == ["flow-headrace-orders-0"]
    assert all(is_running(pod) for pod in (totals | orders).values())
    assert {pod["spec"]["nodeName"] for pod in totals.values()} == set(NODES)  # spread over both
    volumes = release.get("pvc", "")
    assert claims_of(totals) == {name: f"state-{name}" for name in totals}
    assert sorted(volumes) == sorted(f"state-{name}" for name in totals)
    assert {volume["status"]["phase"] for volume in volumes.values()} == {"Bound"}
    slices = release.get("endpointslices", f"kubernetes.io/service-name={TOTALS}").values()
    addresses = [address for each in slices for endpoint in each["endpoints"] for address in endpoint["addresses"]]
    assert sorted(addresses) == sorted(pod["status"]["podIP"] for pod in totals.values())


def test_upgrade_renews_pods_under_their_names_and_rollback_brings_the_old_image(release: Release) -> None:
    release.install()
    before = release.pods("totals")
    assert {image(pod) for pod in before.values()} == {"registry.example/headrace:first"}
    release.upgrade("--set", "image.tag=second")
    after = release.pods("totals")
    assert {image(pod) for pod in after.values()} == {"registry.example/headrace:second"}
    assert [instance_id(pod) for pod in after.values()] == [instance_id(pod) for pod in before.values()]
    assert not set(uids(before).values()) & set(uids(after).values())
    assert claims_of(after) == claims_of(before)
    release.rollback(1)
    back = release.pods("totals")
    assert {image(pod) for pod in back.values()} == {"registry.example/headrace:first"}
    assert list(back) == list(before)
    assert all(is_running(pod) for pod in back.values())


def test_changed_sql_renews_the_pods_of_its_app_only(release: Release) -> None:
    release.install()
    totals, orders = uids(release.pods("totals")), uids(release.pods("orders"))
    release.upgrade("--set", "apps.totals.sql=SELECT 1 AS n FROM s;")
    assert not set(totals.values()) & set(uids(release.pods("totals")).values())
    assert uids(release.pods("orders")) == orders


def test_scaling_keeps_the_volumes(release: Release) -> None:
    release.install()
    volumes = uids(release.get("pvc", ""))
    release.upgrade("--set", "apps.totals.replicas=1")
    assert list(release.pods("totals")) == [f"{TOTALS}-0"]
    assert uids(release.get("pvc", "")) == volumes
    release.upgrade("--set", "apps.totals.replicas=3")
    pods = release.pods("totals")
    assert len(pods) == 3
    assert all(is_running(pod) for pod in pods.values())
    assert uids(release.get("pvc", "")) == volumes
    assert claims_of(pods) == {name: f"state-{name}" for name in pods}


def test_eviction_beyond_the_budget_is_refused(release: Release) -> None:
    release.install()
    first, second, _ = release.pods("totals")
    cordoned = release.cluster.kubectl
    try:
        cordoned("cordon", *NODES)  # the pod that goes cannot come back
        cordoned(*release.eviction(first), stdin=eviction_of(first))
        wait_until(lambda: not is_running(release.pods("totals").get(first, {"status": {"phase": ""}})), "one is away")
        refusal = release.cluster.refusal("kubectl", *release.eviction(second), stdin=eviction_of(second))
        assert "violate the pod's disruption budget" in refusal
    finally:
        cordoned("uncordon", *NODES)
    wait_until(lambda: allowed_disruptions(release) == 1, "all are back")
    before = uids(release.pods("totals"))[second]
    cordoned(*release.eviction(second), stdin=eviction_of(second))
    wait_until(lambda: uids(release.pods("totals")).get(second, before) != before, "the second is another one")


def allowed_disruptions(release: Release) -> int:
    return int(release.get("pdb")[TOTALS]["status"]["disruptionsAllowed"])


def test_drained_node_loses_its_pods_to_the_other(release: Release) -> None:
    release.install()
    node, other = NODES
    before = release.pods("totals")
    moved = {name for name, pod in before.items() if pod["spec"]["nodeName"] == node}
    assert moved
    try:
        release.cluster.kubectl(
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=120s",
            "--pod-selector=app.kubernetes.io/instance=flow",
        )
        wait_until(lambda: len(ready(release)) == 3, "all are back")
        after = release.pods("totals")
        assert {pod["spec"]["nodeName"] for pod in after.values()} == {other}
        assert claims_of(after) == claims_of(before)
        assert {name for name in before if uids(before)[name] != uids(after)[name]} == moved
    finally:
        release.cluster.kubectl("uncordon", node)


def ready(release: Release) -> list[str]:
    return [name for name, pod in release.pods("totals").items() if is_running(pod)]


def test_pods_are_allowed_in_a_restricted_namespace_without_a_warning(release: Release) -> None:
    manifest = release.manifest("-f", FULL)
    assert "helm.sh/hook: test" in manifest  # the pod of `helm test` is one of them
    arguments = ("create", "--dry-run=server", "-f", "-")
    assert release.cluster.complaints("kubectl", *arguments, stdin=manifest) == ""
    loosened = manifest.replace("runAsNonRoot: true", "runAsNonRoot: false")
    assert loosened != manifest
    stateful = yaml.safe_dump_all(o for o in yaml.safe_load_all(loosened) if o["kind"] == "StatefulSet")
    assert "would violate PodSecurity" in release.cluster.complaints("kubectl", *arguments, stdin=stateful)
    bare = ("-n", release.namespace, "run", "bare", "--image=busybox")
    assert 'violates PodSecurity "restricted' in release.cluster.refusal("kubectl", *bare)


def test_server_takes_every_object_of_the_chart(release: Release) -> None:
    release.install("-f", FULL)
    assert list(release.get("networkpolicy")) == ["flow-headrace-orders", TOTALS]
    assert list(release.get("servicemonitor")) == ["flow-headrace-orders", TOTALS]
    assert list(release.get("prometheusrule")) == ["flow-headrace"]
    assert list(release.get("triggerauthentication")) == [TOTALS]
    assert release.get("scaledobject")[TOTALS]["spec"]["maxReplicaCount"] == 8
    wait_until(lambda: scaler_condition(release, "AbleToScale") == "True", "the autoscaler reads the StatefulSet")


def scaler_condition(release: Release, kind: str) -> str:
    scaler = release.get("hpa")["flow-headrace-orders"]
    conditions = {c["type"]: c["status"] for c in scaler["status"].get("conditions", [])}
    return conditions.get(kind, "")


def test_upgrade_leaves_the_count_of_pods_to_the_autoscaler(release: Release) -> None:
    scaling = ("--set-json", 'apps.totals.autoscaling={"type":"cpu","minReplicas":2,"maxReplicas":4}')
    release.install(*scaling)
    wait_until(lambda: len(ready(release)) == 2, "the autoscaler has its minimum")
    release.upgrade(*scaling, "--set", "image.tag=second")
    assert len(ready(release)) == 2


def test_upgrade_after_kubectl_scale_sets_what_the_values_say(release: Release) -> None:
    release.install()
    release.kubectl("scale", f"statefulset/{TOTALS}", "--replicas=0")
    wait_until(lambda: not release.pods("totals"), "all have gone")
    release.upgrade()
    assert len(ready(release)) == 3


def test_uninstall_leaves_only_the_volumes(release: Release) -> None:
    kinds = "statefulset,pod,service,configmap,serviceaccount,pdb,networkpolicy,hpa,secret,controllerrevision,pvc"
    before = set(names(release, kinds))
    release.install()
    assert len(names(release, kinds)) > len(before) + 3
    release.uninstall()
    left = {f"persistentvolumeclaim/state-{TOTALS}-{n}" for n in range(3)}
    wait_until(lambda: set(names(release, kinds)) - before == left, "only the volumes are left")


def names(release: Release, kinds: str) -> list[str]:
    return release.kubectl("get", kinds, "-o", "name").split()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            'apps.totals.resources={"requests":{"cpu":"2"},"limits":{"cpu":"1"}}',
            "less than or equal to cpu limit",
        ),
        ('affinity={"nodeAffinityy":{}}', "field not declared in schema"),
        ('tolerations=[{"key":"a","operator":"Exsts"}]', "tolerations"),
    ],
)
def test_server_refuses_what_the_schema_cannot_say(release: Release, setting: str, told: str) -> None:
    assert told in release.refusal("--set-json", setting)


def test_schemas_of_the_linter_are_those_of_kubernetes() -> None:
    assert {path.name: path.read_text() for path in schemas.SCHEMAS.iterdir()} == schemas.schemas()
