"""Configuration of the node's programs, as files and arguments. It is JSON even for YAML: JSON is YAML."""

import json
from pathlib import Path
from typing import Any, Final

from tools.node.needs import CNI_PLUGINS
from tools.node.place import ADDRESS, CONTAINERD, NAME, PODS, RUN, SERVICES
from tools.node.programs import PAUSE

_ETCD: Final = "http://127.0.0.1:2379"
_DOMAIN: Final = "cluster.local"


def write(folder: Path) -> None:
    """Every file, below the node's folder."""
    texts = {
        "containerd.toml": containerd(folder),
        "cni/10-node.conflist": json.dumps(cni(folder)),
        "kubelet.json": json.dumps(kubelet(folder)),
        "kube-proxy.json": json.dumps(kube_proxy(folder)),
        "Corefile": corefile(folder),
        "resolv.conf": "nameserver 127.0.0.1\n",  # of the node, for pods that want it: it leads nowhere
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def containerd(folder: Path) -> str:
    """The namespaces of pods' networks are kept below its state, so that they are known to be this node's."""
    return f"""version = 2
root = "{folder / "containerd"}"
state = "{RUN / "containerd"}"
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def cni(folder: Path) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    # Hairpin: a pod reaches itself by the name of its Service.
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {
        "cniVersion": "0.4.0",
        "name": NAME,
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def kubelet(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": ADDRESS,
        "clusterDNS": [ADDRESS],
        "clusterDomain": _DOMAIN,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "resolvConf": str(folder / "resolv.conf"),
        # The machine has other work; nothing is evicted until it is all but full.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Nor is an image taken away: there is nowhere to fetch it from again.
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(folder / "pod-logs"),
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
    }


def kube_proxy(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0},
        "clientConnection": {"kubeconfig": str(folder / "proxy.kubeconfig")},
    }


def corefile(folder: Path) -> str:
    return f""".:53 {{
  errors
  ready 127.0.0.1:8181
  kubernetes {_DOMAIN} in-addr.arpa {{
    kubeconfig {folder / "admin.kubeconfig"}
    ttl 5
  }}
  cache 5
}}
"""


def arguments(folder: Path) -> dict[str, tuple[str, ...]]:
    """The arguments of each program, by name."""
    keys, admin = folder / "keys", folder / "admin.kubeconfig"
    return {
        "etcd": (
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # what it keeps does not outlive the node
        ),
        "kube-apiserver": (
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={ADDRESS}",
            f"--cert-dir={folder / 'certificates'}",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys / 'accounts.pub'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--requestheader-client-ca-file={keys / 'front-ca.crt'}",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={keys / 'front.crt'}",
            f"--proxy-client-key-file={keys / 'front.key'}",
            "--enable-aggregator-routing",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-preferred-address-types=InternalIP",
        ),
        "kube-controller-manager": (
            f"--kubeconfig={folder / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={keys / 'accounts.key'}",
            f"--root-ca-file={folder / 'certificates' / 'apiserver.crt'}",
            "--use-service-account-credentials",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            # Sooner than the usual 15 s, 5 min and 30 s: the proof waits for it to scale.
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=20s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        ),
        "kube-scheduler": (
            f"--kubeconfig={folder / 'scheduler.kubeconfig'}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ),
        "kubelet": (
            f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
            f"--config={folder / 'kubelet.json'}",
            f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'kubelet-certificates'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        ),
        "kube-proxy": (f"--config={folder / 'kube-proxy.json'}",),
        "coredns": ("-conf", str(folder / "Corefile")),
        "metrics-server": (
            f"--kubeconfig={admin}",
            f"--authentication-kubeconfig={admin}",
            f"--authorization-kubeconfig={admin}",
            "--secure-port=10443",
            f"--cert-dir={folder / 'metrics-certificates'}",
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ),
        "containerd": ("--config", str(folder / "containerd.toml")),
    }
