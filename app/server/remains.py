"""What a version of a job leaves in Kafka and on this machine, and how it goes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.agents.cluster import Cluster
from headrace.agents.errors import KafkaFailure
from headrace.agents.topics import reset as reset_cluster
from headrace.agents.topology import TopicKind
from headrace.app.application import App
from headrace.app.errors import OutsideError
from headrace.app.order import WorkerOrder, worker_config
from headrace.app.running import topologies_left_behind
from headrace.app.settings import Settings

ATTEMPTS = 60
STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Remains:
    """Group offsets, internal topics, and local state of an app; the topics that it writes, where these are to go."""

    app: App
    settings: Settings
    waiting: Sequence[str] = ()
    """Topics in which results wait for a switch."""

    async def delete(self, *, with_sinks: bool) -> None:
        """Once no server runs it any more. OutsideError where that takes long."""
        for attempt in range(ATTEMPTS):
            try:
                await asyncio.to_thread(self._delete, with_sinks=with_sinks)
            except KafkaFailure as error:  # its members on other servers are still leaving
                if attempt + 1 == ATTEMPTS:
                    raise OutsideError(
                        f"topics of {self.app.name} were not deleted: {error}", "delete the job once more"
                    ) from error
                await asyncio.sleep(STEP_S)
            else:
                return

    def _delete(self, *, with_sinks: bool) -> None:
        app = self.app
        cluster = Cluster(worker_config(app, WorkerOrder.plain(app, self.settings)))
        topologies = topologies_left_behind(app, self.settings, cluster)
        reset_cluster(cluster, topologies)
        names = set(self.waiting)
        if with_sinks:
            written = (TopicKind.SINK, TopicKind.DEAD_LETTER)
            names |= {spec.name for topology in topologies for spec in topology.topics if spec.kind in written}
        cluster.delete(sorted(names & cluster.topics(sorted(names)).keys()))
        shutil.rmtree(self.settings.state_dir / app.name, ignore_errors=True)
