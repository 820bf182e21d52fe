"""One real broker for all integration tests: started here, never skipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.edge_cluster import EdgeApp, NewEdgeApp
from tests.integration.job_server import JobServerProcess, NewServer
from tests.integration.sql_app import NewSqlApp, SqlApp, unique_name

from headrace.app import broker as brokers


def pytest_configure() -> None:
    """An end from outside stops the broker too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A broker of tests is young: compiling its code well takes longer than running it.
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take longest come first, so that no process ends long after the others."""

    def seconds(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return -float(marker.args[0]) if marker else 0.0

    items.sort(key=seconds)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a broker of this test run; `HEADRACE_TEST_BOOTSTRAP` names one that runs already."""
    given = os.environ.get("HEADRACE_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    started = brokers.start(
        temporary_home(tmp_path_factory.mktemp("broker")),
        brokers.free_port(),
        brokers.Security.PLAINTEXT,
        lambda *_: None,
    )
    yield started.address
    brokers.stop(started)


def temporary_home(directory: Path) -> brokers.Home:
    """A home whose brokers are forgotten with the test run; the jars are the user's."""
    return brokers.Home(directory, brokers.Home.of_user().jars)


@pytest.fixture
def new_server(broker: str, tmp_path: Path) -> Iterator[NewServer]:
    """Starts job servers; they end with the test."""
    with ExitStack() as servers:

        def make(name: str = "", **settings: str) -> JobServerProcess:
            directory = tmp_path / unique_name("server")
            directory.mkdir()
            return servers.enter_context(JobServerProcess(broker, directory, name, settings))

        yield make


@pytest.fixture
def new_edge_app(broker: str, tmp_path: Path) -> Iterator[NewEdgeApp]:
    """Makes counting apps on the broker; their workers end with the test."""
    apps: list[EdgeApp] = []

    def make(partitions: int = 4, mode: str = "partitioned", bootstrap: str = broker) -> EdgeApp:
        app = EdgeApp(unique_name("edge"), bootstrap, tmp_path, partitions, mode)
        apps.append(app)
        return app

    yield make
    for app in apps:
        for worker in app.workers:
            worker.kill()
            sys.stdout.write(worker.log())
        app.close()


@pytest.fixture
def new_sql_app(broker: str, tmp_path: Path) -> Iterator[NewSqlApp]:
    """Makes SQL apps on the broker; their processes and topics go with the test."""
    apps: list[SqlApp] = []

    def make(sql: str, partitions: int | None = 4) -> SqlApp:
        directory = tmp_path / f"app-{len(apps)}"
        directory.mkdir()
        app = SqlApp(unique_name(), broker, directory, sql)
        apps.append(app)
        if partitions is not None:
            app.create_topic(app.source, partitions)
        return app

    yield make
    for app in apps:
        app.close()
