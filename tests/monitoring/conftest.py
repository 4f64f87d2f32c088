"""Fixtures of the tests of dashboards and alerts."""

from tests.monitoring.prometheus import prometheus as prometheus
