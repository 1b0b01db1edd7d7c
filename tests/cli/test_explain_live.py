"""What people read of a decision, from the ConfigMap on a real API server."""

import json
from pathlib import Path

import pytest
import yaml
from kubernetes.aio.config import kube_config
from typer.testing import CliRunner

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.cli.main import app
from modelfleet.plan import learned, record
from modelfleet.plan.learned import Learned
from modelfleet.plan.planner import Settings, plan
from modelfleet.plan.record import Record
from tests.plan.calm_look import CALM, STEADY

pytestmark = pytest.mark.controlplane

CRDS = Path(__file__).parents[2] / "crds"
FILE = """
kind: Cascade
metadata: {name: chat}
spec:
  modelName: chat
  slo: {itlP95: 200ms}
  tiers:
  - {name: s, tierRef: {name: small}}
  - {name: b, tierRef: {name: big}, targetShare: 10}
---
kind: ModelTier
metadata: {name: small}
spec: {llamaCpp: {}, scaling: {maxReplicas: 9, profile: 8b-h100}}
"""


@pytest.fixture
def kept(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Cascade chat, planned with a Cascade bulk."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(control_plane.kubeconfig))
    control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    found, state = plan(CALM, STEADY, Settings())
    data = {
        names.PLAN_DECISION_KEY: record.encode(Record("chat", ("bulk", "chat"), CALM, found, Settings())),
        names.PLAN_LEARNED_KEY: learned.encode(Learned(state, ("small", "big"))),
    }
    notes = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.plan_notes("chat"), "namespace": "default"},
        "data": data,
    }
    done = control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(notes))
    assert not done.returncode, done.stderr


def said(*args: str) -> tuple[int, str]:
    found = CliRunner(env={"COLUMNS": "160"}).invoke(app, [*args])
    return found.exit_code, " ".join(found.output.split())


@pytest.mark.usefixtures("kept")
def test_a_decision_is_told_with_what_it_was_made_from(control_plane: ControlPlane):
    code, text = said("explain", "casc/chat")

    assert code == 0
    for words in (
        "chat, together with bulk",
        "first token 1000 ms, between tokens 50 ms",
        "60 requests a second",
        "OwnShare",
        "each tier for its own peak",
        "what would be done now, if it did not hold",
        "StabilizationWindow",
    ):
        assert words in text

    for name in ("bulk", "chat"):
        thing = {
            "apiVersion": names.API_VERSION,
            "kind": "Cascade",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"modelName": name, "tiers": [{"name": "s", "tierRef": {"name": "small"}}]},
        }
        control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
    assert said("explain", "bulk")[1] == text  # of the Cascade that keeps it


@pytest.mark.usefixtures("kept")
def test_what_nobody_planned_is_said():
    code, text = said("explain", "nothing", "-n", "default")

    assert code == 1
    assert "nothing is planned for Cascade nothing" in text


@pytest.mark.usefixtures("kept")
def test_other_objects_on_the_same_look(tmp_path: Path):
    path = tmp_path / "fleet.yaml"
    path.write_text(FILE)
    code, text = said("plan", "-f", str(path))

    assert code == 0
    assert "with these objects" in text

    broken = [*yaml.safe_load_all(FILE)]
    broken[1]["metadata"]["name"] = "huge"
    path.write_text(yaml.safe_dump_all(broken))
    code, text = said("plan", "-f", str(path))
    assert code == 1
    assert "not planned with chat so far: huge" in text
