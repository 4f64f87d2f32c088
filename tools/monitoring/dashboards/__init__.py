"""Grafana's dashboards, as code; ``python -m tools.monitoring.generate`` writes their files."""

from typing import Final

from tools.monitoring.dashboards.actors import ACTORS
from tools.monitoring.dashboards.grafana import Dashboard, text
from tools.monitoring.dashboards.overview import OVERVIEW
from tools.monitoring.dashboards.process import PROCESS
from tools.monitoring.dashboards.read_side import READ_SIDE
from tools.monitoring.dashboards.streams import STREAMS
from tools.monitoring.dashboards.write_side import WRITE_SIDE

FOLDER: Final = "deploy/monitoring/grafana"
DASHBOARDS: Final[tuple[Dashboard, ...]] = (OVERVIEW, WRITE_SIDE, READ_SIDE, STREAMS, ACTORS, PROCESS)


def files() -> dict[str, str]:
    """The dashboards by path from the repository's root."""
    return {f"{FOLDER}/{dashboard.uid}.json": text(dashboard) for dashboard in DASHBOARDS}
