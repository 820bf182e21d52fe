"""Writes the Grafana dashboards of the chart: `python -m helm.dashboards.generate`, or `make dashboards`."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from helm.dashboards.boards import BOARDS, Board, Panel

FOLDER = Path(__file__).parents[1] / "headrace" / "files" / "dashboards"
TAG = "headrace"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


def graph(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .axis_soft_min(0)
        .height(8)
        .span(8)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.TABLE)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    )
    steps = [model.Threshold(value=None, color="green")]
    if panel.warn is not None:
        steps.append(model.Threshold(value=panel.warn, color="red"))
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_model.GraphTresholdsStyleMode.DASHED))
    built.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    for letter, (expression, legend) in zip("ABCDEF", panel.queries, strict=False):
        built.with_target(prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter).range())
    return built


def choice(label: str, metric: str) -> dashboard.QueryVariable:
    """A variable of the dashboard with the values of a label; all of them at first."""
    within = "" if label == "job" else '{job=~"$job"}'
    return (
        dashboard.QueryVariable(label)
        .label("App" if label == "job" else label.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({metric}{within}, {label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NUMERICAL_ASC if label == "partition" else model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def build(board: Board) -> model.Dashboard:
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"headrace-{board.name}")
        .description(board.description)
        .tags([TAG])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Headrace")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for label, metric in (("job", "headrace_consumer_lag"), *board.variables):
        built.with_variable(choice(label, metric))
    for title, panels in board.rows:
        built.with_row(dashboard.Row(title))
        for panel in panels:
            built.with_panel(graph(panel))
    return built.build()


def files() -> dict[str, str]:
    """Name and text of every dashboard file."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{board.name}.json": encoder.encode(build(board)) + "\n" for board in BOARDS}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
