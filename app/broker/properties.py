"""The server.properties of a development broker: pure text, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
SCRAM = "SCRAM-SHA-512"
ADMIN = "admin"
APP_USER = "headrace"

DEVELOPMENT: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # One node: nothing can be replicated, and small internal topics start faster.
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    # A misspelt topic is an error, not a new topic.
    "auto.create.topics.enable": "false",
    # Kafka deletes by the records' own timestamps: flights of 2013 would be gone within minutes.
    "log.retention.ms": "-1",
    # Long enough for workers started together to join one rebalance, short enough not to be waited for.
    "group.initial.rebalance.delay.ms": "500",
    # Lets tests of failing workers use short sessions; clients that ask for nothing are not touched.
    "group.min.session.timeout.ms": "1000",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a secure broker knows its clients by, and they it."""

    admin_password: str
    app_password: str
    broker_pem: Path
    """Private key and certificate of the broker, in one file."""
    ca_pem: Path


def server_properties(port: int, controller_port: int, data: Path, credentials: Credentials | None) -> str:
    """The text of server.properties; with credentials, clients must come by SASL_SSL.

    The controller's listener is plain in both: it is bound to this machine and only the broker itself uses it.
    """
    listener = "SASL_SSL" if credentials else "PLAINTEXT"
    entries = dict(DEVELOPMENT)
    entries |= {
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"{listener}://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{listener}:{listener}",
        "inter.broker.listener.name": listener,
        "log.dirs": str(data),
    }
    if credentials:
        entries |= _secure_entries(credentials)
    return "".join(f"{name}={value}\n" for name, value in entries.items())


def _secure_entries(credentials: Credentials) -> dict[str, str]:
    login = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return {
        "sasl.enabled.mechanisms": SCRAM,
        "sasl.mechanism.inter.broker.protocol": SCRAM,
        f"listener.name.sasl_ssl.{SCRAM.lower()}.sasl.jaas.config": (
            f'{login} required username="{ADMIN}" password="{credentials.admin_password}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(credentials.broker_pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(credentials.ca_pem),
    }


def client_properties(port: int, credentials: Credentials | None) -> dict[str, str]:
    """What a librdkafka client needs to reach the broker, as the user of the apps."""
    entries = {"bootstrap.servers": f"{HOST}:{port}"}
    if credentials:
        entries |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": SCRAM,
            "sasl.username": APP_USER,
            "sasl.password": credentials.app_password,
            "ssl.ca.location": str(credentials.ca_pem),
        }
    return entries


def client_toml(port: int, credentials: Credentials | None) -> str:
    """The same as a settings file for `headrace --config`."""
    entries = client_properties(port, credentials)
    lines = [f'bootstrap_servers = "{entries.pop("bootstrap.servers")}"', "", "[kafka]"]
    lines += [f'"{name}" = "{value}"' for name, value in entries.items()]
    return "\n".join(lines) + "\n"
