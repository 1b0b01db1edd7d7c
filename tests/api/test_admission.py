"""The CRDs on a real API server: what it accepts, and what the user reads when it does not."""

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.cluster.controlplane import ControlPlane
from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.engine_flags import LLAMA_CPP as MANAGED_LLAMA
from modelfleet.api.engine_flags import VLLM as MANAGED_VLLM
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.serving import ARGS_MAX
from tests.api.cascade_rows import ACCEPTED_CASCADES, REJECTED_CASCADES
from tests.api.existing_rows import (
    ACCEPTED_EXISTING,
    EXISTING,
    REJECTED_EXISTING,
    ROUTED_ONLY,
    SCALED_EXISTING,
    TARGET,
)
from tests.api.scaling_rows import ACCEPTED_SCALING, REJECTED_SCALING
from tests.api.specs import CASCADE, LLAMA, SCALED, VLLM, changed
from tests.api.tier_rows import (
    ACCEPTED_TIERS,
    LLAMA_CPP_SPELLINGS,
    NOT_FOR_ARGS,
    REJECTED_TIERS,
    VLLM_SPELLINGS,
)

pytestmark = pytest.mark.controlplane

ROOT = Path(__file__).parents[2]
PLURALS = {"ModelTier": "modeltiers", "Cascade": "cascades"}


class Api:
    """The API server as a client sees it: dry runs that are checked like the real thing."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def url(self, kind: str) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/default/{PLURALS[kind]}"

    def create(
        self, kind: str, spec: Mapping[str, Any], *, name: str = "x", dry_run: bool = True
    ) -> httpx.Response:
        params = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
        return self.http.post(self.url(kind), json=body, params=params)

    def merge(self, kind: str, name: str, patch: Mapping[str, Any], *, sub: str = "") -> httpx.Response:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.http.patch(f"{self.url(kind)}/{name}{sub}", json=dict(patch), headers=headers)


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    applied = control_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    assert applied.returncode == 0, applied.stderr
    waited = control_plane.kubectl(
        "wait", "--for=condition=Established", "crd/modeltiers.modelfleet.dev", "crd/cascades.modelfleet.dev"
    )
    assert waited.returncode == 0, waited.stderr
    config = json.loads(control_plane.kubectl("config", "view", "--raw", "-o", "json").stdout)
    user = config["users"][0]["user"]
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
        for name, data in {
            "ca": authority,
            "cert": user["client-certificate-data"],
            "key": user["client-key-data"],
        }.items():
            files[name] = Path(folder, name)
            files[name].write_bytes(base64.b64decode(data))
        tls = ssl.create_default_context(cafile=files["ca"])
        tls.load_cert_chain(files["cert"], files["key"])
        with httpx.Client(base_url=control_plane.server, verify=tls) as http:
            yield Api(http)


TAKEN = ACCEPTED_TIERS | ACCEPTED_EXISTING | ACCEPTED_SCALING
REFUSED = REJECTED_TIERS | REJECTED_EXISTING | REJECTED_SCALING


@pytest.mark.parametrize("spec", TAKEN.values(), ids=TAKEN)
def test_accepts_tiers(api: Api, spec: Mapping[str, Any]) -> None:
    answer = api.create("ModelTier", spec)

    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert ModelTier.model_validate(answer.json()).spec


@pytest.mark.parametrize("spec", ACCEPTED_CASCADES.values(), ids=ACCEPTED_CASCADES)
def test_accepts_cascades(api: Api, spec: Mapping[str, Any]) -> None:
    answer = api.create("Cascade", spec)

    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert Cascade.model_validate(answer.json()).spec


@pytest.mark.parametrize(("spec", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_tiers(api: Api, spec: Mapping[str, Any], message: str) -> None:
    answer = api.create("ModelTier", spec)

    assert answer.is_client_error, answer.text
    assert message in answer.json()["message"]


@pytest.mark.parametrize(("spec", "message"), REJECTED_CASCADES.values(), ids=REJECTED_CASCADES)
def test_refuses_cascades(api: Api, spec: Mapping[str, Any], message: str) -> None:
    answer = api.create("Cascade", spec)

    assert answer.is_client_error, answer.text
    assert message in answer.json()["message"]


@pytest.mark.parametrize("flag", VLLM_SPELLINGS)
def test_refuses_managed_flags_of_vllm(api: Api, flag: str) -> None:
    answer = api.create("ModelTier", changed(VLLM, "vllm.args", ["--seed", "1", flag]))

    assert answer.is_client_error, answer.text
    assert NOT_FOR_ARGS in answer.json()["message"]
    assert "spec.vllm.args[2]" in answer.json()["message"]


@pytest.mark.parametrize("flag", LLAMA_CPP_SPELLINGS)
def test_refuses_managed_flags_of_llama_cpp(api: Api, flag: str) -> None:
    answer = api.create("ModelTier", changed(LLAMA, "llamaCpp.args", ["--seed", "1", flag]))

    assert answer.is_client_error, answer.text
    assert NOT_FOR_ARGS in answer.json()["message"]
    assert "spec.llamaCpp.args[2]" in answer.json()["message"]


OTHER_FLAGS = {
    "vllm": ("vllm-flags.txt", VLLM, MANAGED_VLLM),
    "llamaCpp": ("llama-server-flags.txt", LLAMA, MANAGED_LLAMA),
}


@pytest.mark.parametrize("engine", OTHER_FLAGS)
def test_accepts_every_other_flag_of_the_engine(api: Api, engine: str) -> None:
    fixture, base, managed = OTHER_FLAGS[engine]
    ours = {flag for group in managed for flag in group.flags}
    lines = (ROOT / "tests/fixtures" / fixture).read_text().splitlines()
    others = [flag for line in lines if not line.startswith("#") for flag in line.split() if flag not in ours]

    for start in range(0, len(others), ARGS_MAX):
        answer = api.create("ModelTier", changed(base, f"{engine}.args", others[start : start + ARGS_MAX]))
        assert answer.status_code == httpx.codes.CREATED, answer.text


class TestReplicas:
    """`replicas` has one writer: the user, or scaling."""

    @pytest.fixture
    def scaled(self, api: Api) -> Iterator[str]:
        created = api.create("ModelTier", SCALED, name="scaled", dry_run=False)
        assert created.status_code == httpx.codes.CREATED, created.text
        yield "scaled"
        api.http.delete(f"{api.url('ModelTier')}/scaled")

    def test_cannot_change_while_scaling_stays_set(self, api: Api, scaled: str) -> None:
        answer = api.merge("ModelTier", scaled, {"spec": {"replicas": 3}})

        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert "spec.replicas: " in answer.json()["message"]
        assert (
            "change scaling.minReplicas or maxReplicas, or remove scaling first" in answer.json()["message"]
        )

    def test_cannot_change_through_the_scale_subresource(self, api: Api, scaled: str) -> None:
        answer = api.merge("ModelTier", scaled, {"spec": {"replicas": 3}}, sub="/scale")

        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert "replicas cannot change while scaling is set" in answer.json()["message"]

    def test_may_change_as_scaling_goes_and_comes(self, api: Api, scaled: str) -> None:
        off = api.merge("ModelTier", scaled, {"spec": {"scaling": None, "replicas": 3}})
        by_scale = api.merge("ModelTier", scaled, {"spec": {"replicas": 4}}, sub="/scale")
        on = api.merge("ModelTier", scaled, {"spec": {"scaling": SCALED["scaling"], "replicas": 2}})

        assert [off.status_code, by_scale.status_code, on.status_code] == [httpx.codes.OK] * 3
        assert on.json()["spec"]["replicas"] == 2

    def test_engine_may_be_switched(self, api: Api, scaled: str) -> None:
        answer = api.merge(
            "ModelTier",
            scaled,
            {"spec": {"llamaCpp": None, "vllm": {}, "model": {"uri": "pvc://models/qwen"}}},
        )

        assert answer.status_code == httpx.codes.OK, answer.text


OTHER = {"existing": {"scaleTargetRef": TARGET | {"name": "other"}}}
UNTIL_NOW: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], bool]] = {
    "another target while it is scaled": (SCALED_EXISTING, OTHER, False),
    "another target while nothing is scaled": (EXISTING, OTHER, True),
    "a target where there was none": (ROUTED_ONLY, EXISTING, True),
    "another Service while it is scaled": (
        SCALED_EXISTING,
        {"existing": {"serviceRef": {"name": "other"}}},
        True,
    ),
    "pods of ours become somebody's": (SCALED, {**SCALED_EXISTING, "llamaCpp": None}, False),
    "scaling goes, and the target with it": (
        SCALED_EXISTING,
        {"scaling": None, "existing": {"scaleTargetRef": None}},
        True,
    ),
}


@pytest.mark.parametrize(("before", "patch", "allowed"), UNTIL_NOW.values(), ids=UNTIL_NOW)
def test_a_decision_is_about_one_workload(
    api: Api, before: Mapping[str, Any], patch: Mapping[str, Any], *, allowed: bool
) -> None:
    created = api.create("ModelTier", before, name="adopted", dry_run=False)
    assert created.status_code == httpx.codes.CREATED, created.text

    model = {"model": {"uri": None, "servedName": "m"}} if "llamaCpp" in patch else {}
    answer = api.merge("ModelTier", "adopted", {"spec": {**patch, **model}})
    api.http.delete(f"{api.url('ModelTier')}/adopted")

    assert answer.is_success == allowed, answer.text
    if not allowed:
        assert "what is scaled cannot change while scaling is set" in answer.json()["message"]


def test_server_fills_in_the_defaults_of_a_tier(api: Api) -> None:
    spec = api.create("ModelTier", SCALED).json()["spec"]

    assert spec == {
        "model": {"uri": "pvc://models/smollm2.gguf", "revision": "main"},
        "llamaCpp": {"contextLength": 8192, "slots": 4},
        "replicas": 1,
        "suspend": False,
        "rollout": {"maxSurge": 1, "maxUnavailable": 0, "drainTimeout": "2m", "startupTimeout": "30m"},
        "scaling": {
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"name": "busy", "type": "Concurrency", "target": 4, "percentile": 95}],
            "behavior": {"scaleUp": {"selectPolicy": "Max"}, "scaleDown": {"selectPolicy": "Max"}},
            "mode": "Auto",
        },
    }


def test_server_fills_in_the_defaults_of_a_cascade(api: Api) -> None:
    spec = api.create("Cascade", changed(CASCADE, "tiers.0.weight", {"initial": 1})).json()["spec"]

    assert spec == {
        "modelName": "chat",
        "tiers": [
            {
                "name": "small",
                "tierRef": {"name": "smollm2"},
                "timeout": "60s",
                "weight": {"initial": 1, "min": 0, "max": 100},
            },
            {"name": "frontier", "tierRef": {"name": "gpt"}, "timeout": "60s"},
        ],
        "weights": {"mode": "Auto", "maxStep": 10, "interval": "15s"},
        "stream": {"holdBackTokens": 24, "holdBackTime": "120ms"},
        "limits": {"maxEscalations": 1, "deadline": "120s", "maxBodyBytes": 2097152},
        "router": {},
    }


@pytest.mark.parametrize("kind", PLURALS)
def test_models_and_server_agree_on_defaults(api: Api, kind: str) -> None:
    model, spec = {"ModelTier": (ModelTier, SCALED), "Cascade": (Cascade, CASCADE)}[kind]

    ours = model.model_validate({"metadata": {"name": "x"}, "spec": spec}).spec
    theirs = model.model_validate(api.create(kind, spec).json()).spec

    assert ours == theirs


def test_status_has_two_writers_on_one_list(api: Api) -> None:
    api.create("Cascade", CASCADE, name="shared", dry_run=False)
    whole = {"apiVersion": names.API_VERSION, "kind": "Cascade", "metadata": {"name": "shared"}}
    url = f"{api.url('Cascade')}/shared"

    def apply(manager: str, status: Mapping[str, Any]) -> httpx.Response:
        return api.http.patch(
            f"{url}/status",
            content=yaml.safe_dump(whole | {"status": dict(status)}),
            params={"fieldManager": manager, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    apply(names.FIELD_MANAGER_STRUCTURE, {"ready": "1/2", "tiers": [{"name": "small", "ready": True}]})
    answer = apply(names.FIELD_MANAGER_CAPACITY, {"tiers": [{"name": "small", "weight": 1000}]})

    assert answer.json()["status"] == {
        "ready": "1/2",
        "tiers": [{"name": "small", "ready": True, "weight": 1000}],
    }
    api.http.delete(url)


def test_kubectl_applies_both_ways_and_explains(api: Api, control_plane: ControlPlane) -> None:
    plain = control_plane.kubectl("apply", "-f", str(ROOT / "crds"))
    explained = control_plane.kubectl("explain", "modeltier.spec.rollout.drainTimeout")
    listed = control_plane.kubectl("get", "fleet", "--all-namespaces")
    short = control_plane.kubectl("get", "mt,casc", "-o", "wide")

    assert plain.returncode == 0, plain.stderr
    assert "How long a stopping pod may go on" in explained.stdout
    assert listed.returncode == 0, listed.stderr
    assert short.returncode == 0, short.stderr


def test_kubectl_get_shows_what_a_tired_person_looks_for(api: Api, control_plane: ControlPlane) -> None:
    api.create("ModelTier", VLLM | {"nodePool": {"name": "gpu"}}, name="shown", dry_run=False)
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "ModelLoading",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"engine": "vllm", "ready": "2/3", "desiredReplicas": 3, "conditions": [ready]}
    api.merge("ModelTier", "shown", {"status": status}, sub="/status")

    head, row = control_plane.kubectl("get", "mt", "shown", "-o", "wide").stdout.splitlines()
    api.http.delete(f"{api.url('ModelTier')}/shown")

    assert head.split() == [
        "NAME",
        "READY",
        "ENGINE",
        "REPLICAS",
        "DESIRED",
        "AGE",
        "MODEL",
        "POOL",
        "REASON",
    ]
    assert row.split()[:5] == ["shown", "False", "vllm", "2/3", "3"]
    assert row.split()[6:] == ["hf://Qwen/Qwen2.5-7B-Instruct", "gpu", "ModelLoading"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid(api: Api, control_plane: ControlPlane, path: Path) -> None:
    applied = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))

    assert applied.returncode == 0, applied.stderr
