"""What a stage gives out: sink records, blocks of rows for other stages, dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec

from headrace.sql.runtime.codec import Block, encode_key
from headrace.sql.runtime.encoders import Encode
from headrace.sql.runtime.opaque import store
from headrace.sql.runtime.records import Headers, Output
from headrace.sql.runtime.watermarks import START

BLOCK_ROWS = 2_000
BLOCK_BYTES = 512 * 1024
ROUTES_MAX = 100_000
"""Keys whose partition is remembered over a commit."""

_encode_lines = msgspec.json.Encoder(decimal_format="number").encode_lines
_encode = msgspec.msgpack.Encoder(enc_hook=store).encode


class SinkBuffer:
    """Records for one sink topic since they were last taken."""

    def __init__(self, topic: str, encode: Encode) -> None:
        self._output = Output(topic, None)
        self._encode = encode
        self.emitted = 0
        """Records ever emitted."""
        self.bytes = 0
        """What the values that wait take, by the first and the last of those that came together."""

    def extend(
        self,
        keys: list[Any],
        rows: list[Any],
        timestamps: list[int],
        headers: Sequence[Headers | None] = (),
    ) -> None:
        """Records as parallel lists: keys (bytes, or generated Structs), values (rows; None is a tombstone),
        timestamps, headers.
        """
        if not rows:
            return
        output = self._output
        start = len(output)
        encoded = self._encode(rows)
        output.values.extend(encoded)
        self.bytes += (len(encoded[0] or b"") + len(encoded[-1] or b"")) * len(rows) // 2
        if isinstance(keys[0], msgspec.Struct):
            keys = _encode_lines(keys).split(b"\n")
            keys.pop()
        output.keys.extend(keys)
        output.timestamps.extend(timestamps if min(timestamps) >= 0 else [max(0, t) for t in timestamps])
        if any(headers):
            if output.headers is None:
                output.headers = [()] * start
            output.headers.extend(h or () for h in headers)
        elif output.headers is not None:
            output.headers.extend([()] * len(rows))
        self.emitted += len(rows)

    def __len__(self) -> int:
        return len(self._output)

    def take(self) -> list[Output]:
        if not len(self._output):
            return []
        taken, self._output = self._output, Output(self._output.topic, None)
        self.bytes = 0
        return [taken]


class MutedSink(SinkBuffer):
    """A sink whose records nobody is to see."""

    def extend(
        self,
        keys: list[Any],  # noqa: ARG002
        rows: list[Any],
        timestamps: list[int],  # noqa: ARG002
        headers: Sequence[Headers | None] = (),  # noqa: ARG002
    ) -> None:
        self.emitted += len(rows)


class Routes(dict[Any, list[Any]]):
    """By grouping key the rows that wait for its partition of the repartition topic; made for a key when asked."""

    def __init__(self, waiting: list[list[Any]]) -> None:
        """`waiting` are the rows of each partition."""
        super().__init__()
        self._waiting = waiting

    def __missing__(self, key: Any) -> list[Any]:
        rows = self[key] = self._waiting[crc32(encode_key(key)) % len(self._waiting)]
        return rows


class ExchangeBuffer:
    """Rows on their way to another stage, by partition of the repartition topic; the watermark follows them.

    Generated code appends each row to `routes[its key]`.
    """

    def __init__(self, topic: str, partitions: int, sender: int, storable: Callable[[Any], Any] | None) -> None:
        self._topic = topic
        self._sender = sender
        self._storable = storable  # makes a row with sums beyond 64 bits fit msgpack
        self._waiting: list[list[Any]] = [[] for _ in range(partitions)]
        self.routes = Routes(self._waiting)
        self._sent = (START, False)
        self.watermark = START
        self.idle = False
        self._time = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting))

    def take_rows(self) -> list[Output]:
        """Blocks of the waiting rows, to the partitions that have some."""
        outputs: list[Output] = []
        for partition, rows in enumerate(self._waiting):
            if not rows:
                continue
            output = Output(self._topic, partition)
            for start in range(0, len(rows), BLOCK_ROWS):
                # the watermark follows the last of the rows, never precedes one
                last = start + BLOCK_ROWS >= len(rows)
                self._append(output, rows[start : start + BLOCK_ROWS], self.watermark if last else START)
            rows.clear()
            outputs.append(output)
        if len(self.routes) > ROUTES_MAX:
            self.routes.clear()
        return outputs

    def take(self) -> list[Output]:
        """Blocks of the waiting rows, and the watermark to every partition where it has changed."""
        outputs = self.take_rows()
        state = (self.watermark, self.idle)
        if state != self._sent:
            served = {output.partition for output in outputs}
            for partition in range(len(self._waiting)):
                if partition not in served:
                    output = Output(self._topic, partition)
                    self._append(output, [], self.watermark)
                    outputs.append(output)
            self._sent = state
        return outputs

    def _append(self, output: Output, rows: list[Any], watermark: int) -> None:
        try:
            encoded = _encode(rows)
        except OverflowError:
            assert self._storable is not None
            encoded = _encode([self._storable(row) for row in rows])
        if len(encoded) > BLOCK_BYTES and len(rows) > 1:
            half = len(rows) // 2
            self._append(output, rows[:half], START)
            self._append(output, rows[half:], watermark)
            return
        block = Block(self._sender, watermark, self.idle, msgspec.Raw(encoded))
        output.keys.append(None)
        output.values.append(_encode(block))
        output.timestamps.append(1)  # 0 would mean "now" to a Kafka client
