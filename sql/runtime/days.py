"""Windows of whole days in a time zone, where a day has 23, 24 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from headrace.sql.errors import RecordError

_EPOCH = date(1970, 1, 1).toordinal()


class Days:
    """The windows of so many days in a zone, counted from 1970-01-01 there. Times are epoch milliseconds."""

    __slots__ = ("_days", "_found", "_zone", "of")

    def __init__(self, days: int, zone: str) -> None:
        self.of = (days, zone)
        self._days = days
        self._zone = ZoneInfo(zone)
        self._found = (0, 0)  # the window found last: most rows are in the same one

    def end(self, time_ms: int) -> int:
        """The end of the window that a time is in. RecordError outside of the calendar, years 1 to 9999."""
        start, end = self._found
        return end if start <= time_ms < end else self._find(time_ms)[1]

    def start(self, end_ms: int) -> int:
        """The start of the window that ends there."""
        start, end = self._found
        return start if end == end_ms else self._find(end_ms - 1)[0]

    def _find(self, time_ms: int) -> tuple[int, int]:
        try:
            day = datetime.fromtimestamp(time_ms // 1000, self._zone).toordinal() - _EPOCH
            first = day - day % self._days
            found = self._midnight(first), self._midnight(first + self._days)
        except (ValueError, OverflowError, OSError):
            raise RecordError("time", f"{time_ms} is outside of the calendar") from None
        self._found = found
        return found

    def _midnight(self, day: int) -> int:
        """The first instant of a day: where clocks skip midnight, the moment at which they do."""
        local = datetime.combine(date.fromordinal(_EPOCH + day), time(), self._zone)
        return (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
