"""The control plane without nodes, for real."""

import json
from pathlib import Path

import pytest

from e2e.cluster import gotools
from e2e.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.controlplane


def test_objects_are_collected_with_their_namespace(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "namespace", "doomed")
    control_plane.kubectl("create", "configmap", "inner", "-n", "doomed")

    gone = control_plane.kubectl("delete", "namespace", "doomed", "--timeout=30s")

    assert (gone.returncode, gone.stderr) == (0, "")


def test_a_fault_of_the_caller_is_the_callers_to_see(control_plane: ControlPlane) -> None:
    result = control_plane.kubectl("apply", "-f", "-", stdin="kind: Nonsense")

    assert result.returncode != 0
    assert "apiVersion not set" in result.stderr


def test_two_at_once_with_an_audit_log_and_nothing_left(control_plane: ControlPlane, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    with ControlPlane(audit_log=audit) as second:
        assert second.server != control_plane.server
        second.kubectl("create", "configmap", "seen", "-n", "default")
        requests = [json.loads(line) for line in audit.read_text().splitlines()]
        folder = second.folder

    names = [request["objectRef"].get("name") for request in requests if request["verb"] == "create"]
    assert "seen" in names
    assert not folder.exists()


def test_given_assets_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "etcd"
    mine.touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assets = gotools.assets(["etcd", "kubectl"])

    assert (assets / "etcd").resolve() == mine
    assert (assets / "kubectl").resolve() == gotools.build("kubectl")
