"""Fixtures shared by all tests.  What they need is built on first use, so nothing is ever skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server without nodes; `.kubeconfig`, `.kubectl(*args, stdin=None)`."""
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def assets(control_plane: ControlPlane) -> Path:
    """The folder with etcd, kube-apiserver, kube-controller-manager and kubectl."""
    return control_plane.assets
