"""One cluster for all tests, and for each test a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from tests.kubernetes.cluster import Cluster, running
from tests.kubernetes.release import Release

_numbers = count()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """The chart's release in a new namespace, not installed yet; the namespace goes at the end."""
    release = Release(cluster, f"streaming-{next(_numbers)}")
    release.prepare_namespace()
    yield release
    cluster.kubectl("delete", "namespace", release.namespace, "--timeout=120s")
