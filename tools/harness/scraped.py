"""Scrapes a process's operations port."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """Samples of one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of that name that bear these labels; 0 if there are none."""
        return sum(
            value
            for found, theirs, value in self._samples
            if found == name and all(theirs.get(label) == wanted for label, wanted in labels.items())
        )


def scrape(ops_url: str) -> Scraped:
    """Raises OSError."""
    with urllib.request.urlopen(f"{ops_url}/metrics", timeout=10) as answer:
        return Scraped(answer.read().decode())
