"""Figures of the operator: `make bench-operator` writes bench/out/operator.json.

500 ModelTiers on a control plane without nodes: how long until every child is applied and every status is current,
what the process weighs, and what it does when there is nothing to do.  And what an idle router weighs.
"""

import argparse
import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from bench.figures import ROOT, Figure, write
from e2e.cluster.controlplane import ControlPlane, free_ports
from modelfleet import names
from modelfleet.adapters.kube import KubeCluster
from modelfleet.errors import ClusterError

TIERS = 500
NAMESPACE = "bench"
RUNS = 3
CONVERGE_LIMIT_S = 300.0
REST_S = 60.0
POLL_S = 1.0
QUIET_S = 3.0
TAIL_BYTES = 262_144  # of the audit log: some seconds of it
ROUTER_LIMIT_S = 30.0
CHILDREN_PER_TIER = ("Deployment", "Service", "ServiceAccount")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def at_most(name: str, values: Sequence[float], limit: float, unit: str) -> Figure:
    """The median of some runs, and whether all of them stayed within the limit."""
    ordered = sorted(round(value, 2) for value in values)
    middle = ordered[len(ordered) // 2]
    return Figure(name, middle, ordered[0], ordered[-1], unit, f"<= {limit:g} {unit}", ordered[-1] <= limit)


@dataclass
class Run:
    """What one run measured."""

    converge_s: float
    rss_mib: float
    writes: int | None = None
    cpu_percent: float | None = None


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def tier(number: int) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ModelTier",
        "metadata": {"name": f"tier-{number:03}", "namespace": NAMESPACE},
        "spec": {"model": {"uri": "pvc://models/model.gguf"}, "llamaCpp": {}},
    }


@contextmanager
def operator(plane: ControlPlane, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The operator as a process of its own, stopped at the end."""
    settings = {
        "MODELFLEET_LISTEN_HOST": "127.0.0.1",
        "MODELFLEET_LISTEN_PORT": str(free_ports(1)[0]),
        "MODELFLEET_NAMESPACE": NAMESPACE,
        "KUBECONFIG": str(plane.kubeconfig),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "modelfleet.cli.main", "operator"],
            cwd=ROOT / "operator",
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def converged(cluster: KubeCluster) -> bool:
    """Whether every tier's status is current and every child is there."""
    tiers, _ = await cluster.list("ModelTier", namespace=NAMESPACE)
    current = [
        item
        for item in tiers
        if item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
        and item["status"].get("replicas") == item["spec"]["replicas"]
    ]
    if len(current) < TIERS:
        return False
    return all(
        [len((await cluster.list(kind, namespace=NAMESPACE))[0]) >= TIERS for kind in CHILDREN_PER_TIER]
    )


async def converge(process: "subprocess.Popen[bytes]", audit_log: Path) -> None:
    """Wait until all is converged.  Raises RuntimeError when the operator dies or takes too long."""
    began = time.monotonic()
    async with KubeCluster(timeout_s=30.0) as cluster:
        while time.monotonic() - began < CONVERGE_LIMIT_S:
            if process.poll() is not None:
                raise RuntimeError(f"the operator ended with {process.returncode}")
            try:
                # Listing 500 tiers costs as much as making some: only look when the operator has become quiet.
                if quiet(audit_log) and await converged(cluster):
                    return
            except ClusterError as err:
                say(f"listing failed: {err}")
            await asyncio.sleep(POLL_S)
    raise RuntimeError(f"not converged within {CONVERGE_LIMIT_S:.0f} s")


def rss_mib(pid: int) -> float:
    """The most memory that the process has held so far, in MiB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """CPU time of the process so far, in seconds."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_S


def writes(lines: Sequence[str], since: str = "") -> list[tuple[str, str]]:
    """Writes of the operator since then as (time, what), leases excepted."""
    events = (json.loads(line) for line in lines if line.endswith("}"))
    return [
        (event["stageTimestamp"], f"{event['verb']} {event['requestURI']}")
        for event in events
        if event["requestReceivedTimestamp"] > since
        and event["verb"] not in ("get", "list", "watch")
        and event.get("userAgent", "").startswith(("modelfleet/", "kopf/"))
        and event.get("objectRef", {}).get("resource") != "leases"
    ]


def quiet(audit_log: Path) -> bool:
    """Whether the operator has written nothing for a while."""
    with audit_log.open("rb") as log:
        log.seek(max(0, audit_log.stat().st_size - TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[1:]
    since = datetime.fromtimestamp(time.time() - QUIET_S, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return not writes(lines, since)


def last_write_s(audit_log: Path) -> float:
    """When the operator last wrote, in seconds since the epoch."""
    return datetime.fromisoformat(
        max(when for when, _ in writes(audit_log.read_text().splitlines()))
    ).timestamp()


def one_run(folder: Path, *, rest: bool) -> Run:
    """A fresh control plane with 500 tiers, and the operator started on it."""
    audit_log = folder / "audit.log"
    with ControlPlane(audit_log=audit_log) as plane:
        os.environ["KUBECONFIG"] = str(plane.kubeconfig)
        done = [plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))]
        done.append(plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"))
        done.append(plane.kubectl("create", "namespace", NAMESPACE))
        made = folder / "tiers.yaml"
        made.write_text(yaml.safe_dump_all(map(tier, range(TIERS))))
        done.append(plane.kubectl("create", "-f", str(made)))
        if failed := [each.stderr for each in done if each.returncode]:
            raise RuntimeError(failed[0])
        began = time.time()
        with operator(plane, folder / "operator.log") as process:
            asyncio.run(converge(process, audit_log))
            took_s = last_write_s(audit_log) - began
            say(f"converged after {took_s:.1f} s, {rss_mib(process.pid):.0f} MiB")
            if not rest:
                return Run(took_s, rss_mib(process.pid))
            return at_rest(process.pid, took_s, audit_log)


def at_rest(pid: int, took_s: float, audit_log: Path) -> Run:
    """What the process does when there is nothing to do.  Ten seconds later, for the cluster settles as well."""
    time.sleep(10)
    say(f"measuring {REST_S:.0f} s at rest")
    since, used_s = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), cpu_s(pid)
    time.sleep(REST_S)
    percent = (cpu_s(pid) - used_s) / REST_S * 100
    seen = writes(audit_log.read_text().splitlines(), since)
    for _, line in seen[:20]:
        say(f"a write at rest: {line}")
    return Run(took_s, rss_mib(pid), writes=len(seen), cpu_percent=percent)


def router_rss_mib(folder: Path) -> float:
    """What a router with an empty table weighs.  Raises RuntimeError when it does not come up."""
    with ControlPlane() as plane:
        table = json.dumps({"formatVersion": 1, "cascades": []})
        name = names.route_table(names.SHARED_ROUTER)
        plane.kubectl("create", "configmap", name, f"--from-literal={names.ROUTE_TABLE_KEY}={table}")
        account = "--serviceaccount=default:default"
        plane.kubectl("create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin", account)
        cluster = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        port, metrics_port = free_ports(2)
        settings = {
            "API_SERVER": plane.server,
            "API_TOKEN": plane.kubectl("create", "token", "default").stdout.strip(),
            "API_CA": authority(cluster, folder),
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": str(port),
            "LISTEN_METRICS_PORT": str(metrics_port),
            "NAMESPACE": "default",
        }
        return weighed_router(settings, port)


def authority(cluster: dict[str, str], folder: Path) -> str:
    """File with the CA certificate of a kubeconfig's cluster."""
    if "certificate-authority" in cluster:
        return cluster["certificate-authority"]
    file = folder / "ca.crt"
    file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return str(file)


def weighed_router(settings: dict[str, str], port: int) -> float:
    environment = {f"MODELFLEET_{name}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelfleet.cli.route"],
        cwd=ROOT / "operator",
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + ROUTER_LIMIT_S
        while not answers(f"http://127.0.0.1:{port}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the router did not become ready")
            time.sleep(0.2)
        return rss_mib(process.pid)
    finally:
        process.kill()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310  on loopback
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def measured(runs: int) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="modelfleet-bench-") as name:
        done: list[Run] = []
        for number in range(runs):
            say(f"run {number + 1} of {runs}: {TIERS} ModelTiers")
            folder = Path(name) / str(number)
            folder.mkdir()
            done.append(one_run(folder, rest=number == runs - 1))
        say("weighing a router")
        router_mib = router_rss_mib(Path(name))
    return [
        at_most("converge_500_tiers_s", [run.converge_s for run in done], 30, "s"),
        at_most("operator_rss_mib", [run.rss_mib for run in done], 130, "MiB"),
        at_most(
            "writes_at_rest", [run.writes for run in done if run.writes is not None], 0, "writes in 60 s"
        ),
        at_most(
            "cpu_at_rest_percent",
            [run.cpu_percent for run in done if run.cpu_percent is not None],
            3,
            "% of a core",
        ),
        at_most("router_rss_mib", [router_mib], 48, "MiB"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    figures = measured(parser.parse_args().runs)
    write("operator.json", figures)
    for figure in figures:
        say(
            f"{figure.name}: {figure.value} ({figure.low} .. {figure.high}) {figure.unit}, target {figure.target}"
        )
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
