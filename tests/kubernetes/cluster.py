"""A Kubernetes cluster of plain processes: a real control plane, with KWOK in the place of nodes' kubelets."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.helm.schemas import custom_resources, source
from tests.integration.edge_cluster import wait_until

from headrace.app.broker import free_port

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / "build" / "tools"
VERSION = "1.37.2"
KWOK = "v0.8.0"
KWOK_SOURCE = (f"sigs.k8s.io/kwok@{KWOK}", "h1:OTIOTwgROqPMovcTwxICx2eYQ4AwLpSx5EpjbDKF4SQ=")
KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat/node-heartbeat.yaml",
    *(f"pod/fast/pod-{stage}.yaml" for stage in ("ready", "complete", "delete")),
)
NODES = ("node-0", "node-1")
VOLUMES = 60
TOKEN = "administrator"


def built() -> Path:
    """The folder with the programs, among the user's caches; the first build takes about a quarter of an hour."""
    module = HERE / "control_plane"
    parts = sha256((module / "go.mod").read_bytes() + KWOK.encode()).hexdigest()[:8]
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    programs = caches / "headrace" / f"kubernetes-{VERSION}-{parts}"
    if not (programs / "kwok").exists():  # the last one that is built
        programs.mkdir(parents=True, exist_ok=True)
        stamps = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": VERSION.split(".")[1]}
        stamped = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
        install = ["go", "install", "-trimpath"]
        environment = os.environ | {"GOBIN": str(programs)}
        subprocess.run([*install, f"-ldflags=-s -w {stamped}", "tool"], cwd=module, env=environment, check=True)
        (programs / "server").rename(programs / "etcd")  # Go names it by its folder
        subprocess.run([*install, "-ldflags=-s -w", f"sigs.k8s.io/kwok/cmd/kwok@{KWOK}"], env=environment, check=True)
    return programs


class Cluster:
    """How a test talks to it: kubectl and helm as an administrator."""

    def __init__(self, kubeconfig: Path):
        self.kubeconfig = kubeconfig

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """What it prints; it must succeed."""
        return _succeeded(self._run("kubectl", arguments, stdin)).stdout

    def helm(self, *arguments: str | Path) -> str:
        """What it prints; it must succeed."""
        return _succeeded(self._run("helm", arguments)).stdout

    def complaints(self, program: str, *arguments: str | Path, stdin: str | None = None) -> str:
        """Warnings of a command that must succeed."""
        return _succeeded(self._run(program, arguments, stdin)).stderr

    def refusal(self, program: str, *arguments: str | Path, stdin: str | None = None) -> str:
        """Errors of a command that must fail."""
        result = self._run(program, arguments, stdin)
        assert result.returncode != 0, result.stdout
        return result.stderr

    def create(self, *objects: dict) -> None:
        self.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, namespace: str, selector: str = "") -> dict[str, dict]:
        """The objects by name."""
        found = self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        return {each["metadata"]["name"]: each for each in json.loads(found)["items"]}

    def _run(
        self, program: str, arguments: Sequence[str | Path], stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TOOLS / program, *arguments],
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )


def _succeeded(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """A cluster with nodes, volumes and the custom resources, until the end of the block."""
    programs = built()
    etcd, peers, server, controllers, scheduler = (free_port() for _ in range(5))
    kubeconfig = _kubeconfig(directory, server)
    _write_keys(directory)
    as_admin = [f"--{kind}kubeconfig={kubeconfig}" for kind in ("", "authentication-", "authorization-")]
    local = ["--bind-address=127.0.0.1", "--leader-elect=false"]
    with ExitStack() as processes:

        def start(program: str, *arguments: str) -> None:
            processes.enter_context(_process(directory, programs / program, *arguments))

        start(
            "etcd",
            f"--data-dir={directory}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
            f"--initial-cluster=default=http://127.0.0.1:{peers}",
            "--unsafe-no-fsync",
        )
        start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            f"--secure-port={server}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            f"--cert-dir={directory}/certificates",
            f"--token-auth-file={directory}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={directory}/accounts.pub",
            f"--service-account-signing-key-file={directory}/accounts.key",
        )
        wait_until(lambda: _is_ready(server), "the API server is ready", 120)
        start(
            "kube-controller-manager",
            *as_admin,
            *local,
            f"--secure-port={controllers}",
            f"--cert-dir={directory}/certificates-controllers",
            f"--service-account-private-key-file={directory}/accounts.key",
        )
        start(
            "kube-scheduler",
            *as_admin,
            *local,
            f"--secure-port={scheduler}",
            f"--cert-dir={directory}/certificates-scheduler",
        )
        start("kwok", f"--kubeconfig={kubeconfig}", "--manage-all-nodes=true", f"--config={_stages(directory)}")
        cluster = Cluster(kubeconfig)
        cluster.create(*(_node(name) for name in NODES), *(_volume(number) for number in range(VOLUMES)))
        for definition in custom_resources():
            cluster.kubectl("create", "-f", definition)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        yield cluster


@contextmanager
def _process(directory: Path, program: Path, *arguments: str) -> Iterator[None]:
    log = directory / f"{program.name}.log"
    with log.open("w") as output, subprocess.Popen([program, *arguments], stdout=output, stderr=output) as process:
        try:
            yield
            assert process.poll() is None, f"{program.name} has ended: {log.read_text()[-2000:]}"
        finally:
            process.terminate()


def _kubeconfig(directory: Path, port: int) -> Path:
    path = directory / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "test", "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(content))
    (directory / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    return path


def _write_keys(directory: Path) -> None:
    """The pair by which tokens of service accounts are signed."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (directory / "accounts.key").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / "accounts.pub").write_bytes(public)


def _is_ready(port: int) -> bool:
    request = urllib.request.Request(f"https://127.0.0.1:{port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    context = ssl._create_unverified_context()  # the server made its certificate itself
    try:
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _stages(directory: Path) -> Path:
    """What KWOK does with nodes and pods: they are ready at once, and gone when deleted."""
    folder = source(*KWOK_SOURCE) / "kustomize" / "stage"
    path = directory / "stages.yaml"
    path.write_text("\n---\n".join((folder / stage).read_text() for stage in KWOK_STAGES))
    return path


def _node(name: str) -> dict:
    room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": room, "capacity": room},
    }


def _volume(number: int) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"volume-{number}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/volumes/{number}"},
        },
    }
