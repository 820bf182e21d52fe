"""Work beside the main loop's own: coroutines whose failure is the worker's, and calls that block, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

THREADS = 4


class Background:
    """Belongs to a running event loop."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blocking")
        self._running: set[asyncio.Future[Any]] = set()
        self._closed = False

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run beside everything else."""
        future = asyncio.ensure_future(self.guard(work))
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    async def guard(self, work: Awaitable[T]) -> T | None:
        """Await the work; whatever escapes it is reported, and nothing but a cancellation gets further."""
        try:
            return await work
        except asyncio.CancelledError as error:
            if not self._closed:
                self._on_failure(error)
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it is ends the worker)
            self._on_failure(error)
            return None

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call what blocks."""
        return await self._loop.run_in_executor(self._pool, work, *arguments)

    def close(self) -> None:
        """Cancellations are in order from now on."""
        self._closed = True

    def shut_down(self) -> None:
        """Start nothing more in threads, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)
