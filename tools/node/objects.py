"""Things that clusters usually have: the metrics API, and volumes with a default storage class."""

from pathlib import Path
from typing import Any, Final

from tools.node.place import ADDRESS, NAME

_VOLUMES: Final = 16
_METRICS_PORT: Final = 10443
_SYSTEM: Final = "kube-system"


def make_volumes(folder: Path) -> None:
    for number in range(1, _VOLUMES + 1):
        (folder / "volumes" / str(number)).mkdir(parents=True)


def all_of_them(folder: Path) -> dict[str, Any]:
    volumes = [_volume(folder, number) for number in range(1, _VOLUMES + 1)]
    return {"apiVersion": "v1", "kind": "List", "items": [*_metrics_api(), _storage_class(), *volumes]}


def _metrics_api() -> list[dict[str, Any]]:
    """metrics-server runs on the node and not in a pod, so its Service has an address instead of a selector."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "metrics-server", "namespace": _SYSTEM},
            "spec": {"ports": [{"port": 443, "targetPort": _METRICS_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "metrics-server-1",
                "namespace": _SYSTEM,
                "labels": {"kubernetes.io/service-name": "metrics-server"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ADDRESS]}],
            "ports": [{"name": "", "port": _METRICS_PORT, "protocol": "TCP"}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": "metrics-server", "namespace": _SYSTEM},
            },
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {
                "name": "metrics-reader",
                "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
            },
            "rules": [
                {"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
            ],
        },
    ]


def _storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _volume(folder: Path, number: int) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"local-{number}"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "local": {"path": str(folder / "volumes" / str(number))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
