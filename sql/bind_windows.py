"""Binding of a window clause: its lengths and its time zone checked, its shape made."""

from __future__ import annotations

from headrace.sql import syntax as s
from headrace.sql import windows as w
from headrace.sql.errors import RecordError, did_you_mean_zone, sql_error
from headrace.sql.runtime.times import zone as find_zone

MOST_WINDOWS = 1_000
"""In so many windows may one record be."""
_DAY_MS = 86_400_000
_OF_ANY = "window_start, window_end and window_time are of whatever window it is"


def bind_window(clause: s.WindowClause) -> w.Window:
    """The shape of a window; SqlError where its lengths do not go together."""
    if clause.size_ms <= 0:
        what = "a session has a gap" if clause.kind is s.WindowKind.SESSION else "a window has a size"
        raise sql_error(f"{what} above zero", clause.span)
    if clause.grace_ms < 0:
        raise sql_error("a grace period is not negative", clause.span)
    if clause.zone is not None:
        return _daily(clause, clause.zone)
    match clause.kind:
        case s.WindowKind.TUMBLING:
            return w.Tumbling(clause.size_ms, clause.offset_ms % clause.size_ms, clause.grace_ms)
        case s.WindowKind.SESSION:
            return w.Session(clause.size_ms, clause.grace_ms)
    if clause.step_ms <= 0:
        what = "an advance" if clause.kind is s.WindowKind.HOPPING else "a step"
        raise sql_error(f"the window has {what} above zero", clause.span)
    several: w.Several
    if clause.kind is s.WindowKind.HOPPING:
        several = w.Hopping(clause.size_ms, clause.step_ms, clause.offset_ms % clause.step_ms, clause.grace_ms)
    elif clause.size_ms % clause.step_ms:
        raise sql_error("the size of a cumulating window is a multiple of its step", clause.span)
    else:
        several = w.Cumulating(clause.step_ms, clause.size_ms, clause.offset_ms % clause.size_ms, clause.grace_ms)
    most = w.most_windows(several)
    if most > MOST_WINDOWS:
        raise sql_error(
            f"each record would be in {most} windows, and {MOST_WINDOWS} are the most",
            clause.span,
            "let the windows begin less often",
        )
    return several


def _daily(clause: s.WindowClause, zone: s.StringLiteral) -> w.Daily:
    if clause.kind is not s.WindowKind.TUMBLING or clause.size_ms % _DAY_MS or clause.offset_ms:
        raise sql_error(
            "a time zone goes with tumbling windows of whole days",
            zone.span,
            "for example TUMBLE(time, INTERVAL '1' DAY, TIMEZONE 'Europe/Paris')",
        )
    try:
        find_zone(zone.value)
    except RecordError as error:
        raise sql_error(str(error), zone.span, did_you_mean_zone(zone.value)) from None
    return w.Daily(clause.size_ms // _DAY_MS, zone.value, clause.grace_ms)


def check_window_call(call: s.FunctionCall, clause: s.WindowClause) -> None:
    """SqlError where a call such as `TUMBLE_START(time, size)` speaks of another window than the query has."""
    kind = call.name.partition("_")[0]
    if s.WINDOW_FUNCTIONS[kind] is not clause.kind:
        raise sql_error(f"{call.name} is of a {kind} window, the query's is {clause.kind.lower()}", call.span, _OF_ANY)
    durations = [part for part in call.arguments if isinstance(part, s.IntervalLiteral)]
    if not call.arguments:
        return
    if len(call.arguments) - len(durations) > 1:
        raise sql_error(f"{call.name} takes the time and the durations of the query's window", call.span, _OF_ANY)
    own = [clause.size_ms] if clause.step_ms == 0 else [clause.step_ms, clause.size_ms]
    own += [clause.offset_ms] if clause.offset_ms or len(durations) > len(own) else []
    if [part.milliseconds for part in durations] != own:
        raise sql_error(f"{call.name} has other durations than the query's window", call.span, _OF_ANY)
