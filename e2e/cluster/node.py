"""Turning empty namespaces into a node: private folders, a network of its own, and the files its parts read.

Runs only inside `unshare -n -m -p -f --mount-proc`.  The network has no way out, so nothing can leak.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from e2e.cluster import components, paths

ADDRESS = "198.18.0.1"
# Places that containerd and the kubelet insist on; each gets a private folder.
PRIVATE = (
    "/run",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/etc/cni",
    "/var/log/pods",
    "/var/log/containers",
)
CNI_BINARIES = "/usr/lib/cni"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:3.10"

CONTAINERD = f"""\
version = 2
oom_score = 0
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A machine without CAP_SYS_RESOURCE may not lower an OOM score, and every sandbox would die.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_BINARIES}"
"""

# For commands run inside by hand, so that names of Services resolve as they do in a pod.
RESOLV_CONF = f"""\
nameserver {components.DNS_ADDRESS}
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""


def containerd_root(scratch: Path) -> Path:
    return scratch / "containerd"


def make_private(scratch: Path, *, storage: Path | None = None) -> None:
    """Bind folders of `scratch` over everything that the node writes to; `storage` is containerd's."""
    run("mount", "--make-rprivate", "/")
    for place in PRIVATE:
        folder = paths.made(scratch / "private" / place.lstrip("/"))
        if place == "/var/lib/containerd":
            folder = paths.made(storage or containerd_root(scratch))
        paths.made(Path(place))
        run("mount", "--bind", str(folder), place)
    resolv = scratch / "resolv.conf"
    resolv.write_text(RESOLV_CONF)
    run("mount", "--bind", str(resolv), "/etc/resolv.conf")


def make_network() -> None:
    """A loopback, a bridge that carries the node's address, and the configuration of the pods' network."""
    for command in (
        "link set lo up",
        # Not every kernel has the dummy driver; an empty bridge does as well.
        "link add node0 type bridge",
        f"addr add {ADDRESS}/32 dev node0",
        "link set node0 up",
        # Else a packet to a Service has no route, and is refused before kube-proxy's rules see it.
        f"route add {components.SERVICE_CIDR} dev node0",
    ):
        run("ip", *command.split())
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    paths.made(Path("/etc/cni/net.d")).joinpath("10-modelfleet.conflist").write_text(json.dumps(_cni()))


def _cni() -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": components.NODE_POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": ipam,
    }
    return {
        "cniVersion": "0.4.0",
        "name": "modelfleet",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def kubelet_config(pki: Path, *, cgroup_root: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "address": ADDRESS,
        "cgroupDriver": "cgroupfs",
        # Cgroups are the one thing that namespaces do not hide: two clusters must not tidy up each other's.
        "cgroupRoot": cgroup_root,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "clusterDomain": "cluster.local",
        "clusterDNS": [components.DNS_ADDRESS],
        # The machine's disk is not ours to judge.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "registerNode": True,
        "resolvConf": "",
        # A changed ConfigMap reaches its pods within seconds, not a minute.
        "syncFrequency": "5s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }


def run(*argv: str, stdin: str | None = None) -> str:
    """The command's output; raises RuntimeError with what it said when it fails."""
    result = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout
