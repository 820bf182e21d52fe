"""compose.yaml fits the project: files are there, SQL compiles, settings exist, services find each other."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace import App
from headrace.app.settings_sources import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())
COLLECTOR = yaml.safe_load((ROOT / "compose/collector.yaml").read_text())


@pytest.mark.parametrize("name", SERVICES)
def test_mounted_files_are_there(name: str) -> None:
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_image_has_a_version_or_is_ours(name: str) -> None:
    image = SERVICES[name]["image"]
    ours = [each["image"] for each in SERVICES.values() if each.get("build") == "."]
    assert re.fullmatch(r"[\w./-]+:v?\d[\w.]+", image) or [image] == ours


@pytest.mark.parametrize("name", SERVICES)
def test_service_waits_for_services_that_exist(name: str) -> None:
    wanted = SERVICES[name].get("depends_on", {})
    assert set(wanted) <= set(SERVICES)
    for other in wanted if isinstance(wanted, dict) else ():
        assert "test" in SERVICES[other]["healthcheck"]


@pytest.mark.parametrize("name", ["headrace", "trades"])
def test_settings_are_settings_of_headrace(name: str) -> None:
    given = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    assert load_settings({}, environ=given).bootstrap_servers == "kafka:9092"


def test_app_compiles_and_reads_what_is_produced() -> None:
    app = App((ROOT / "compose/app.sql").read_text(), name="trades")
    assert set(app.source_topics()) == {"trades"}
    assert "produce trades " in SERVICES["trades"]["command"][0]
    with subprocess.Popen([sys.executable, ROOT / "compose/trades.py"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rows = [yaml.safe_load(line) for line in islice(process.stdout, 50)]
        process.kill()
    result = app.local(inputs={"trades": rows})
    assert not result.dead_letters
    assert sum(row["trades"] for row in result.final("totals").values()) == 50


def test_what_watches_finds_the_worker() -> None:
    headrace = SERVICES["headrace"]["environment"]
    (scrape,) = PROMETHEUS["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"headrace:{headrace['HEADRACE_HTTP_PORT']}"]}]
    assert scrape["honor_labels"] is True
    mounted = {mount.split(":")[1] for mount in SERVICES["prometheus"]["volumes"]}
    assert mounted >= set(PROMETHEUS["rule_files"])
    port = COLLECTOR["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert headrace["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{port}"
    assert set(COLLECTOR["service"]["pipelines"]) == {"metrics", "traces"}
