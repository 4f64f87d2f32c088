"""Generates what ships with Falcon for operators' monitoring: alerts, their tests, dashboards and examples."""
