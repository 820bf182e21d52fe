"""Text forms of times: ISO-8601, or a pattern of letters as ksqlDB users write them (`yyyy-MM-dd HH:mm:ss`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import groupby

from headrace.sql.errors import RecordError
from headrace.sql.runtime.values import iso_timestamp, parse_iso_timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_NAMES = ("iso", "iso8601", "iso-8601")
_FIELDS = {
    "yyyy": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d{2})",
    "dd": r"(?P<day>\d{2})",
    "HH": r"(?P<hour>\d{2})",
    "mm": r"(?P<minute>\d{2})",
    "ss": r"(?P<second>\d{2})",
}
_ZONE = r"(?P<zone>Z|[+-]\d{2}:?\d{2}|[+-]\d{2})"


class TimeFormat:
    """A text form of times, read and written.

    Letters: yyyy MM dd HH mm ss, S (fraction of a second), X or Z (zone, read only as an offset and written as Z);
    other characters stand for themselves, words in single quotes. Without a zone a text is UTC.
    """

    def __init__(self, pattern: str) -> None:
        """Raises RecordError for a letter that is not known."""
        self.pattern = pattern
        self._iso = pattern.lower() in _ISO_NAMES
        if not self._iso:
            self._parts = _parts(pattern)
            self._regex = re.compile("".join(_regex(part, literal=literal) for part, literal in self._parts))

    def parse(self, text: str) -> int:
        """Milliseconds since the epoch; RecordError where the text has another form."""
        if self._iso:
            return parse_iso_timestamp(text)
        match = self._regex.fullmatch(text)
        if match is None:
            raise RecordError("cast", f"'{text}' is not a time of the form {self.pattern}")
        found = match.groupdict()
        try:
            moment = datetime(
                int(found.get("year") or 1970),
                int(found.get("month") or 1),
                int(found.get("day") or 1),
                int(found.get("hour") or 0),
                int(found.get("minute") or 0),
                int(found.get("second") or 0),
                tzinfo=UTC,
            )
        except ValueError as error:
            raise RecordError("cast", f"'{text}' is not a time: {error}") from None
        fraction = (found.get("fraction") or "0").ljust(3, "0")[:3]
        offset = _offset_minutes(found.get("zone") or "Z")
        return (moment - _EPOCH) // timedelta(milliseconds=1) + int(fraction) - offset * 60_000

    def format(self, milliseconds: int) -> str:
        if self._iso:
            return iso_timestamp(milliseconds)
        try:
            moment = _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError:
            raise RecordError("overflow", "value out of range of TIMESTAMP") from None
        return "".join(part if literal else _written(part, moment) for part, literal in self._parts)


def _parts(pattern: str) -> list[tuple[str, bool]]:
    """Runs of one letter, and literal text (marked True)."""
    parts: list[tuple[str, bool]] = []
    for index, piece in enumerate(pattern.replace("''", "\0").split("'")):
        if index % 2:
            parts.append((piece.replace("\0", "'"), True))
            continue
        for letter, run in groupby(piece):
            parts.append(("".join(run).replace("\0", "'"), not letter.isalpha()))
    for part, literal in parts:
        if not literal and part not in _FIELDS and part[0] not in "SXZ":
            raise RecordError("pattern", f"`{part}` is not known in a time format; known: yyyy MM dd HH mm ss S X Z")
    fields = ["zone" if part[0] in "XZ" else part[0] for part, literal in parts if not literal]
    repeated = next((part for part, literal in parts if not literal and fields.count(part[0]) > 1), None)
    if repeated is not None or fields.count("zone") > 1:
        raise RecordError("pattern", f"`{repeated or 'X'}` stands twice in a time format")
    return parts


def _regex(part: str, *, literal: bool) -> str:
    if literal:
        return re.escape(part)
    if part in _FIELDS:
        return _FIELDS[part]
    return rf"(?P<fraction>\d{{{len(part)}}})" if part[0] == "S" else _ZONE


def _offset_minutes(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if zone[0] == "-" else minutes


def _written(part: str, moment: datetime) -> str:
    match part[0]:
        case "y":
            return f"{moment.year:04d}"
        case "M":
            return f"{moment.month:02d}"
        case "d":
            return f"{moment.day:02d}"
        case "H":
            return f"{moment.hour:02d}"
        case "m":
            return f"{moment.minute:02d}"
        case "s":
            return f"{moment.second:02d}"
        case "S":
            return f"{moment.microsecond:06d}".ljust(len(part), "0")[: len(part)]
        case "X":
            return "Z"
        case _:
            return "+0000"
