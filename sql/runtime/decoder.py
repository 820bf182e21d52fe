"""Decoding of a source's records: the needed columns of all records of a batch at once, as typed Structs.

The whole batch is decoded by one call. Where that fails, or where names in the data differ from the declared ones, each
record is decoded by itself, its faults found column by column. What that shows of the data (spelling of names, form of
times, columns left out) chooses the next batch's decoder; it never changes an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import Any

import msgspec

from headrace.sql.errors import RecordError
from headrace.sql.runtime.columns import MOMENTS, DecodedColumn, conversion, json_type
from headrace.sql.runtime.nested import is_nested
from headrace.sql.runtime.part_columns import PartReader
from headrace.sql.runtime.record_keys import KeyDecoder
from headrace.sql.runtime.records import RecordBatch
from headrace.sql.runtime.time_format import form_of
from headrace.sql.runtime.values import EVENT_TIME_MAX, EVENT_TIME_MIN


class Presence(Enum):
    """How a column occurs in the data seen so far."""

    ALWAYS = "always"
    SOMETIMES = "sometimes"


@dataclass(frozen=True, slots=True)
class Shape:
    """How one column looks in the data seen so far."""

    spelled: str
    presence: Presence
    times_as_text: bool


@dataclass(slots=True)
class Decoded:
    """The rows of a batch.

    `positions` are their places in the batch, None where every record is there. `bad` holds, for each consumer, the
    rows (by index in `rows`) that are wrong for it; `lost` the records that are wrong for all.
    """

    rows: Sequence[Any]
    times: Sequence[int]
    """Event time of each row."""
    ordered: Sequence[int]
    """The times in ascending order."""
    positions: Sequence[int] | None = None
    bad: dict[int, dict[int, RecordError]] = field(default_factory=dict)
    lost: list[tuple[int, RecordError]] = field(default_factory=list)


_OPENING, _CLOSING = ord("{"), ord("}")


class SourceDecoder:
    """Decodes the batches of one source for its consumers (each given by the columns it needs)."""

    def __init__(
        self,
        columns: Sequence[DecodedColumn],
        consumers: Sequence[frozenset[str]],
        time_column: str | None,
        time_format: str | None,
        key_format: str,
    ) -> None:
        self._all = tuple(columns)
        self._columns = tuple(c for c in columns if c.part is None)
        self._parts = PartReader([c for c in columns if c.part is not None])
        self._consumers = tuple(consumers)
        self._time = next((c for c in columns if c.name == time_column), None)
        self._time_format = form_of(time_format) if time_format is not None else None
        self._keys = KeyDecoder([c for c in columns if c.key], key_format) if any(c.key for c in columns) else None
        self._row = msgspec.defstruct(
            "Row", [(c.attribute, Any) for c in columns], gc=False
        )  # the rows of the slow path; attributes as in the fast ones
        self._lenient = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._shapes = {c.name: Shape(c.name, Presence.ALWAYS, False) for c in self._columns}
        self._single: dict[tuple[str, bool], Callable[[Any], Any]] = {}
        self._prepare()

    def decode(self, batch: RecordBatch) -> Decoded:
        rows = self._decode_together(batch)
        if rows is not None:
            times = self._times_of(batch, rows)
            if times is not None and self._parts.fill(rows, batch, times):
                ordered = sorted(times)  # most are in order: then it takes less time than to look for the largest
                if not ordered or (ordered[0] >= EVENT_TIME_MIN and ordered[-1] <= EVENT_TIME_MAX):
                    return Decoded(rows, times, ordered)
        return self._decode_each(batch)

    # All records by one call

    def _prepare(self) -> None:
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        self._conversions: list[tuple[Any, Callable[[Any], Any], Any, bool]] = []
        for column in self._columns:
            shape = self._shapes[column.name]
            type_ = json_type(column, times_as_text=shape.times_as_text)
            rename[column.attribute] = shape.spelled
            if shape.presence is Presence.SOMETIMES:
                fields.append((column.attribute, type_, None))
            else:
                fields.append((column.attribute, type_))
        for column in self._parts.columns:
            unused = f"({column.attribute})"
            while unused in rename.values():
                unused = f"({unused})"
            rename[column.attribute] = unused  # what a value has of that name is overwritten
            fields.append((column.attribute, Any, None))
        fields.sort(key=len)  # a field without a default cannot follow one with
        struct = msgspec.defstruct("Row", fields, gc=False, rename=rename)
        self._joined = msgspec.json.Decoder(struct).decode_lines
        for column in self._columns:
            convert = conversion(column, times_as_text=self._shapes[column.name].times_as_text)
            if convert is not None:
                setter = getattr(struct, column.attribute).__set__
                is_required = is_nested(column.type) and not column.nullable  # its JSON null is found out only here
                self._conversions.append((attrgetter(column.attribute), convert, setter, is_required))
        watched = [
            shape.spelled
            for column, shape in ((c, self._shapes[c.name]) for c in self._columns)
            if not column.quoted and (shape.spelled != column.name or shape.presence is Presence.SOMETIMES)
        ]
        self._watched = [(b'"%s"' % name.encode(), b'"%s"' % name.lower().encode()) for name in watched]

    def _decode_together(self, batch: RecordBatch) -> list[Any] | None:
        """Rows of all records; None where some record needs a closer look."""
        rows = self._rows_together(batch.values)
        try:
            if rows is not None and self._keys is not None and self._keys.fill(rows, batch.keys):
                return None
        except RecordError:
            return None
        return rows

    def _rows_together(self, values: Sequence[bytes | None]) -> list[Any] | None:
        """Rows of all values, without what record keys say; None where some value needs a closer look."""
        try:
            # Objects at both sides of every join: so no record can complete what another one began.
            if any([True for value in values if value[0] != _OPENING or value[-1] != _CLOSING]):  # type: ignore[index]  # noqa: C419 (faster)
                return None
            data = b"\n".join(values)  # type: ignore[arg-type]
            if not data.isascii():
                data.decode()  # names and values that are skipped are UTF-8 too
            rows: list[Any] = self._joined(data)
        except (msgspec.DecodeError, TypeError, IndexError, UnicodeDecodeError, RecursionError):
            return None
        if len(rows) != len(values) or not self._names_hold(data):
            return None
        try:
            for get, convert, setter, is_required in self._conversions:
                converted = [None if value is None else convert(value) for value in map(get, rows)]
                if is_required and None in converted:
                    return None
                deque(map(setter, rows, converted), maxlen=0)
        except (RecordError, ValueError):
            return None
        return rows

    def _names_hold(self, data: bytes) -> bool:
        """Whether no name in the data could mean a column other than the decoder took it for."""
        if not self._watched:
            return True
        if b"\\u" in data:
            return False
        lowered = data.lower() if data.isascii() else data.decode().lower().encode()
        return all(lowered.count(folded) == data.count(spelled) for spelled, folded in self._watched)

    def _times_of(self, batch: RecordBatch, rows: Sequence[Any]) -> Sequence[int] | None:
        if self._time_format is not None and self._time is not None:
            texts = map(attrgetter(self._time.attribute), rows)
            try:
                return [self._time_format.parse(text) for text in texts]
            except RecordError:
                return None
        return batch.timestamps if self._time is None else list(map(attrgetter(self._time.attribute), rows))

    # Each record by itself

    def _decode_each(self, batch: RecordBatch) -> Decoded:
        rows: list[Any] = []
        times: list[int] = []
        positions: list[int] = []
        decoded = Decoded(rows, times, (), positions)
        seen = Seen()
        for position, value in enumerate(batch.values):
            try:
                row, faults = self._decode_one(value, batch.keys[position], seen)
                time = self._time_of(batch, position, row, faults)
                faults.update(self._parts.fill_one(row, batch, position, time))
                times.append(time)
            except RecordError as error:
                decoded.lost.append((position, error))
                continue
            for index, wanted in enumerate(self._consumers):
                fault = next((faults[name] for name in faults if name in wanted), None)
                if fault is not None:
                    decoded.bad.setdefault(index, {})[len(rows)] = fault
            rows.append(row)
            positions.append(position)
        decoded.ordered = sorted(times)
        if len(rows) == len(batch.values):
            decoded.positions = None
        self._learn(seen)
        return decoded

    def _decode_one(self, value: bytes | None, key: bytes | None, seen: Seen) -> tuple[Any, dict[str, RecordError]]:
        """A row, and what is wrong with its columns by name. RecordError where the value is none at all."""
        found, faults = self._read(value, seen)
        if self._keys is not None:
            faults.update(self._keys.merge(found, key))
        for column in self._columns:
            if found[column.name] is None and not column.nullable and column.name not in faults:
                faults[column.name] = RecordError("null", f"column `{column.name}` is NOT NULL, the record has NULL")
        return self._row(*[found.get(column.name) for column in self._all]), faults

    def _read(self, value: bytes | None, seen: Seen) -> tuple[dict[str, Any], dict[str, RecordError]]:
        """What a value holds and what is wrong with it, by column. RecordError where it is no JSON object."""
        if value is None:
            raise RecordError("tombstone", "the value is null (a tombstone), and a stream has no rows to delete")
        try:
            value.decode()
            fields = self._lenient(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordError("malformed", f"not a JSON object: {error}") from None
        except RecursionError:
            raise RecordError("malformed", "nested too deeply") from None
        faults: dict[str, RecordError] = {}
        found: dict[str, Any] = {}
        folded: dict[str, str] | None = None
        for column in self._columns:
            spelled: str | None = column.name
            if column.name not in fields:
                if folded is None:
                    folded = {name.lower(): name for name in fields}
                spelled = None if column.quoted else folded.get(column.name.lower())
            try:
                found[column.name] = self._decode_column(column, fields, spelled, seen)
            except RecordError as error:
                found[column.name] = None
                faults[column.name] = error
        return found, faults

    def _decode_column(
        self, column: DecodedColumn, fields: dict[str, msgspec.Raw], spelled: str | None, seen: Seen
    ) -> Any:
        if spelled is None:
            seen.missing.add(column.name)
            return None
        seen.spellings.setdefault(column.name, set()).add(spelled)
        raw = fields[spelled]
        as_text = column.type.kind in MOMENTS and bytes(raw)[:1] == b'"'
        seen.as_text.setdefault(column.name, set()).add(as_text)
        decoder = self._single.get((column.name, as_text))
        if decoder is None:
            type_ = json_type(column, times_as_text=as_text)
            is_nullable = column.nullable or column.key or is_nested(column.type)
            decoder = msgspec.json.Decoder(type_ if is_nullable else type_ | None).decode
            self._single[column.name, as_text] = decoder
        try:
            value = decoder(raw)
            convert = conversion(column, times_as_text=as_text)
            return value if value is None or convert is None else convert(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordError("type", f"column `{column.name}` ({column.type}): {error}") from None
        except RecordError as error:
            raise RecordError("type", f"column `{column.name}` ({column.type}): {error}") from None

    def _time_of(self, batch: RecordBatch, position: int, row: Any, faults: dict[str, RecordError]) -> int:
        if self._time is not None and self._time.name in faults:
            raise faults[self._time.name]
        value: Any = batch.timestamps[position] if self._time is None else getattr(row, self._time.attribute)
        if self._time_format is not None:
            return self._time_format.parse(value)
        if not EVENT_TIME_MIN <= value <= EVENT_TIME_MAX:
            raise RecordError("overflow", f"the event time {value} is out of range")
        return int(value)

    def _learn(self, seen: Seen) -> None:
        """Choose the decoder that would have taken these records."""
        shapes = dict(self._shapes)
        for column in self._columns:
            spellings = seen.spellings.get(column.name, set())
            old = shapes[column.name]
            optional = column.name in seen.missing and (column.nullable or column.key)
            shapes[column.name] = Shape(
                next(iter(spellings)) if len(spellings) == 1 else old.spelled,
                Presence.SOMETIMES if optional else old.presence,
                True in seen.as_text[column.name] if column.name in seen.as_text else old.times_as_text,
            )
        spellings_differ = len({shape.spelled for shape in shapes.values()}) == len(shapes)
        if shapes != self._shapes and spellings_differ:
            self._shapes = shapes
            self._prepare()


@dataclass(slots=True)
class Seen:
    """What the records of a batch looked like, column by column."""

    spellings: dict[str, set[str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    as_text: dict[str, set[bool]] = field(default_factory=dict)
