"""Fixtures for all tests: the real servers, started by the first test that asks for them."""

pytest_plugins = ["tests.support.servers"]
