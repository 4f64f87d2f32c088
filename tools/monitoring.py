"""``python -m tools.monitoring``: write Prometheus' rules once more, as its operator for Kubernetes takes them."""

import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "deploy/monitoring/rules.yaml"
FOR_OPERATOR: Final = ROOT / "deploy/k8s/components/monitoring/prometheus-rule.yaml"
_HEAD: Final = """\
# Written by `python -m tools.monitoring` from deploy/monitoring/rules.yaml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: falcon
spec:
"""


def for_operator() -> str:
    """The text of the manifest."""
    return _HEAD + textwrap.indent(RULES.read_text(), "  ")


if __name__ == "__main__":
    FOR_OPERATOR.write_text(for_operator())
