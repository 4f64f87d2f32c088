"""Clusters on simulated servers, networks and clocks, and the contracts that those servers keep."""
