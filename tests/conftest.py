"""Fixtures for all tests: the real servers, started by the first test that asks for them."""

from hypothesis import settings

pytest_plugins = ["tests.support.servers"]

# A machine that is full of other work would fail an example for its time, which says nothing of the rule.
settings.register_profile("falcon", deadline=None)
settings.load_profile("falcon")
