"""One cluster and one operator for all scenarios; a namespace for each."""

import os
import re
from collections.abc import Generator, Iterator

import pytest

from e2e.cluster import choose
from e2e.demo import install
from e2e.demo.kube import Kube
from e2e.scenarios.world import World

HERE = install.HERE.parent / "scenarios"
POD_LIMIT_S = 180.0
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ours; pytest hands over the items of all folders."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    """The chosen cluster with the operator, the hub and the clients' pod running in it."""
    with choose.cluster(kwok=True) as target:
        path = f"{target.assets}{os.pathsep}{os.environ.get('PATH', '')}"
        kube = Kube({**os.environ, "KUBECONFIG": str(target.kubeconfig), "PATH": path})
        install.namespaces(kube)
        install.outside(kube, built=target.built is not None)
        install.operator(kube, HERE / "values.yaml")
        waited_for = (("outside", "hub"), ("monitoring", "prometheus"), (install.SYSTEM, install.RELEASE))
        install.wait_for_deployments(kube, *waited_for, limit_s=POD_LIMIT_S)
        kube.kubectl("wait", "-n", "clients", "pod/load", "--for=condition=Ready", "--timeout=120s")
        yield kube


@pytest.fixture
def world(kube: Kube, request: pytest.FixtureRequest) -> Iterator[World]:
    """A namespace of this test's own; what is in it is told when the test fails."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    kube.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=true")
    metadata = {"name": namespace, "labels": RESTRICTED}
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    made = World(kube, namespace)
    yield made
    if (report := request.node.stash.get(FAILED, None)) is not None:
        report.sections.append(("the namespace", made.told()))
    kube.kubectl("delete", "namespace", namespace, "--wait=false")


FAILED = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = report
    return report
