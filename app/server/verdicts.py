"""What a changed text of a job means for the state that its versions before have made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from headrace.app.application import App
from headrace.sql.physical import Mode, SourceInput


class Kind(StrEnum):
    NEW = "new"
    """There is no job of that name."""
    UNCHANGED = "unchanged"
    """The plan is the same."""
    COMPATIBLE = "compatible"
    """The new version goes on where the one before stops, with its state."""
    REBUILD = "needs_rebuild"
    """State was made by another query: it has to be made anew from the sources."""
    INCOMPATIBLE = "incompatible"
    """What is written would no longer be what readers of a sink rely on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a job, as far as a verdict looks."""

    app: App
    mode: Mode
    parallelism: int | None


def judge(old: Version, new: Version) -> Verdict:
    """Whether the new version may go on with what the old one has read and stored."""
    if broken := tuple(_broken_sinks(old.app, new.app)):
        return Verdict(Kind.INCOMPATIBLE, broken)
    if stale := tuple(_stale_state(old, new)):
        return Verdict(Kind.REBUILD, stale)
    same = old.app.explain("physical", old.mode) == new.app.explain("physical", new.mode)
    return Verdict(Kind.UNCHANGED if same else Kind.COMPATIBLE)


def _broken_sinks(old: App, new: App) -> Iterator[str]:
    """Sinks that both write, whose records would no longer be updates of each other."""
    before = {query.sink.topic: query for query in old.logical.queries}
    for query in new.logical.queries:
        known = before.get(query.sink.topic)
        if known is None:
            continue
        if known.sink.kind is not query.sink.kind:
            yield f"topic {query.sink.topic} would hold a {query.sink.kind} where it holds a {known.sink.kind}"
        elif (known.sink.key_columns, known.sink.key_format) != (query.sink.key_columns, query.sink.key_format):
            yield f"records of topic {query.sink.topic} would have other keys"


def _stale_state(old: Version, new: Version) -> Iterator[str]:
    if old.mode is not new.mode:
        yield f"state of mode {old.mode} is not that of mode {new.mode}"
    if new.parallelism is not None and old.parallelism != new.parallelism:
        yield "another parallelism puts groups into other partitions"
    before, after = old.app.stages(old.mode), new.app.stages(new.mode)
    stages = {stage.name: stage for stage in new.app.plan(new.mode).stages}
    for name, compiled in after.items():
        known = before.get(name)
        if known is None and stages[name].stateful:
            yield f"stage {name} is new: it has not seen the records so far"
        elif known is not None and known.plan_version != compiled.plan_version and _depends(old, new, name):
            yield f"stage {name} is another one: what it has stored was made of other rows, or in another way"


def _depends(old: Version, new: Version, stage: str) -> bool:
    """Whether anything that was made before reaches the stage: its state, or rows on their way to it."""
    plans = [{each.name: each for each in version.app.plan(version.mode).stages} for version in (old, new)]
    return any(plan[stage].stateful or not isinstance(plan[stage].input, SourceInput) for plan in plans)
