"""What the Grafana dashboards of the chart show: five boards of panels, each a question to Prometheus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """One time series panel."""

    title: str
    unit: str
    """Of Grafana: `short`, `cps` (a second), `s`, `bytes`, `percentunit`."""
    description: str
    queries: tuple[tuple[str, str], ...]
    """Expression and legend of each."""
    warn: float | None = None
    """From here on the graph is red."""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: its rows of panels, and the labels that its user can choose from."""

    name: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    variables: tuple[tuple[str, str], ...] = ()
    """Label, and the metric that has its values."""


def chosen(*labels: str) -> str:
    """The selector of what the user of a dashboard chose."""
    return "{" + ", ".join(f'{label}=~"${label}"' for label in ("job", *labels)) + "}"


def rate(metric: str, by: str, *labels: str) -> str:
    return f"sum by ({by}) (rate({metric}{chosen(*labels)}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str, *labels: str) -> str:
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}, le', *labels)})"


def quantiles(metric: str, by: str, *labels: str) -> tuple[tuple[str, str], ...]:
    legend = "{{" + by + "}}"
    return tuple(
        (quantile(share, metric, by, *labels), f"{legend} {name}") for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


def late_share(by: str) -> str:
    late = rate("headrace_records_late_total", by)
    return f"{late} / ({rate('headrace_records_consumed_total', by)} > 0)"


def skew() -> str:
    """Rate of the busiest partition over the mean, for each topic."""
    each = rate("headrace_records_consumed_total", "topic, partition")
    return f"max by (topic) ({each}) / (avg by (topic) ({each}) > 0)"


OVERVIEW = Board(
    "overview",
    "Headrace: overview",
    "Is every app fast enough, up to date and right?",
    (
        (
            "Throughput",
            (
                Panel(
                    "Records read",
                    "cps",
                    "Records that queries read, a second.",
                    ((rate("headrace_records_consumed_total", "job"), "{{job}}"),),
                ),
                Panel(
                    "Records written",
                    "cps",
                    "Results that queries wrote, a second.",
                    ((rate("headrace_records_emitted_total", "job"), "{{job}}"),),
                ),
            ),
        ),
        (
            "Delay",
            (
                Panel(
                    "Lag",
                    "short",
                    "Records in the topics that are still to be read.",
                    ((f"sum by (job) (headrace_consumer_lag{chosen()})", "{{job}}"),),
                ),
                Panel(
                    "End-to-end latency",
                    "s",
                    "From the timestamp of a source record to the commit of the task that read it.",
                    quantiles("headrace_end_to_end_latency_seconds", "job"),
                    warn=10,
                ),
                Panel(
                    "Watermark lag",
                    "s",
                    "How far event time is behind the clock, at the partition that is farthest behind. "
                    "A window closes no sooner.",
                    ((f"max by (job) (headrace_watermark_lag_seconds{chosen()})", "{{job}}"),),
                ),
            ),
        ),
        (
            "Errors",
            (
                Panel(
                    "Dead letters",
                    "cps",
                    "Records that a query could not take, a second. Each is in the topic <app>-dead-letter.",
                    ((rate("headrace_records_dead_lettered_total", "job"), "{{job}}"),),
                    warn=0.001,
                ),
                Panel(
                    "Late records",
                    "percentunit",
                    "Share of the records that came after their window had closed.",
                    ((late_share("job"), "{{job}}"),),
                    warn=0.01,
                ),
            ),
        ),
    ),
)

QUERY = Board(
    "query",
    "Headrace: queries",
    "What each query of an app reads, writes and refuses.",
    (
        (
            "Records",
            (
                Panel(
                    "Records read",
                    "cps",
                    "Records that the stages of the app read, a second. A stage may run several queries.",
                    ((rate("headrace_records_consumed_total", "stage"), "{{stage}}"),),
                ),
                Panel(
                    "Records written",
                    "cps",
                    "Results that the query wrote, a second.",
                    ((rate("headrace_records_emitted_total", "query", "query"), "{{query}}"),),
                ),
            ),
        ),
        (
            "Quality",
            (
                Panel(
                    "End-to-end latency",
                    "s",
                    "From the timestamp of a source record to the commit of the task that read it.",
                    quantiles("headrace_end_to_end_latency_seconds", "topic"),
                    warn=10,
                ),
                Panel(
                    "Dead letters",
                    "cps",
                    "Records that the query could not take, a second.",
                    ((rate("headrace_records_dead_lettered_total", "query", "query"), "{{query}}"),),
                    warn=0.001,
                ),
                Panel(
                    "Late records",
                    "percentunit",
                    "Share of the records that came after their window had closed.",
                    ((late_share("stage"), "{{stage}}"),),
                    warn=0.01,
                ),
                Panel(
                    "Late after idleness",
                    "cps",
                    "Records that came for windows that had closed while their source partition was idle, a second. "
                    "A longer idle_timeout waits for them.",
                    ((rate("headrace_records_late_after_idle_total", "query", "query"), "{{query}}"),),
                    warn=0.001,
                ),
            ),
        ),
    ),
    (("query", "headrace_records_emitted_total"),),
)

PLACE = "{{topic}} {{partition}}"
PARTITION = Board(
    "partition",
    "Headrace: partitions",
    "Is the load spread evenly, and does every partition move?",
    (
        (
            "Load",
            (
                Panel(
                    "Records read",
                    "cps",
                    "Records read from the partition, a second.",
                    ((rate("headrace_records_consumed_total", "topic, partition", "partition"), PLACE),),
                ),
                Panel(
                    "Hottest five",
                    "cps",
                    "The partitions that most is read from.",
                    ((f"topk(5, {rate('headrace_records_consumed_total', 'topic, partition', 'partition')})", PLACE),),
                ),
                Panel(
                    "Skew",
                    "short",
                    "Rate of the busiest partition of a topic over the mean of its partitions. "
                    "1 is even; 3 says that one key or few have most of the records.",
                    (
                        (
                            skew(),
                            "{{topic}}",
                        ),
                    ),
                    warn=3,
                ),
            ),
        ),
        (
            "Delay",
            (
                Panel(
                    "Lag",
                    "short",
                    "Records of the partition that are still to be read.",
                    ((f"sum by (topic, partition) (headrace_consumer_lag{chosen('partition')})", PLACE),),
                ),
                Panel(
                    "Watermark lag",
                    "s",
                    "How far event time of the partition is behind the clock. The farthest holds back all.",
                    ((f"max by (topic, partition) (headrace_watermark_lag_seconds{chosen('partition')})", PLACE),),
                ),
            ),
        ),
    ),
    (("partition", "headrace_consumer_lag"),),
)

TASK = "{{stage}} {{partition}}"
STATE = Board(
    "state",
    "Headrace: state and restore",
    "How large the state is, and how it comes back after a restart.",
    (
        (
            "State",
            (
                Panel(
                    "Keys",
                    "short",
                    "Entries of the state of each task.",
                    ((f"sum by (stage, partition) (headrace_state_keys{chosen('partition')})", TASK),),
                ),
                Panel(
                    "Size",
                    "bytes",
                    "What the state of each task takes on disk and in memory.",
                    ((f"sum by (stage, partition) (headrace_state_bytes{chosen('partition')})", TASK),),
                ),
                Panel(
                    "Growth",
                    "Bps",
                    "Bytes that state grows by, a second. A state that grows for days has no window that closes.",
                    ((f"sum by (stage) (deriv(headrace_state_bytes{chosen('partition')}[1h]))", "{{stage}}"),),
                ),
            ),
        ),
        (
            "Restore",
            (
                Panel(
                    "Restored records",
                    "cps",
                    "Records read back from changelogs, a second. Zero when no restore is going on.",
                    ((rate("headrace_restore_records_total", "job, instance"), "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Tasks that wait for their state",
                    "short",
                    "Tasks whose state is being restored.",
                    ((f"sum by (job, instance) (headrace_tasks_restoring{chosen()})", "{{job}} {{instance}}"),),
                ),
            ),
        ),
    ),
    (("partition", "headrace_state_keys"),),
)

DELIVERY = Board(
    "delivery",
    "Headrace: delivery",
    "Do commits go through, and is the group at rest?",
    (
        (
            "Commits",
            (
                Panel(
                    "Commits",
                    "cps",
                    "Commits that went through, a second.",
                    ((rate("headrace_commit_duration_seconds_count", "job"), "{{job}}"),),
                ),
                Panel(
                    "Duration of a commit",
                    "s",
                    "Outputs, state and offsets made durable together.",
                    quantiles("headrace_commit_duration_seconds", "job"),
                    warn=5,
                ),
                Panel(
                    "Since the last commit",
                    "s",
                    "Time since a worker's last commit. It grows while nothing comes.",
                    ((f"max by (job, instance) (headrace_commit_age_seconds{chosen()})", "{{job}} {{instance}}"),),
                ),
                Panel(
                    "Aborted transactions",
                    "short",
                    "Transactions that were given up, in the last 5 minutes. Their records are read again.",
                    ((f"sum by (job) (increase(headrace_transactions_aborted_total{chosen()}[5m]))", "{{job}}"),),
                    warn=1,
                ),
                Panel(
                    "Records on their way",
                    "short",
                    "Records that Kafka has not acknowledged yet, at the worker with the most. "
                    "At 500,000 a worker that delivers at least once reads no more.",
                    ((f"max by (job) (headrace_producer_in_flight{chosen()})", "{{job}}"),),
                    warn=400_000,
                ),
            ),
        ),
        (
            "Group",
            (
                Panel(
                    "Rebalances",
                    "short",
                    "Rebalances of the group that a worker saw, in the last 5 minutes.",
                    ((f"max by (job) (increase(headrace_rebalances_total{chosen()}[5m]))", "{{job}}"),),
                    warn=3,
                ),
                Panel(
                    "Workers that are ready",
                    "short",
                    "Workers that have their partitions, with all of their tasks open.",
                    ((f"sum by (job) (headrace_worker_ready{chosen()})", "{{job}}"),),
                ),
                Panel(
                    "Partitions that stand",
                    "short",
                    "Partitions with records to read whose position does not move.",
                    ((f"sum by (job) (headrace_partitions_stalled{chosen()})", "{{job}}"),),
                    warn=1,
                ),
            ),
        ),
        (
            "Batches",
            (
                Panel(
                    "Records of a batch",
                    "short",
                    "Records that are handled together. Large batches are cheap, small ones are soon done.",
                    quantiles("headrace_batch_records", "job"),
                ),
                Panel(
                    "Duration of a batch",
                    "s",
                    "Time that a stage takes for the records of a batch.",
                    quantiles("headrace_batch_duration_seconds", "job"),
                ),
                Panel(
                    "Lost records",
                    "short",
                    "Records that Kafka deleted before they were read, in the last 5 minutes. A worker goes on without "
                    "them where on_lost_records is 'continue'.",
                    ((f"sum by (topic) (increase(headrace_records_lost_total{chosen()}[5m]))", "{{topic}}"),),
                    warn=1,
                ),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, QUERY, PARTITION, STATE, DELIVERY)
