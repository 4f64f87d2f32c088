"""Grafana's dashboards, as their files have them."""

import json
import re
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "deploy/monitoring/grafana"
DASHBOARDS: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """But for headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def every_panel() -> list[dict[str, Any]]:
    return [panel for dashboard in DASHBOARDS.values() for panel in panels(dashboard)]


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def metrics_in(query: str) -> set[str]:
    """Falcon's."""
    return set(re.findall(r"\bfalcon_[a-z_]+\b", query))
