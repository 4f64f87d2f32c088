"""Grafana's dashboards, as code; ``python -m deploy.monitoring.generate`` writes their files."""

from typing import Final

from deploy.monitoring.dashboards.actors import ACTORS
from deploy.monitoring.dashboards.grafana import Dashboard, text
from deploy.monitoring.dashboards.overview import OVERVIEW
from deploy.monitoring.dashboards.process import PROCESS
from deploy.monitoring.dashboards.read_side import READ_SIDE
from deploy.monitoring.dashboards.streams import STREAMS
from deploy.monitoring.dashboards.write_side import WRITE_SIDE

FOLDER: Final = "deploy/monitoring/grafana"
DASHBOARDS: Final[tuple[Dashboard, ...]] = (OVERVIEW, WRITE_SIDE, READ_SIDE, STREAMS, ACTORS, PROCESS)


def files() -> dict[str, str]:
    """By path from the repository's root."""
    return {f"{FOLDER}/{dashboard.uid}.json": text(dashboard) for dashboard in DASHBOARDS}
