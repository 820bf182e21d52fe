"""An app: SQL text compiled once, to be explained, run on finite data without Kafka, or run by workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.agents.topology import NOT_DIVERTED, Topology, build_topology, dead_letter_topic, source_topics
from headrace.app.errors import InputError
from headrace.sql.binder import bind
from headrace.sql.engine import CompiledStage
from headrace.sql.errors import Span, SqlError
from headrace.sql.explain import ExplainStage, explain_logical, explain_physical
from headrace.sql.functions.user import own_functions
from headrace.sql.parser import parse
from headrace.sql.physical import Mode, PhysicalPlan
from headrace.sql.plan import LogicalPlan
from headrace.sql.planner import plan_physical
from headrace.sql.rewrites import rewrite

if TYPE_CHECKING:
    from headrace.app.local import LocalResult

DEFAULT_PARTITIONS = 4
"""Partitions of a source that declares none, where no topic tells."""


class App:
    """Streaming SQL with a name. Immutable; one App can be run many times.

    `settings` are defaults that SET and WITH in the text override (`emit`, `changes`, `late`, `on_error`, …);
    `udfs` are functions of its own: what `@headrace.udf` decorates, or modules that hold such.
    Raises SqlError with every problem of the text, UdfError for what is no function.
    """

    def __init__(
        self,
        sql_text: str,
        name: str = "app",
        *,
        settings: Mapping[str, str] | None = None,
        udfs: Iterable[object] = (),
        file: str = "<sql>",
    ) -> None:
        self.name = name
        self._place = (sql_text, file)
        functions = own_functions(udfs)
        try:
            taken = {dead_letter_topic(name): "for the dead letters of this app"}
            self.logical: LogicalPlan = rewrite(bind(parse(sql_text), settings, functions, taken))
        except SqlError as error:
            raise error.located(sql_text, file) from None
        self._compiled: dict[Mode, Mapping[str, CompiledStage]] = {}
        self._plans: dict[Mode, PhysicalPlan] = {}

    def __repr__(self) -> str:
        return f"App({self.name!r}: {', '.join(query.name for query in self.logical.queries)})"

    @property
    def settings(self) -> dict[str, str]:
        """What SET changed in the text."""
        return dict(self.logical.settings)

    def line_of(self, span: Span) -> str:
        """File and line where a part of the text begins."""
        text, file = self._place
        return f"{file}:{text.count(chr(10), 0, span.start) + 1}"

    def plan(self, mode: Mode) -> PhysicalPlan:
        if mode not in self._plans:
            self._plans[mode] = plan_physical(self.logical, mode)
        return self._plans[mode]

    def stages(self, mode: Mode) -> Mapping[str, CompiledStage]:
        """The compiled stages, by name."""
        if mode not in self._compiled:
            self._compiled[mode] = {stage.name: CompiledStage(stage) for stage in self.plan(mode).stages}
        return self._compiled[mode]

    def source_topics(self) -> tuple[str, ...]:
        return source_topics(self.plan(Mode.PARTITIONED))

    def topology(
        self,
        mode: Mode,
        source_partitions: Mapping[str, int],
        parallelism: int | None = None,
        diverted: Mapping[str, str | None] = NOT_DIVERTED,
    ) -> Topology:
        """Topics and tasks over the source topics as they are; `diverted` as in Topology.

        KeyError for one that is missing and not declared; InputError where the app has no query.
        """
        if not self.logical.queries:
            raise InputError("the app has no query", "add CREATE TABLE … AS SELECT … or INSERT INTO … SELECT …")
        versions = {name: stage.plan_version for name, stage in self.stages(mode).items()}
        if parallelism is None and "parallelism" in self.settings:
            parallelism = int(self.settings["parallelism"])
        return build_topology(self.name, self.plan(mode), versions, source_partitions, parallelism, diverted)

    def explain(self, stage: str = ExplainStage.PHYSICAL, mode: str = Mode.PARTITIONED) -> str:
        """Stable text of a step of compilation: `logical`, `physical`, `topology` or `code`."""
        execution_mode = Mode(mode)
        match ExplainStage(stage):
            case ExplainStage.LOGICAL:
                return explain_logical(self.logical)
            case ExplainStage.PHYSICAL:
                return explain_physical(self.plan(execution_mode))
            case ExplainStage.TOPOLOGY:
                return self._explain_topology(execution_mode)
            case ExplainStage.CODE:
                return "\n\n".join(s.generated.text for s in self.stages(execution_mode).values())

    def _explain_topology(self, mode: Mode) -> str:
        declared = dict.fromkeys(self.source_topics(), DEFAULT_PARTITIONS)
        for stage in self.plan(mode).stages:
            source = getattr(stage.input, "source", None)
            if source is not None and source.partitions is not None:
                declared[source.topic] = source.partitions
        topology = self.topology(mode, declared)
        lines = [f"App {topology.app}, mode {topology.mode}, parallelism {topology.parallelism}", "", "Topics"]
        for topic in topology.topics:
            count = declared.get(topic.name, topic.partitions)
            lines.append(f"  {topic.kind:<12} {topic.name}, {count} partitions")
        lines += ["", "Tasks"]
        for task in topology.tasks:
            inputs = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(task.inputs))
            state = f", state in {task.changelog.topic}[{task.changelog.partition}]" if task.changelog else ""
            lines.append(f"  {task.id}: reads {inputs}{state}")
        return "\n".join(lines) + "\n"

    def local(
        self,
        inputs: Mapping[str, Any] | None = None,
        records: Iterable[Mapping[str, Any]] | None = None,
        mode: str = Mode.PARTITIONED,
        partitions: int | None = None,
        parallelism: int | None = None,
    ) -> LocalResult:
        """Run the app on finite data, to its end, without Kafka: the same tasks, the same code, the same bytes.

        `inputs` maps a stream to its rows (dicts, or a DataFrame); `records` are envelopes (`topic`, `key`, `value`,
        `timestamp` in ms, `partition`, `headers`) in the order in which they happened. Before them come the records of
        INSERT INTO … VALUES in the text. `partitions` is the layout of the sources; by default as declared, else 4.
        Raises InputError for a name that is no source of the app.
        """
        from headrace.app.local import run_local

        return run_local(self, inputs or {}, records or (), Mode(mode), partitions, parallelism)
