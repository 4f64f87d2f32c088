"""The rules for Prometheus as they are shipped, and the same with shorter times for tests."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from tools.monitoring import RULES

GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: Final = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
ALERT_NAMES: Final = frozenset(alert["alert"] for alert in ALERTS)
# The address of the project's folder, before `docs/runbooks`.
BASE_URL: Final = "https://falcon.example/"

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# In a range, after `offset` or `for`, and in the name of a recorded series.
_TIME: Final = re.compile(r"(?:(?<=rate)|(?<!\w))(\d+)([smhd])\b")
# Of how many windows of which length a least value is taken.
_WINDOWS: Final = re.compile(r"\[(\d+)m:(\d+)m\]")
# Seconds in which a disk fills, a process is young or its memory grows. Other numbers of seconds are measured times.
_NUMBER: Final = re.compile(r"\b(86400|1209600|180|259200|108000)\b")
# A range with fewer than two scrapes in it has no rate, and the fastest scrape is one a second.
_SHORTEST: Final = 3.0
# The longest window, of three days, is a minute and twelve seconds then. By less it would be hours still.
_OBJECTIVES: Final = 3_600


def faster(
    factor: float, windows: Mapping[str, float | str] | None = None, held: Mapping[str, str] | None = None
) -> str:
    """The rules with every time over which one looks so many times shorter, at least three seconds.

    ``windows``: by a part of an expression another factor for the times in it, or a time for all of them; ``held``: by
    a part of an expression, how long it must hold.
    """

    def shortened(text: str, usual: float, own: float | str | None = None) -> str:
        if isinstance(own, str):
            text = _TIME.sub(own, text)
        else:
            by = own or usual
            text = _WINDOWS.sub(lambda found: _windows(int(found[1]) // int(found[2]), int(found[2]) * 60 / by), text)
            text = _TIME.sub(lambda found: _text(int(found[1]) * _SECONDS[found[2]] / by), text)
        return _NUMBER.sub(lambda found: f"{max(float(found[1]) / usual, _SHORTEST):g}", text)

    groups = []
    for group in GROUPS:
        objectives = group["name"] == "falcon-objectives"
        usual = _OBJECTIVES if objectives else factor
        rules: dict[str, dict[str, Any]] = {}
        for rule in group["rules"]:
            expr = rule["expr"]
            made = {**rule, "expr": shortened(expr, usual, None if objectives else _first(windows, expr))}
            if "for" in rule:
                made["for"] = _first(held, expr) or shortened(rule["for"], usual)
            if "record" in rule:
                made["record"] = shortened(rule["record"], usual)
            rules[made.get("record") or made["alert"]] = made  # two windows can become one
        groups.append({**group, "rules": list(rules.values())})
    return str(yaml.safe_dump({"groups": groups}))


def only(rules: str, names: Collection[str]) -> str:
    """These alerts of the rules, with all series that are recorded."""
    groups = yaml.safe_load(rules)["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") in (None, *names)]
    return str(yaml.safe_dump({"groups": [group for group in groups if group["rules"]]}))


def _first(by_part: Mapping[str, Any] | None, expr: str) -> Any:
    return next((value for part, value in (by_part or {}).items() if part in expr), None)


def _windows(count: int, seconds: float) -> str:
    seconds = max(seconds, _SHORTEST)
    return f"[{_text(count * seconds)}:{_text(seconds)}]"


def _text(seconds: float) -> str:
    return f"{round(max(seconds, _SHORTEST) * 1000)}ms"
