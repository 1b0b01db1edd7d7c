"""The command line of every part of the cluster.  Values in, argument lists out."""

from dataclasses import dataclass
from pathlib import Path

SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"


@dataclass(frozen=True)
class Etcd:
    binary: Path
    data: Path
    client_port: int
    peer_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    def argv(self) -> list[str]:
        peer = f"http://127.0.0.1:{self.peer_port}"
        return [
            str(self.binary),
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # Nothing outlives the process, so nothing needs to reach the disk.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]


@dataclass(frozen=True)
class ApiServer:
    binary: Path
    pki: Path
    etcd_url: str
    port: int
    address: str
    audit_policy: Path | None = None
    audit_log: Path | None = None

    def argv(self) -> list[str]:
        argv = [
            str(self.binary),
            f"--etcd-servers={self.etcd_url}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--bind-address={'127.0.0.1' if self.address == '127.0.0.1' else '0.0.0.0'}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self.pki}/apiserver.crt",
            f"--tls-private-key-file={self.pki}/apiserver.key",
            f"--client-ca-file={self.pki}/ca.crt",
            "--authorization-mode=Node,RBAC",
            f"--service-account-key-file={self.pki}/sa.key",
            f"--service-account-signing-key-file={self.pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--kubelet-client-certificate={self.pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={self.pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={self.pki}/ca.crt",
            # Else exec and logs look the node's name up in DNS.
            "--kubelet-preferred-address-types=InternalIP",
            "--enable-admission-plugins=NodeRestriction",
        ]
        if self.address == "127.0.0.1":
            # A loopback address may not stand in the endpoints of the kubernetes Service.
            argv.append("--endpoint-reconciler-type=none")
        if self.audit_log and self.audit_policy:
            argv += [f"--audit-log-path={self.audit_log}", f"--audit-policy-file={self.audit_policy}"]
        return argv


def controller_manager(binary: Path, *, kubeconfig: Path, pki: Path) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={pki}/sa.key",
        # Published into every namespace, so that pods can verify the API server.
        f"--root-ca-file={pki}/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # Nobody asks for its metrics, and its fixed port would keep two control planes from one machine.
        "--secure-port=0",
        f"--cluster-cidr={POD_CIDR}",
        # Tests delete hundreds of objects and wait for their children to go.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        # A pod waits for its claim, and a new claim for the next round.
        "--pvclaimbinder-sync-period=1s",
    ]


def scheduler(binary: Path, *, kubeconfig: Path) -> list[str]:
    return [str(binary), f"--kubeconfig={kubeconfig}", "--leader-elect=false"]


def kubelet(binary: Path, *, config: Path, kubeconfig: Path, node: str, address: str) -> list[str]:
    return [
        str(binary),
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        f"--node-ip={address}",
    ]


def kube_proxy(binary: Path, *, kubeconfig: Path, node: str) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--cluster-cidr={POD_CIDR}",
        f"--hostname-override={node}",
        "--proxy-mode=iptables",
        # The kernel's limits belong to the machine, not to us.
        "--conntrack-max-per-core=0",
    ]


def kwok(binary: Path, *, kubeconfig: Path, stages: Path) -> list[str]:
    return [
        str(binary),
        f"--config={stages}",
        f"--kubeconfig={kubeconfig}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
    ]
