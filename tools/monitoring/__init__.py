"""Generates what ships with Falcon for operators' monitoring: rules, alerts and the list of metrics."""
