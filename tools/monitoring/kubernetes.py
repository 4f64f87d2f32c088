"""The rules once more, as the Prometheus operator takes them."""

from tools.monitoring import rules
from tools.monitoring.documents import document
from tools.monitoring.thresholds import Thresholds


def files(thresholds: Thresholds) -> dict[str, str]:
    """The files by path from the project's folder."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "falcon"},
        "spec": {"groups": rules.groups(thresholds)},
    }
    return {"deploy/k8s/components/monitoring/prometheus-rule.yaml": document(rule, "thresholds.py and rules.py")}
