"""The first process of the cluster's namespaces: starts every part, keeps watch, and takes all along when it ends.

Started by `local`; never by hand.
"""

import argparse
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from e2e.cluster import addons, cgroups, components, containers, controlplane, node, paths, pki, relay
from e2e.cluster.processes import Processes

API_PORT = 6443
ETCD_PORT = 2379
START_LIMIT_S = 90.0
WATCH_EVERY_S = 1.0


class Cluster:
    """Everything that runs inside.  `start` returns when pods can run and names resolve."""

    def __init__(self, state: Path, *, assets: Path, kwok: bool, cgroup: str) -> None:
        self.state, self.assets, self.kwok, self.cgroup = state, assets, kwok, cgroup
        self.scratch = paths.made(state / "node")
        self.certs = paths.made(self.scratch / "pki")
        self.processes = Processes(paths.made(state / "logs"))
        self.admin = state / "kubeconfig-inside"

    def start(self, api_listener: socket.socket) -> None:
        node.make_private(self.scratch)
        node.make_network()
        self._write_pki(outer_port=api_listener.getsockname()[1])
        self._start_containerd()
        self._start_api()
        relay.serve_in_thread(api_listener, API_PORT)
        self._start_controllers()
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed(addons.dns())))
        self.processes.wait_for("containerd", containers.answers, limit_s=START_LIMIT_S)
        self._start_kubelet()
        self._give_gpus()
        if self.kwok:
            self._start_kwok()
        self._wait_for_dns()

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return node.run(str(self.assets / "kubectl"), f"--kubeconfig={self.admin}", *args, stdin=stdin)

    def _start_containerd(self) -> None:
        config = self.scratch / "containerd.toml"
        config.write_text(node.CONTAINERD)
        self.processes.start("containerd", ["containerd", "--config", str(config)])

    def _start_api(self) -> None:
        etcd = components.Etcd(self.assets / "etcd", self.scratch / "etcd", ETCD_PORT, ETCD_PORT + 1)
        self.processes.start("etcd", etcd.argv())
        server = components.ApiServer(
            self.assets / "kube-apiserver", self.certs, etcd.url, API_PORT, node.ADDRESS
        )
        self.processes.start("kube-apiserver", server.argv())
        ready = controlplane.Readiness(self.certs, API_PORT)
        self.processes.wait_for("the API server", ready, limit_s=START_LIMIT_S)

    def _start_controllers(self) -> None:
        for name, argv in (
            (
                "kube-controller-manager",
                components.controller_manager(
                    self._program("kube-controller-manager"),
                    kubeconfig=self._kubeconfig("controller-manager"),
                    pki=self.certs,
                ),
            ),
            (
                "kube-scheduler",
                components.scheduler(
                    self._program("kube-scheduler"), kubeconfig=self._kubeconfig("scheduler")
                ),
            ),
            (
                "kube-proxy",
                components.kube_proxy(
                    self._program("kube-proxy"), kubeconfig=self._kubeconfig("proxy"), node=addons.NODE
                ),
            ),
        ):
            self.processes.start(name, argv)

    def _start_kubelet(self) -> None:
        config = self.scratch / "kubelet.json"
        config.write_text(json.dumps(node.kubelet_config(self.certs, cgroup_root=self.cgroup)))
        argv = components.kubelet(
            self._program("kubelet"),
            config=config,
            kubeconfig=self._kubeconfig("kubelet"),
            node=addons.NODE,
            address=node.ADDRESS,
        )
        self.processes.start("kubelet", argv)

    def _give_gpus(self) -> None:
        name = f"node/{addons.NODE}"

        def registered() -> bool:
            return self.kubectl("get", "nodes", "-o", "name").strip() != ""

        self.processes.wait_for("the node", registered, limit_s=START_LIMIT_S)
        patch = json.dumps(addons.gpu_patch(addons.GPUS_ON_NODE))
        self.kubectl("patch", name, "--subresource=status", "--type=json", "-p", patch)
        self.kubectl("label", name, f"{addons.POOL_LABEL}=local")
        self.kubectl("wait", name, "--for=condition=Ready", f"--timeout={START_LIMIT_S:.0f}s")

    def _start_kwok(self) -> None:
        argv = components.kwok(
            self._program("kwok"),
            kubeconfig=self._kubeconfig("admin"),
            stages=paths.TOOLS / "kwok" / "stages.yaml",
        )
        self.processes.start("kwok", argv)
        nodes = [addons.kwok_node(name) for name in addons.KWOK_NODES]
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed(nodes)))
        self.kubectl("wait", "node", "-l", "type=kwok", "--for=condition=Ready", "--timeout=30s")

    def _wait_for_dns(self) -> None:
        def answers() -> bool:
            try:
                found = socket.getaddrinfo("kubernetes.default.svc.cluster.local", 443)
            except OSError:
                return False
            return found[0][4][0] == components.API_SERVICE_ADDRESS

        self.processes.wait_for("cluster DNS", answers, limit_s=START_LIMIT_S)

    def _program(self, name: str) -> Path:
        return self.assets / name

    def _kubeconfig(self, user: str) -> Path:
        return self.scratch / f"{user}.kubeconfig"

    def _write_pki(self, *, outer_port: int) -> None:
        authority = pki.Authority(self.certs)
        authority.signing_key("sa")
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1")
        hosts = (*names, node.ADDRESS, components.API_SERVICE_ADDRESS)
        authority.issue("apiserver", "kube-apiserver", hosts=hosts)
        authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", group="system:masters")
        inner = f"https://127.0.0.1:{API_PORT}"
        for user, name, group in (
            ("admin", "admin", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", ""),
            ("scheduler", "system:kube-scheduler", ""),
            ("proxy", "system:kube-proxy", ""),
            ("kubelet", f"system:node:{addons.NODE}", "system:nodes"),
        ):
            served = (addons.NODE, node.ADDRESS, "127.0.0.1") if user == "kubelet" else ()
            pair = authority.issue(user, name, group=group, hosts=served)
            pki.kubeconfig(self._kubeconfig(user), server=inner, authority=authority.pair, user=pair)
        admin = pki.Pair(self.certs / "admin.crt", self.certs / "admin.key")
        pki.kubeconfig(self.admin, server=inner, authority=authority.pair, user=admin)
        outer = f"https://127.0.0.1:{outer_port}"
        pki.kubeconfig(self.state / "kubeconfig", server=outer, authority=authority.pair, user=admin)


def listed(items: list[addons.Manifest]) -> addons.Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def main() -> None:
    # The first process must collect every orphan of the namespace, and Python's own child handling
    # would lose its children to such a collector: so the work is done one process further down.
    if worker := os.fork():
        sys.exit(_collect_orphans_until(worker))
    _work(_arguments())


def _collect_orphans_until(worker: int) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _work(arguments: argparse.Namespace) -> None:
    cluster = Cluster(
        arguments.state,
        assets=arguments.assets,
        kwok=arguments.kwok,
        cgroup=cgroups.make(arguments.cgroup),
    )
    try:
        cluster.start(socket.socket(fileno=arguments.api_listener))
    except Exception as error:
        # The outer process shows it.
        (arguments.state / "failed").write_text(f"{error}\n")
        raise
    (arguments.state / "ready").touch()
    while True:
        cluster.processes.check()
        time.sleep(WATCH_EVERY_S)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--cgroup", required=True)
    parser.add_argument("--api-listener", type=int, required=True)
    parser.add_argument("--kwok", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
