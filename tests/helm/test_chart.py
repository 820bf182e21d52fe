"""The chart renders what it promises and refuses wrong values (needs build/tools/helm, which `make check` fetches)."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from helm import generate
from yamllint import linter
from yamllint.config import YamlLintConfig

from headrace import App
from headrace.app.settings_sources import load_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "headrace"
HELM = ROOT / "build" / "tools" / "helm"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
MINIMAL, FULL = CHART / "ci" / "minimal.yaml", CHART / "ci" / "full.yaml"
# Helm's own indentation and long lines (SQL, dashboards) are no mistakes.
LINT = YamlLintConfig("extends: relaxed\nrules: {line-length: disable, key-duplicates: enable, indentation: disable}")


def run_helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert HELM.exists(), f"missing: {HELM}; `make check` fetches it"
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False)


@functools.cache
def rendered(values: Path, chart: Path = CHART) -> dict[tuple[str, str], dict]:
    """The objects of a release `flow` by kind and name."""
    result = run_helm("template", "flow", chart, "-f", values)
    assert result.returncode == 0, result.stderr
    objects = [o for o in yaml.safe_load_all(result.stdout) if o]
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    assert len(by_name) == len(objects)
    return by_name


def pod(objects: dict[tuple[str, str], dict], app: str) -> dict:
    return objects["StatefulSet", f"flow-headrace-{app}"]["spec"]["template"]["spec"]


def environment(spec: dict) -> dict[str, str]:
    """The variables as a container sees them, those of fields and Secrets as a name."""
    return {e["name"]: e.get("value", "from-elsewhere") for e in spec["containers"][0]["env"]}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_chart_is_clean_by_helm_lint(values: Path) -> None:
    result = run_helm("lint", "--strict", CHART, "-f", values)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_rendered_yaml_is_clean_by_yamllint(values: Path) -> None:
    text = run_helm("template", "flow", CHART, "-f", values).stdout
    assert text
    assert [str(p) for p in linter.run(text, LINT) if p.level == "error"] == []


def test_readme_and_schema_are_up_to_date() -> None:
    assert generate.README.read_text() == generate.readme(), "run helm/generate.py"
    assert generate.SCHEMA.read_text() == generate.schema(), "run helm/generate.py"


@pytest.mark.parametrize("app", ["totals", "orders"])
def test_settings_of_the_pods_are_settings_of_headrace(app: str) -> None:
    variables = environment(pod(rendered(FULL), app))
    settings = load_settings({}, environ=variables)
    assert (settings.http_host, settings.http_port) == ("0.0.0.0", 8088)
    assert settings.app == app
    assert settings.parallelism == 8
    assert settings.instance_id == "from-elsewhere"
    assert settings.client_config["ssl.key.location"] == "/etc/headrace/tls/tls.key"
    assert settings.client_config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert settings.client_config["client.rack"] == "a"
    assert settings.client_config["fetch.max.bytes"] == "104857600"
    assert settings.state_cache_mb == 128


def test_point_in_the_name_of_a_release_is_no_point_in_the_names_of_its_objects() -> None:
    result = run_helm("template", "flow.a", CHART, "-f", MINIMAL)
    names = {(o["kind"], o["metadata"]["name"]) for o in yaml.safe_load_all(result.stdout) if o}
    assert ("Service", "flow-a-headrace-totals") in names


def test_password_comes_from_the_secret() -> None:
    (password,) = [e for e in pod(rendered(FULL), "totals")["containers"][0]["env"] if e["name"].endswith("PASSWORD")]
    assert password["valueFrom"] == {"secretKeyRef": {"name": "kafka-user", "key": "password"}}


def test_sql_of_the_values_is_the_app() -> None:
    sql = rendered(MINIMAL)["ConfigMap", "flow-headrace-totals"]["data"]["app.sql"]
    assert "SUM" in App(sql).explain("code").upper()


def test_an_app_has_its_own_values_and_the_others_of_the_release() -> None:
    objects = rendered(FULL)
    assert environment(pod(objects, "orders"))["HEADRACE_MODE"] == "single"
    assert environment(pod(objects, "totals"))["HEADRACE_MODE"] == "partitioned"
    assert (
        environment(pod(objects, "orders"))["HEADRACE_UDF"] == "/etc/headrace/udf/prices.py,/etc/headrace/udf/names.py"
    )
    assert "volumeClaimTemplates" in objects["StatefulSet", "flow-headrace-totals"]["spec"]
    assert "volumeClaimTemplates" not in objects["StatefulSet", "flow-headrace-orders"]["spec"]


@pytest.mark.parametrize("app", ["totals", "orders"])
def test_every_mount_has_its_volume(app: str) -> None:
    objects = rendered(FULL)
    claims = objects["StatefulSet", f"flow-headrace-{app}"]["spec"].get("volumeClaimTemplates", [])
    volumes = [v["name"] for v in pod(objects, app)["volumes"]] + [c["metadata"]["name"] for c in claims]
    assert sorted(volumes) == sorted(m["name"] for m in pod(objects, app)["containers"][0]["volumeMounts"])


@pytest.mark.parametrize("kind", ["StatefulSet", "Pod"])
def test_pods_fit_the_restricted_level(kind: str) -> None:
    found = [o for (k, _), o in rendered(FULL).items() if k == kind]
    assert len(found) == 2
    for o in found:
        spec = o["spec"]["template"]["spec"] if kind == "StatefulSet" else o["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_selectors_find_the_pods_of_their_app_only() -> None:
    objects = rendered(FULL)
    labels = {
        app: objects["StatefulSet", f"flow-headrace-{app}"]["spec"]["template"]["metadata"]["labels"]
        for app in ("totals", "orders")
    }
    for kind in ("StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Service"):
        spec = objects[kind, "flow-headrace-totals"]["spec"]
        selector = spec.get("selector") or spec["podSelector"]
        wanted = selector.get("matchLabels", selector).items()
        assert wanted <= labels["totals"].items()
        assert not wanted <= labels["orders"].items()


def test_each_worker_of_a_pod_is_scraped() -> None:
    objects = rendered(FULL)
    ports = objects["Service", "flow-headrace-totals"]["spec"]["ports"]
    assert [port["port"] for port in ports] == [8088, 8089]
    endpoints = objects["ServiceMonitor", "flow-headrace-totals"]["spec"]["endpoints"]
    assert [e["port"] for e in endpoints] == [port["name"] for port in ports]


def test_network_policy_lets_out_to_the_ports_of_kafka() -> None:
    egress = rendered(FULL)["NetworkPolicy", "flow-headrace-totals"]["spec"]["egress"]
    assert egress[1]["ports"] == [{"port": 9093}, {"port": 9094}]


def test_scaling_by_lag_stops_at_the_maximum() -> None:
    objects = rendered(FULL)
    assert "replicas" not in objects["StatefulSet", "flow-headrace-totals"]["spec"]
    scaled = objects["ScaledObject", "flow-headrace-totals"]["spec"]
    assert (scaled["maxReplicaCount"], scaled["triggers"][0]["metadata"]["consumerGroup"]) == (8, "totals")
    assert scaled["triggers"][0]["metadata"]["lagThreshold"] == "10000"
    assert scaled["triggers"][0]["authenticationRef"]["name"] == "flow-headrace-totals"
    parameters = objects["TriggerAuthentication", "flow-headrace-totals"]["spec"]["secretTargetRef"]
    assert [p["parameter"] for p in parameters] == ["username", "password", "ca", "cert", "key"]


def test_scaling_by_cpu_is_a_horizontal_pod_autoscaler() -> None:
    scaler = rendered(FULL)["HorizontalPodAutoscaler", "flow-headrace-orders"]["spec"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert scaler["scaleTargetRef"]["name"] == "flow-headrace-orders"


def test_files_of_alerts_and_dashboards_become_objects(tmp_path: Path) -> None:
    chart = tmp_path / "headrace"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("files"))
    without = {kind for kind, _ in rendered(FULL, chart)}
    assert "StatefulSet" in without
    assert "PrometheusRule" not in without
    rendered.cache_clear()
    (chart / "files" / "dashboards").mkdir(parents=True)
    alert = {"alert": "A", "expr": "up == 0", "annotations": {"summary": "{{ $labels.job }}"}}
    (chart / "files" / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [alert]}]}))
    (chart / "files" / "dashboards" / "over_view.json").write_text(json.dumps({"title": "{{job}}"}))
    objects = rendered(FULL, chart)
    assert objects["PrometheusRule", "flow-headrace"]["spec"]["groups"][0]["rules"] == [alert]
    dashboard = objects["ConfigMap", "flow-headrace-over-view"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["over_view.json"]) == {"title": "{{job}}"}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('mode="double"', "mode"),
        ("workers=0", "workers"),
        ('replicas="three"', "replicas"),
        ('guarantee="maybe"', "guarantee"),
        ("apps=null", "apps"),
        ('apps.Totals={"sql":"x"}', "Totals"),
        ("apps.empty={}", "empty"),
        ('apps.totals.existingConfigMap={"name":"a","key":"b"}', "totals"),
        ("apps.totals.workerz=2", "workerz"),
        ('settings.commit_interval="soon"', "commit_interval"),
        ("settings.comit_interval=1", "comit_interval"),
        ('settings.mode="single"', "mode"),
        ("settings.state_dir=1", "state_dir"),
        ('kafka.bootstrapServers=""', "bootstrapServers"),
        ('kafka.properties={"group.id":"g"}', "group.id"),
        ('kafka.securityProtocol="SASL_SSL"', "needs saslMechanism"),
        ('kafka.saslMechanism="PLAIN"', "need securityProtocol"),
        ('kafka.tls.existingSecret="s"', "needs securityProtocol SSL"),
        ('kafka.tls.certKey="s"', "go together"),
        ('apps.totals.autoscaling={"type":"cpu","minReplicas":5,"maxReplicas":2}', "maxReplicas (2) is less"),
        ("terminationGracePeriodSeconds=10", "terminationGracePeriodSeconds"),
        ('persistence.size="big"', "size"),
        ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
        ("metric.enabled=true", "metric"),
        ('podLabels={"a b":"x"}', "'a b'"),
        ('podLabels={"app.kubernetes.io/name":"x"}', "'app.kubernetes.io/name'"),
        ('podAnnotations={"a b":"x"}', "'a b'"),
        ('metrics.dashboards.labels={"a":"x y"}', "labels"),
        ('fullnameOverride="Big_Name"', "fullnameOverride"),
        ('serviceAccount.name="Not a name"', "serviceAccount"),
        ('priorityClassName="Not a name"', "priorityClassName"),
        ('kafka.bootstrapServers="kafka:65536"', "bootstrapServers"),
        ('kafka.sasl.existingSecret="Not a name"', "existingSecret"),
        ('kafka.sasl.usernameKey="a b"', "usernameKey"),
        ('apps.totals.persistence={"size":"0Gi"}', "size"),
        ('persistence.storageClass="Not a name"', "storageClass"),
        ('extraEnv=[{"name":"HEADRACE_MODE","value":"single"}]', "extraEnv"),
        ('extraEnv=[{"name":"A","valu":"x"}]', "valu"),
        ('updateStrategy={"type":"OnDelete","rollingUpdate":{"partition":1}}', "updateStrategy"),
        ("replicas=3000000000", "replicas"),
        ('image.tag="a b"', "tag"),
    ],
)
def test_wrong_value_is_refused(setting: str, told: str) -> None:
    result = run_helm("template", "flow", CHART, "-f", MINIMAL, "--set-json", setting)
    assert result.returncode != 0
    assert told in result.stderr
