"""Writes app/broker/kafka.lock: every jar of the development broker with its SHA-256 (`make lock`)."""

import hashlib
from pathlib import Path

from jgo.maven import MavenContext

COORDINATES = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).parents[1] / "app" / "broker" / "kafka.lock"
HEADER = """\
# The jars of `headrace broker`: coordinate and SHA-256 of each. Written by `make lock`.
# slf4j-simple is Kafka's log: without a binding a broker that fails says nothing.
"""


def main() -> None:
    maven = MavenContext(timeout=60)
    inputs, transitive = maven.resolver.resolve([maven.create_dependency(coordinate) for coordinate in COORDINATES])
    lines = set()
    for dependency in [*inputs, *transitive]:
        digest = hashlib.sha256(dependency.artifact.resolve().read_bytes()).hexdigest()
        lines.add(f"{dependency.groupId}:{dependency.artifactId}:{dependency.version} {digest}\n")
    LOCK.write_text(HEADER + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
