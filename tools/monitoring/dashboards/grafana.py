"""Dashboards as values, and the JSON that Grafana 10 and 11 take for them."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from tools.monitoring.dashboards.promql import maximum, mean, quantile

TAG: Final = "falcon"
WIDTH: Final = 24
HEIGHT: Final = 7
_SCHEMA_VERSION: Final = 39
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "table"]

# Grafana's names of the units that are used.
SECONDS: Final = "s"
BYTES: Final = "bytes"
SHARE: Final = "percentunit"
COUNT: Final = "short"
PER_SECOND: Final = "cps"
REQUESTS: Final = "reqps"
COMMANDS: Final = "ops"
UNITS: Final = frozenset({SECONDS, BYTES, SHARE, COUNT, PER_SECOND, REQUESTS, COMMANDS})


@dataclass(frozen=True, slots=True)
class Query:
    """``legend``: ``{{label}}`` stands for a label's value. ``unit``: if it differs, the query has the right axis."""

    expr: str
    legend: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``description``: the question that it answers.

    ``bad_above`` and ``bad_below``: the bounds past which a stat turns red. ``value``: the heading of a table's last
    column. ``more``: the uid of the dashboard with the details.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = HEIGHT
    stacked: bool = False
    top: float | None = None
    bad_above: float | None = None
    bad_below: float | None = None
    value: str = "Value"
    more: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading, from left to right and from top to bottom. The heading may be left out."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]

    @property
    def panels(self) -> list[Panel]:
        return [panel for section in self.sections for panel in section.panels]


def times(histogram: str, where: str = "") -> tuple[Query, ...]:
    """Median, 99th percentile and maximum of all its values together."""
    return (
        Query(quantile(0.5, histogram, where=where), "p50"),
        Query(quantile(0.99, histogram, where=where), "p99"),
        Query(maximum(histogram, where=where), "max"),
    )


def times_by(label: str, histogram: str, where: str = "") -> tuple[Query, ...]:
    """The same for each value of a label."""
    shown = f"{{{{{label}}}}}"
    return (
        Query(quantile(0.5, histogram, label, where), f"{shown} p50"),
        Query(quantile(0.99, histogram, label, where), f"{shown} p99"),
        Query(maximum(histogram, label, where), f"{shown} max"),
    )


def sizes(histogram: str) -> tuple[Query, ...]:
    """For a histogram of whole numbers: round up, since a quantile between two bounds is no whole number."""
    return (
        Query(mean(histogram), "mean"),
        Query(f"ceil({quantile(0.99, histogram)})", "p99"),
        Query(maximum(histogram), "max"),
    )


def text(dashboard: Dashboard) -> str:
    """The file, always the same for the same dashboard."""
    return json.dumps(_dashboard(dashboard), indent=2, ensure_ascii=False) + "\n"


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "annotations": {"list": []},
        "links": [_link_to_the_others()],
        "templating": {"list": [_datasource(), _chosen("job", ""), _chosen("instance", '{job=~"$job"}')]},
        "panels": _panels(dashboard.sections),
    }


def _link_to_the_others() -> dict[str, Any]:
    """Links that keep the present time range and variables."""
    return {
        "type": "dashboards",
        "title": "Falcon",
        "tags": [TAG],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "current": {},
        "skipUrlSync": False,
    }


def _chosen(label: str, where: str) -> dict[str, Any]:
    """Instances that have ever exposed Falcon's metrics: each process tree tells its version."""
    query = f"label_values(falcon_build_info{where}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "skipUrlSync": False,
    }


# --- panels -----------------------------------------------------------------------------------------------------------


def _panels(sections: tuple[Section, ...]) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    top = 0
    for section in sections:
        if section.title:
            placed.append(_heading(section.title, len(placed) + 1, top))
            top += 1
        left, height = 0, 0
        for panel in section.panels:
            if left + panel.width > WIDTH:
                left, top, height = 0, top + height, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            placed.append({"id": len(placed) + 1, "gridPos": place, **_panel(panel)})
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return placed


def _heading(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
    return {"id": number, "gridPos": place, "type": "row", "title": title, "collapsed": False, "panels": []}


def _panel(panel: Panel) -> dict[str, Any]:
    shape = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [_target(panel, number) for number in range(len(panel.queries))],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _OPTIONS[panel.kind],
        "transformations": _transformations(panel),
    }
    if panel.more:
        address = f"/d/{panel.more}?${{__url_time_range}}&${{__all_variables}}"
        shape["links"] = [{"title": "Details", "url": address, "targetBlank": False}]
    return shape


def _target(panel: Panel, number: int) -> dict[str, Any]:
    query = panel.queries[number]
    at_once = panel.kind == "table"
    return {
        "refId": _ref(number),
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": not at_once,
        "instant": at_once,
        "format": "table" if at_once else "time_series",
    }


def _ref(number: int) -> str:
    return "ABCDEFGHIJ"[number]


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": _steps(panel)}}
    if panel.kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.stacked else 5,
            "showPoints": "auto",
            "spanNulls": False,
            "axisSoftMin": 0,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    else:
        defaults["color"] = {"mode": "thresholds"}
    defaults["min"] = 0
    if panel.top is not None:
        defaults["max"] = panel.top
    return defaults


def _steps(panel: Panel) -> list[dict[str, Any]]:
    if panel.bad_below is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    return [*steps, {"color": "red", "value": panel.bad_above}] if panel.bad_above is not None else steps


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": _ref(number)},
            "properties": [
                {"id": "unit", "value": query.unit},
                {"id": "custom.axisPlacement", "value": "right"},
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 4]}},
            ],
        }
        for number, query in enumerate(panel.queries)
        if query.unit
    ]


def _transformations(panel: Panel) -> list[dict[str, Any]]:
    if panel.kind != "table":
        return []
    options = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {"Value": panel.value}}
    return [{"id": "organize", "options": options}]


_OPTIONS: Final[dict[Kind, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value",
    },
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
}


# --- what a query names -----------------------------------------------------------------------------------------------


def metrics_in(expr: str) -> set[str]:
    """Falcon's."""
    return set(re.findall(r"\bfalcon_[a-z_]+\b", expr))
