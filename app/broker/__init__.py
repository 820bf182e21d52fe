"""A real single-node Apache Kafka for development and tests, from Python packages and nothing else."""

from headrace.app.broker.home import Home, Security
from headrace.app.broker.jars import kafka_version
from headrace.app.broker.process import Broker, free_port, running, running_on, start, stop

__all__ = ["Broker", "Home", "Security", "free_port", "kafka_version", "running", "running_on", "start", "stop"]
