"""A control plane without nodes, for tests that need no pods: three seconds, no root, loopback only."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster import components, gotools, paths, pki
from e2e.cluster.processes import ProcessDied, Processes

READY_LIMIT_S = 60.0
KUBECTL_LIMIT_S = 60.0
# Another process may take a free port between our asking and our binding.
PORT_ATTEMPTS = 3

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


class ControlPlane:
    """etcd, API server and controller manager, from `__enter__` to `__exit__`.

    `audit_log` is a file that gets one JSON line per request.  Raises RuntimeError when a program
    cannot be built, ProcessDied or NotReady when it does not start.
    """

    def __init__(self, *, audit_log: Path | None = None) -> None:
        self.audit_log = audit_log
        self.assets = gotools.assets()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="modelfleet-control-plane-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._processes = Processes(paths.made(self.folder / "logs"))
        self._stack.callback(self._processes.stop)
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin; the caller looks at `returncode`, `stdout` and `stderr`."""
        return subprocess.run(
            [self.assets / "kubectl", *args],
            input=stdin,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=KUBECTL_LIMIT_S,
            check=False,
        )

    def _start(self) -> None:
        for attempt in range(PORT_ATTEMPTS):
            try:
                self._start_on(*free_ports(3))
            except ProcessDied as died:
                if "address already in use" not in str(died) or attempt == PORT_ATTEMPTS - 1:
                    raise
                self._processes.stop()
            else:
                return

    def _start_on(self, port: int, etcd_port: int, etcd_peer_port: int) -> None:
        certs = self._write_pki(port)
        etcd = components.Etcd(
            self.assets / "etcd", self.folder / f"etcd-{etcd_port}", etcd_port, etcd_peer_port
        )
        self._processes.start("etcd", etcd.argv())
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(AUDIT_POLICY)
        server = components.ApiServer(
            self.assets / "kube-apiserver",
            certs,
            etcd.url,
            port,
            "127.0.0.1",
            audit_policy=policy,
            audit_log=self.audit_log,
        )
        self._processes.start("kube-apiserver", server.argv())
        self._processes.wait_for("the API server", Readiness(certs, port), limit_s=READY_LIMIT_S)
        manager = components.controller_manager(
            self.assets / "kube-controller-manager", kubeconfig=self._manager_kubeconfig, pki=certs
        )
        self._processes.start("kube-controller-manager", manager)
        self._processes.wait_for(
            "the default namespace's service account",
            lambda: self.kubectl("get", "serviceaccount", "default", "-n", "default").returncode == 0,
            limit_s=READY_LIMIT_S,
        )

    def _write_pki(self, port: int) -> Path:
        certs = paths.made(self.folder / "pki")
        authority = pki.Authority(certs)
        authority.issue(
            "apiserver", "kube-apiserver", hosts=["localhost", "127.0.0.1", "kubernetes.default.svc"]
        )
        authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", group="system:masters")
        authority.signing_key("sa")
        self.server = f"https://127.0.0.1:{port}"
        self.kubeconfig = pki.kubeconfig(
            self.folder / "kubeconfig",
            server=self.server,
            authority=authority.pair,
            user=authority.issue("admin", "admin", group="system:masters"),
        )
        self._manager_kubeconfig = pki.kubeconfig(
            self.folder / "controller-manager.kubeconfig",
            server=self.server,
            authority=authority.pair,
            user=authority.issue("controller-manager", "system:kube-controller-manager"),
        )
        return certs


class Readiness:
    """Asks the API server's /readyz as admin."""

    def __init__(self, certs: Path, port: int) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=certs / "ca.crt")
        self._tls.load_cert_chain(certs / "admin.crt", certs / "admin.key")

    def __call__(self) -> bool:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
