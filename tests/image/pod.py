"""A container of the image as a pod of the chart is: its user, no rights, a read-only root, its limit of memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.integration.edge_cluster import wait_until
from tests.integration.sql_app import RUN_DEADLINE_S, Run, SqlApp, unique_name
from tests.integration.test_telemetry import get

from headrace.app import broker as brokers

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((ROOT / "helm/headrace/values.yaml").read_text())
USER = 10001
FUNCTIONS_FILE = "functions.py"
# crun refuses cgroups of both versions at once, so in its own mount namespace there is only the first.
CRUN = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec crun "$@"',
    "crun",
)


def image_config() -> dict[str, Any]:
    """What the Dockerfile says about how to run the image."""
    config: dict[str, Any] = json.loads(Path(os.environ["HEADRACE_TEST_IMAGE"]).read_text())["Docker"]["config"]
    return config


@dataclass
class Pod(Run):
    """`headrace run` as process 1 of a container, below tini; it shares the network of this machine."""

    name: str
    port: int

    @classmethod
    def start(cls, app: SqlApp, **settings: str) -> Pod:
        """Start one, and wait until it is ready. All pods of an app have one volume: they follow each other."""
        name, port = unique_name("pod"), brokers.free_port()
        bundle = app.directory / name
        bundle.mkdir()
        subprocess.run([*CRUN, "spec"], cwd=bundle, check=True)
        file = bundle / "config.json"
        given = {
            "bootstrap_servers": app.bootstrap,
            "app": app.name,
            "log_format": "json",
            "http_port": str(port),
            "udf": f"/etc/headrace/udf/{FUNCTIONS_FILE}",
            **settings,
        }
        file.write_text(json.dumps(_spec(json.loads(file.read_text()), app, given)))
        log = bundle / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*CRUN, "run", "--bundle", str(bundle), name], stdout=output, stderr=subprocess.STDOUT
            )
        pod = cls(process, log, name, port)
        wait_until(lambda: pod.ended or get(port, "/health/ready")[0] == 200, f"{name} is ready", RUN_DEADLINE_S)
        assert not pod.ended, pod.log()
        return pod

    def inside(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as an engine runs a health check."""
        variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        return subprocess.run(
            [*CRUN, "exec", "--user", f"{USER}:{USER}", *variables, self.name, *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def terminate(self) -> tuple[int, float]:
        """SIGTERM to process 1; its exit code, and how long it took (s)."""
        since = time.monotonic()
        subprocess.run(["crun", "kill", self.name, "TERM"], check=True)
        return self.exit_code(), time.monotonic() - since

    def kill(self) -> None:
        if not self.ended:
            subprocess.run(["crun", "kill", self.name, "KILL"], check=False)
            self.process.wait(RUN_DEADLINE_S)


def _spec(spec: dict[str, Any], app: SqlApp, settings: dict[str, str]) -> dict[str, Any]:
    """What a kubelet makes of the chart's pod and the image, on the ground of crun's own default."""
    image = image_config()
    assert image["User"] == f"{USER}:{USER}"
    app.state.mkdir(exist_ok=True)
    os.chown(app.state, USER, USER)
    spec["root"] = {"path": os.environ["HEADRACE_TEST_ROOT"], "readonly": True}
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": USER, "gid": USER},
        "args": [*image["Entrypoint"], "run", "/etc/headrace/sql/app.sql"],
        "env": [*image["Env"], *(f"HEADRACE_{name.upper()}={value}" for name, value in settings.items())],
        "cwd": image["WorkingDir"],
        "capabilities": {},
        "noNewPrivileges": True,
        "rlimits": [],
    }
    files = {
        app.file: "/etc/headrace/sql/app.sql",
        app.directory / FUNCTIONS_FILE: f"/etc/headrace/udf/{FUNCTIONS_FILE}",
    }
    spec["mounts"] += [
        _bind(app.state, "/var/lib/headrace", "rw"),
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        *(_bind(file.resolve(), destination, "ro") for file, destination in files.items()),
    ]
    spaces = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [space for space in spaces if space["type"] not in ("network", "cgroup")]
    spec["linux"]["resources"] = {"memory": {"limit": memory_limit()}}
    return spec


def _bind(source: Path, destination: str, how: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", how]}


def memory_limit() -> int:
    """The chart's default, in bytes."""
    text = VALUES["resources"]["limits"]["memory"]
    number, unit = int(text[:-2]), text[-2:]
    return number * {"Mi": 2**20, "Gi": 2**30}[unit]
