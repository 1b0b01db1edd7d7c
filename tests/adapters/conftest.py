"""What the tests of adapters against the real API server share."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.cluster.controlplane import ControlPlane
from modelfleet.adapters.kube import KubeCluster

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def served(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, with our kinds."""
    made = control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    assert made.returncode == 0, made.stderr
    waited = control_plane.kubectl("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    assert waited.returncode == 0, waited.stderr
    return control_plane


@pytest.fixture
def namespace(served: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    assert served.kubectl("create", "namespace", name).returncode == 0
    yield name
    served.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def cluster(served: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeCluster]:
    """Our adapter, connected."""
    monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig))
    async with KubeCluster(timeout_s=15.0) as connected:
        yield connected
