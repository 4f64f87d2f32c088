"""docs/metrics.md says of every metric, and of nothing else, what it is and which question it answers."""

import re
from itertools import pairwise
from pathlib import Path

from falcon.telemetry import metrics
from falcon.telemetry.instruments import REGISTRY
from falcon.telemetry.process_tree import INFO, PROCESS_GAUGES
from tools.monitoring import metric_docs

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^# --- (.*?) -+$", re.MULTILINE)


def test_every_metric_has_a_question_and_every_question_a_metric() -> None:
    asked = [name for questions in metric_docs.QUESTIONS.values() for name in questions]
    assert len(asked) == len(set(asked))
    assert set(asked) == {*REGISTRY, *PROCESS_GAUGES, INFO[0]}
    for questions in metric_docs.QUESTIONS.values():
        assert all(question.endswith("?") for question in questions.values())


def test_they_stand_in_the_groups_and_the_order_of_their_declarations() -> None:
    source = Path(str(metrics.__file__)).read_text()
    headings = list(HEADING.finditer(source))
    ends = [*(after.start() for _, after in pairwise(headings)), len(source)]
    declared = {
        heading[1]: re.findall(r'"(falcon_\w+)"', source[heading.end() : end])
        for heading, end in zip(headings, ends, strict=True)
    }
    assert {group: list(names) for group, names in list(metric_docs.QUESTIONS.items())[: len(declared)]} == declared


def test_every_label_is_explained_and_is_in_use() -> None:
    declared = {label for metric in REGISTRY.values() for label in metric.label_names}
    assert metric_docs.LABELS.keys() == {*declared, "process", *INFO[2]}


def test_the_file_is_as_the_code_makes_it() -> None:
    for name, text in metric_docs.files().items():
        assert (ROOT / name).read_text() == text, f"{name}: run python -m tools.monitoring.generate"
