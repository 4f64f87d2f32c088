"""A report shows the faults that a server has logged, each once."""

import json
import logging

from falcon.telemetry import logs
from tools.attack.log_faults import faults_in


def _logged(message: str) -> str:
    """A line as Falcon writes it, of a fault."""
    try:
        raise ValueError("a room fell over")
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)
    record = logging.LogRecord("falcon.http", logging.ERROR, "", 0, message, (), caught)
    return logs._Json("serve").format(record)


def test_a_fault_that_was_logged_twice_is_shown_once_with_its_stack() -> None:
    (fault,) = faults_in("\n".join([_logged("GET /v1/me failed"), '{"message": "fine"}', _logged("GET /v1/me failed")]))
    assert fault.startswith("2 times: falcon.http: GET /v1/me failed\n    Traceback")
    assert fault.endswith("ValueError: a room fell over")


def test_a_fault_that_python_wrote_is_shown_with_the_line_before_its_stack() -> None:
    text = ["Task exception was never retrieved", "Traceback (most recent call last):", "KeyError: 7"]
    (fault,) = faults_in("\n".join([json.dumps({"message": "fine"}), *text]))
    assert fault.splitlines() == ["1 times: Task exception was never retrieved", *(f"    {each}" for each in text[1:])]


def test_a_long_stack_is_cut_and_a_log_without_faults_has_none() -> None:
    (fault,) = faults_in("\n".join(["Traceback (most recent call last):", *("  File x" for _ in range(1_000))]))
    assert len(fault.splitlines()) == 40
    assert not faults_in('{"message": "fine"}\nfalcon is up\n')
