"""Text forms of times: ISO-8601, or a pattern, Java's (`yyyy-MM-dd HH:mm:ss`) or PostgreSQL's (`YYYY-MM-DD`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby

from headrace.sql.errors import RecordError
from headrace.sql.runtime.times import from_zone, moment_of, zone
from headrace.sql.runtime.values import DAY_MS, iso_timestamp, parse_iso_timestamp

LENGTH_MAX = 1000
DEPTH_MAX = 32
"""Of what may be left out in what may be left out."""
_ISO_NAMES = ("iso", "iso8601", "iso-8601")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORT_MONTHS, _SHORT_WEEKDAYS = (tuple(name[:3] for name in names) for names in (MONTHS, WEEKDAYS))
_OFFSET = r"Z|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}"
_CLOCK = frozenset(("hour", "hour24", "hour12", "half", "minute", "second", "fraction"))
_ZONES = frozenset(("offset", "zone"))


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a form: the regular expression that reads it, and how it is written. `field` "" is literal text."""

    field: str
    regex: str
    write: Callable[[datetime], str]


class TimeFormat:
    """A text form of times, read and written. Without a zone a text is UTC, or of the zone that a call gives."""

    def __init__(self, pattern: str, parts: tuple[Part, ...]) -> None:
        self.pattern = pattern
        self.fields = frozenset(part.field for part in parts) - {""}
        self._writers = tuple(part.write for part in parts)
        self._iso = not parts
        read: set[str] = set()
        regex = ""
        for part in parts:
            known = part.field != "" and part.field in read
            regex += f"(?P={part.field})" if known else f"(?P<{part.field}>{part.regex})" if part.field else part.regex
            read.add(part.field)
        self._regex = re.compile(regex)

    def parse(self, text: str, zone_name: str | None = None) -> int:
        """Milliseconds since the epoch; RecordError where the text has another form."""
        if self._iso:
            return _parse_iso(text, zone_name)
        match = self._regex.fullmatch(text)
        if match is None:
            raise RecordError("cast", f"'{text}' is not a time of the form {self.pattern}")
        found = match.groupdict()
        try:
            moment = datetime(  # noqa: DTZ001 (what clocks show)
                _year(found),
                _month(found),
                int(found.get("day") or 1),
                _hour(found),
                int(found.get("minute") or 0),
                int(found.get("second") or 0),
            )
            if found.get("yearday"):
                moment = moment.replace(month=1, day=1) + timedelta(int(found["yearday"]) - 1)
        except (ValueError, OverflowError) as error:
            raise RecordError("cast", f"'{text}' is not a time: {error}") from None
        fraction = (found.get("fraction") or "0").ljust(3, "0")[:3]
        local = (moment - _NAIVE_EPOCH) // _MILLISECOND + int(fraction)
        offset = found.get("offset")
        if offset is not None:
            return local - _offset_minutes(offset) * 60_000
        name = found.get("zone") or zone_name
        return local if name is None else from_zone(local, name)

    def format(self, milliseconds: int, zone_name: str | None = None) -> str:
        """RecordError outside of the calendar."""
        moment = moment_of(milliseconds)
        if zone_name is not None:
            moment = _in_zone(moment, zone_name)
        if self._iso:
            return iso_timestamp(milliseconds if zone_name is None else _wall_ms(moment))
        return "".join(write(moment) for write in self._writers)

    def format_instant(self, milliseconds: int) -> str:
        """As `format`, of a TIMESTAMP_LTZ: ISO-8601 names the zone."""
        return f"{iso_timestamp(milliseconds)}Z" if self._iso else self.format(milliseconds)

    def parse_date(self, text: str) -> int:
        """Days since the epoch."""
        return self.parse(text) // DAY_MS

    def format_date(self, days: int) -> str:
        return self.format(days * DAY_MS)[: 10 if self._iso else None]

    def parse_time(self, text: str) -> int:
        """Milliseconds since midnight."""
        return self.parse(text) % DAY_MS


_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (what clocks show, its zone not known yet)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=1000)
def form_of(pattern: str) -> TimeFormat:
    """The form that a pattern says, in Java's letters; in PostgreSQL's where it has a word only they have.

    RecordError for a letter that is not known.
    """
    _check_length(pattern)
    if pattern.lower() in _ISO_NAMES:
        return TimeFormat(pattern, ())
    if _ONLY_POSTGRES.search(pattern):
        if set("ydms") & set(_NAME_WORDS.sub("", pattern)):
            raise RecordError("pattern", f"`{pattern}` mixes the letters of Java and of PostgreSQL")
        return _checked(postgres_format(pattern))
    parts = tuple(_java_parts(pattern))
    if not parts:
        raise RecordError("pattern", "a time format is not empty")
    return _checked(TimeFormat(pattern, parts))


@lru_cache(maxsize=1000)
def postgres_format(pattern: str) -> TimeFormat:
    """The form that a pattern of PostgreSQL's TO_CHAR says."""
    _check_length(pattern)
    parts = tuple(_postgres_parts(pattern))
    if not parts:
        raise RecordError("pattern", "a time format is not empty")
    return TimeFormat(pattern, parts)


@lru_cache(maxsize=1000)
def date_format(pattern: str) -> TimeFormat:
    """A form of dates alone."""
    form = form_of(pattern)
    if form.fields & (_CLOCK | _ZONES):
        raise RecordError("pattern", f"`{pattern}` has a time of day, which a DATE has not")
    return form


@lru_cache(maxsize=1000)
def clock_format(pattern: str) -> TimeFormat:
    """A form of times of day alone."""
    form = form_of(pattern)
    if form.fields - _CLOCK or not form.fields:
        raise RecordError("pattern", f"`{pattern}` is no form of a TIME: it has hours, minutes and seconds alone")
    return form


def _check_length(pattern: str) -> None:
    if len(pattern) > LENGTH_MAX:
        raise RecordError("pattern", f"a time format has at most {LENGTH_MAX} characters")


def _checked(form: TimeFormat) -> TimeFormat:
    if "hour12" in form.fields and "half" not in form.fields and "hour" not in form.fields:
        raise RecordError("pattern", f"`{form.pattern}` has hours up to 12 without AM or PM")
    return form


# Java's letters


def _padded(field: str, width: int, get: Callable[[datetime], int], digits: int = 2) -> Part:
    regex = f"[0-9]{{{width}}}" if width > 1 else f"[0-9]{{1,{digits}}}"
    return Part(field, regex, lambda moment: f"{get(moment):0{width}d}")


def _named(field: str, names: tuple[str, ...], get: Callable[[datetime], int]) -> Part:
    return Part(field, f"(?i:{'|'.join(names)})", lambda moment: names[get(moment)])


def _java_part(run: str) -> Part | None:
    letter, width = run[0], len(run)
    match letter:
        case "y" | "u" if width == 2:
            return Part("year2", "[0-9]{2}", lambda moment: f"{moment.year % 100:02d}")
        case "y" | "u" if width in (1, 4):
            return _padded("year", width, lambda moment: moment.year, 4)
        case "M" | "L" if width == 3:
            return _named("month_name", _SHORT_MONTHS, lambda moment: moment.month - 1)
        case "M" | "L" if width == 4:
            return _named("month_name", MONTHS, lambda moment: moment.month - 1)
        case "E" if width <= 4:
            names = WEEKDAYS if width == 4 else _SHORT_WEEKDAYS
            return _named("weekday", names, lambda moment: moment.weekday())
        case "D" if width in (1, 3):
            return _padded("yearday", width, lambda moment: moment.timetuple().tm_yday, 3)
        case "Q" | "q" if width <= 2:
            return _padded("quarter", width, lambda moment: (moment.month + 2) // 3)
        case "a" if width == 1:
            return Part("half", "(?i:AM|PM)", lambda moment: "AM" if moment.hour < 12 else "PM")
        case "S" if width <= 9:
            return Part("fraction", f"[0-9]{{{width}}}", lambda m: f"{m.microsecond:06d}".ljust(width, "0")[:width])
        case "n" if width == 9:
            return Part("fraction", "[0-9]{9}", lambda moment: f"{moment.microsecond * 1000:09d}")
        case "X" | "x" if width <= 3:
            return Part("offset", _OFFSET, lambda moment: _offset_text(moment, letter, width))
        case "Z" if width <= 3:
            return Part("offset", _OFFSET, lambda moment: _offset_text(moment, "x", 2))
        case "Z" if width == 5:
            return Part("offset", _OFFSET, lambda moment: _offset_text(moment, "X", 3))
        case "V" if width == 2:
            return Part("zone", "[A-Za-z][A-Za-z0-9_+/-]*", _zone_name)
    numbers: Mapping[str, tuple[str, Callable[[datetime], int]]] = {
        "M": ("month", lambda moment: moment.month),
        "L": ("month", lambda moment: moment.month),
        "d": ("day", lambda moment: moment.day),
        "H": ("hour", lambda moment: moment.hour),
        "k": ("hour24", lambda moment: moment.hour or 24),
        "h": ("hour12", lambda moment: (moment.hour + 11) % 12 + 1),
        "K": ("hour12", lambda moment: moment.hour % 12),
        "m": ("minute", lambda moment: moment.minute),
        "s": ("second", lambda moment: moment.second),
    }
    return _padded(numbers[letter][0], width, numbers[letter][1]) if letter in numbers and width <= 2 else None


def _literal(text: str) -> Part:
    return Part("", re.escape(text), lambda _: text)


def _java_parts(pattern: str) -> Iterator[Part]:
    pieces = pattern.replace("''", "\0").split("'")
    if len(pieces) % 2 == 0:
        raise RecordError("pattern", f"`{pattern}` has a quote that is not closed")
    depth = 0
    for index, piece in enumerate(pieces):
        if index % 2:
            yield _literal(piece.replace("\0", "'"))
            continue
        for letter, group in groupby(piece):
            run = "".join(group)
            if letter.isalpha():
                part = _java_part(run)
                if part is None:
                    hint = "; `yyyy` is the year" if letter == "Y" else ""
                    raise RecordError("pattern", f"`{run}` is not known in a time format{hint}; known: {_KNOWN}")
                yield part
            elif letter in "[]":  # what may be left out when it is read
                depth += len(run) if letter == "[" else -len(run)
                if depth > DEPTH_MAX:
                    raise RecordError("pattern", f"a time format has brackets at most {DEPTH_MAX} deep")
                yield Part("", "(?:" * len(run) if letter == "[" else ")?" * len(run), lambda _: "")
            else:
                yield _literal(run.replace("\0", "'"))
            if depth < 0:
                break
    if depth:
        raise RecordError("pattern", f"`{pattern}` has brackets that do not match")


_KNOWN = "yyyy yy MM MMM MMMM dd DDD EEE EEEE Q HH hh a mm ss S X x Z VV"


# PostgreSQL's words

_POSTGRES: Mapping[str, str] = {
    "YYYY": "yyyy",
    "YY": "yy",
    "MM": "MM",
    "DDD": "DDD",
    "DD": "dd",
    "HH24": "HH",
    "HH12": "hh",
    "HH": "hh",
    "MI": "mm",
    "SS": "ss",
    "MS": "SSS",
    "US": "SSSSSS",
    "Q": "Q",
    "AM": "a",
    "PM": "a",
    "OF": "X",
    "MONTH": "MMMM",
    "MON": "MMM",
    "DAY": "EEEE",
    "DY": "EEE",
}
_ONLY_POSTGRES = re.compile(r"YYYY|HH24|HH12|MI|(?<!D)DD(?!D)")
_NAME_WORDS = re.compile(r"[Mm]onth|[Mm]on|[Dd]ay|[Dd]y")
_POSTGRES_WORDS = tuple(sorted(_POSTGRES, key=len, reverse=True))
_FULL_NAME_WIDTH = 9
"""PostgreSQL fills full names with spaces, unless FM stands before."""


def _postgres_parts(pattern: str) -> Iterator[Part]:
    position = 0
    while position < len(pattern):
        if pattern[position] == '"':
            end = pattern.find('"', position + 1)
            if end < 0:
                raise RecordError("pattern", f"`{pattern}` has a quote that is not closed")
            yield _literal(pattern[position + 1 : end])
            position = end + 1
            continue
        rest = pattern[position:]
        fill = not rest.upper().startswith("FM")
        rest = rest if fill else rest[2:]
        word = next((known for known in _POSTGRES_WORDS if rest.upper().startswith(known)), None)
        if word is not None:
            yield _postgres_part(word, rest[: len(word)], fill=fill)
        elif not fill or (rest[0].isalpha() and rest[0] != "T"):
            raise RecordError(
                "pattern", f"`{rest}` is not known in PostgreSQL's time format; known: {' '.join(_POSTGRES)}"
            )
        else:
            yield _literal(rest[0])
        position = len(pattern) - len(rest) + len(word or "x")


def _postgres_part(word: str, written: str, *, fill: bool) -> Part:
    java = _POSTGRES[word]
    if not fill and java[0] in "yMdDHhms" and len(java) == 2:
        java = java[0]
    part = _java_part(java)
    assert part is not None
    if java[0] not in "MEa" or len(java) == 2:
        return part
    change = str.upper if written.isupper() else str.lower if written.islower() else str
    width = _FULL_NAME_WIDTH if fill and len(java) == 4 else 0
    regex = f"(?:{part.regex}) *" if width else part.regex
    return Part(part.field, regex, lambda moment: change(part.write(moment)).ljust(width))


# Fields of what was read, and of what is written


def _year(found: Mapping[str, str | None]) -> int:
    short = found.get("year2")
    return 2000 + int(short) if short else int(found.get("year") or 1970)


def _month(found: Mapping[str, str | None]) -> int:
    name = found.get("month_name")
    if name:
        return _SHORT_MONTHS.index(name[:3].title()) + 1
    quarter = found.get("quarter")
    return int(found.get("month") or (int(quarter) * 3 - 2 if quarter else 1))


def _hour(found: Mapping[str, str | None]) -> int:
    hour, late, short = found.get("hour"), found.get("hour24"), found.get("hour12")
    if not short or hour:
        return int(hour or 0) if not late else int(late) % 24
    if int(short) > 12:
        raise ValueError("hour must be in 1..12")
    return int(short) % 12 + (12 if (found.get("half") or "AM").upper() == "PM" else 0)


def _offset_minutes(text: str) -> int:
    if text in "Zz":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if text[0] == "-" else minutes


def _offset_text(moment: datetime, letter: str, width: int) -> str:
    offset = moment.utcoffset()
    minutes = 0 if offset is None else offset // timedelta(minutes=1)
    if minutes == 0 and letter == "X":
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    if width == 1:
        return f"{sign}{hours:02d}{rest:02d}" if rest else f"{sign}{hours:02d}"
    return f"{sign}{hours:02d}{':' if width == 3 else ''}{rest:02d}"


def _zone_name(moment: datetime) -> str:
    return str(moment.tzinfo)


def _in_zone(moment: datetime, name: str) -> datetime:
    try:
        return moment.astimezone(zone(name))
    except OverflowError:
        raise RecordError("overflow", "value out of range of TIMESTAMP") from None


def _wall_ms(moment: datetime) -> int:
    return (moment.replace(tzinfo=None) - _NAIVE_EPOCH) // _MILLISECOND


def _parse_iso(text: str, zone_name: str | None) -> int:
    milliseconds = parse_iso_timestamp(text)
    if zone_name is None or datetime.fromisoformat(text.strip()).tzinfo is not None:
        return milliseconds
    return from_zone(milliseconds, zone_name)
