"""One cluster and one operator for all scenarios; a namespace for each."""

import os
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from e2e.cluster import choose
from e2e.demo import install
from e2e.demo.kube import Kube
from e2e.scenarios.world import World

HERE = install.HERE.parent / "scenarios"
POD_LIMIT_S = 180.0
SignalPod = Callable[[str, str], None]
_SIGNAL = 'for p in /proc/[0-9]*; do if grep -qs "$1" "$p/cgroup"; then kill -s "$2" "${p#/proc/}"; fi; done'
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ours; pytest hands over the items of all folders."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def target() -> Iterator[choose.Target]:
    """The chosen cluster."""
    with choose.cluster(kwok=True) as chosen:
        yield chosen


@pytest.fixture(scope="session")
def kube(target: choose.Target) -> Kube:
    """The chosen cluster with the operator, the hub and the clients' pod running in it."""
    path = f"{target.assets}{os.pathsep}{os.environ.get('PATH', '')}"
    kube = Kube({**os.environ, "KUBECONFIG": str(target.kubeconfig), "PATH": path})
    install.namespaces(kube)
    install.outside(kube, built=target.built is not None)
    install.operator(kube, HERE / "values.yaml")
    waited_for = (("outside", "hub"), ("monitoring", "prometheus"), (install.SYSTEM, install.RELEASE))
    install.wait_for_deployments(kube, *waited_for, limit_s=POD_LIMIT_S)
    kube.kubectl("wait", "-n", "clients", "pod/load", "--for=condition=Ready", "--timeout=120s")
    return kube


@pytest.fixture
def signal_pod(target: choose.Target) -> SignalPod:
    """Sends a signal to every process of a pod: `signal_pod(uid, "STOP")`.  Only where the node is ours."""
    built = target.built
    if built is None:
        pytest.skip("the processes of this cluster's nodes are out of reach")

    def send(uid: str, signal: str) -> None:
        subprocess.run(built.command("sh", "-c", _SIGNAL, "sh", uid, signal), check=True)

    return send


@pytest.fixture
def world(kube: Kube, request: pytest.FixtureRequest) -> Iterator[World]:
    """A namespace of this test's own."""
    with _namespace(kube, request.node.name.removeprefix("test_")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(kube: Kube, request: pytest.FixtureRequest) -> Iterator[World]:
    """A namespace that the tests of one file share."""
    with _namespace(kube, request.node.path.stem.removeprefix("test_")) as made:
        yield made


@contextmanager
def _namespace(kube: Kube, title: str) -> Iterator[World]:
    # Never one of the demo's, which install.py makes and this would delete.
    namespace = "e2e-" + re.sub(r"[^a-z0-9]+", "-", title.lower())[:40].strip("-")
    kube.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=true")
    metadata = {"name": namespace, "labels": RESTRICTED}
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    yield World(kube, namespace)
    kube.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What is in a test's namespace is told when it fails."""
    report = yield
    if report.when == "call" and report.failed:
        worlds = (value for value in vars(item).get("funcargs", {}).values() if isinstance(value, World))
        report.sections += [(f"namespace {world.namespace}", world.told()) for world in worlds]
    return report
