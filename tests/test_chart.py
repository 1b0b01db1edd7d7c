"""The chart renders with the real helm, refuses what it does not know, and gives no right that is not used."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import gotools
from e2e.cluster.controlplane import ControlPlane
from e2e.demo.kube import wait_until
from modelfleet import names
from modelfleet.api.fleet_settings import SETTINGS_KEY, FleetSettings
from modelfleet.settings import Settings

CHART = Path(__file__).parents[1] / "charts" / "modelfleet"
SCHEMA = CHART / "values.schema.json"
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    program = gotools.build("helm")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *args], capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    def rendered(*args: str) -> list[dict[str, Any]]:
        done = helm("template", "fleet", str(CHART), "--namespace=sys", "--kube-version=1.34.4", *args)
        assert done.returncode == 0, done.stderr
        return [item for item in yaml.safe_load_all(done.stdout) if item]

    return rendered


def one(items: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def test_lint_finds_nothing(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = helm("lint", "--strict", str(CHART))

    assert done.returncode == 0, done.stdout + done.stderr


def test_settings_are_what_the_operator_reads(render: Render) -> None:
    data = one(render(), "ConfigMap", "fleet-modelfleet-settings")["data"]

    settings = FleetSettings.model_validate(yaml.safe_load(data[SETTINGS_KEY]))

    assert settings.images == FleetSettings().images
    assert settings.router == FleetSettings().router
    assert "cpu" in settings.node_pools


def test_environment_is_what_the_operator_reads(render: Render) -> None:
    items = render("--set=watchNamespaces={a,b}")
    container = one(items, "Deployment", "fleet-modelfleet")["spec"]["template"]["spec"]["containers"][0]
    prefix = str(Settings.model_config["env_prefix"])

    for variable in container["env"]:
        assert variable["name"].removeprefix(prefix).lower() in Settings.model_fields
    watched = next(each["value"] for each in container["env"] if each["name"].endswith("WATCH_NAMESPACES"))
    assert json.loads(watched) == ["a", "b"]


def test_routers_find_all_operators_under_one_name(render: Render) -> None:
    items = render()
    container = one(items, "Deployment", "fleet-modelfleet")["spec"]["template"]["spec"]["containers"][0]
    wake = one(items, "Service", "fleet-modelfleet-wake")["spec"]
    (address,) = json.loads(
        next(each["value"] for each in container["env"] if each["name"].endswith("WAKE_ADDRESSES"))
    )

    assert address == "fleet-modelfleet-wake.sys.svc:8080"
    assert wake["clusterIP"] == "None"
    assert wake["selector"] == one(items, "Deployment", "fleet-modelfleet")["spec"]["selector"]["matchLabels"]
    assert 8080 in [port["containerPort"] for port in container["ports"]]


def test_some_namespaces_get_a_role_binding_each(render: Render) -> None:
    items = render("--set=watchNamespaces={a,b}")

    bindings = [item for item in items if item["kind"] == "RoleBinding"]
    bound = {(item["metadata"]["namespace"], item["roleRef"]["name"]) for item in bindings}

    name = "fleet-modelfleet"
    assert bound == {(each, role) for each in "ab" for role in (name, f"{name}-added")} | {("sys", name)}
    assert not [item for item in items if item["kind"] == "ClusterRoleBinding"]


def test_nothing_may_read_secrets_or_touch_specs(render: Render) -> None:
    ours = [item for item in render() if item["kind"] in ("ClusterRole", "Role")]
    rules = [
        rule
        for item in ours
        if not item["metadata"]["name"].endswith("-editor")
        for rule in item.get("rules", ())
    ]

    for rule in rules:
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
        assert not {"secrets", "pods/exec"} & set(rule["resources"])
        if {"modeltiers", "cascades"} & set(rule["resources"]):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
        if "bind" in rule["verbs"]:
            assert rule["resourceNames"] == [names.ROUTER_CLUSTER_ROLE]


def test_users_may_add_rights_and_only_scales_are_updated(render: Render) -> None:
    items = render()
    added = one(items, "ClusterRole", "fleet-modelfleet-added")
    rules = one(items, "ClusterRole", "fleet-modelfleet")["rules"]

    assert added["aggregationRule"] == {
        "clusterRoleSelectors": [{"matchLabels": {names.LABEL_AGGREGATE: "true"}}]
    }
    assert (
        one(items, "ClusterRoleBinding", "fleet-modelfleet-added")["roleRef"]["name"]
        == added["metadata"]["name"]
    )
    updated = [rule["resources"] for rule in rules if "update" in rule["verbs"]]
    assert updated == [["deployments/scale", "statefulsets/scale"]]


@pytest.mark.controlplane
def test_a_right_that_users_add_is_the_operators(render: Render, control_plane: ControlPlane) -> None:
    added = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "scales-kubeai", "labels": {names.LABEL_AGGREGATE: "true"}},
        "rules": [{"apiGroups": ["kubeai.org"], "resources": ["models/scale"], "verbs": ["get", "update"]}],
    }
    roles = [item for item in render() if item["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    made = control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([*roles, added]))
    assert made.returncode == 0, made.stderr
    (subject,) = one(roles, "ClusterRoleBinding", "fleet-modelfleet-added")["subjects"]
    user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"

    def may_update(group: str, resource: str, subresource: str) -> bool:
        attributes = {"group": group, "resource": resource, "subresource": subresource, "verb": "update"}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {**attributes, "namespace": "any"}},
        }
        asked = control_plane.kubectl(
            "create", "-f", "-", "-o", "jsonpath={.status.allowed}", stdin=json.dumps(review)
        )
        return asked.stdout == "true"

    wait_until("the right is granted", lambda: may_update("kubeai.org", "models", "scale"), limit_s=20.0)
    assert may_update("apps", "statefulsets", "scale")
    assert not may_update("apps", "deployments", "status")


def test_digest_wins_over_tag(render: Render) -> None:
    digest = f"sha256:{'a' * 64}"
    items = render(f"--set=image.digest={digest}", "--set=image.tag=other")

    image = one(items, "Deployment", "fleet-modelfleet")["spec"]["template"]["spec"]["containers"][0]["image"]

    assert image.endswith(f"@{digest}")


def test_crds_can_be_left_out(render: Render) -> None:
    assert {item["metadata"]["name"] for item in render() if item["kind"] == "CustomResourceDefinition"} == {
        "modeltiers.modelfleet.dev",
        "cascades.modelfleet.dev",
    }
    assert not [
        item for item in render("--set=crds.enabled=false") if item["kind"] == "CustomResourceDefinition"
    ]


TYPOS = {
    "top level": ("--set=replicas=3", "replicas"),
    "image": ("--set=image.name=x", "name"),
    "settings": ("--set=settings.prometheus.uri=http://p", "uri"),
    "pool": ("--set=settings.nodePools.cpu.selector.a=b", "selector"),
}


@pytest.mark.parametrize(("value", "word"), TYPOS.values(), ids=TYPOS)
def test_typo_is_refused(
    helm: Callable[..., subprocess.CompletedProcess[str]], value: str, word: str
) -> None:
    done = helm("template", "fleet", str(CHART), "--kube-version=1.34.4", value)

    assert done.returncode != 0
    assert word in done.stderr


MONITORED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "everywhere": ([], {"any": True}),
    "where it works": (["--set=watchNamespaces={a,b}"], {"matchNames": ["a", "b", "sys"]}),
}


@pytest.mark.parametrize(("values", "where"), MONITORED.values(), ids=MONITORED)
def test_pods_are_scraped_where_that_is_asked_for(
    render: Render, values: list[str], where: dict[str, Any]
) -> None:
    asked = ("--set=podMonitor.enabled=true", "--set=podMonitor.labels.release=prom")
    monitor = one(render(*asked, *values), "PodMonitor", "fleet-modelfleet")

    assert monitor["metadata"]["labels"]["release"] == "prom"
    assert monitor["spec"]["namespaceSelector"] == where
    assert monitor["spec"]["selector"]["matchLabels"] == {names.LABEL_PART_OF: names.MANAGER}
    ports = [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]]
    assert ports == [names.PORT_METRICS, names.PORT_HTTP]
    assert all(item["kind"] != "PodMonitor" for item in render())


def test_schema_knows_every_setting(request: pytest.FixtureRequest) -> None:
    schema = json.loads(SCHEMA.read_text())
    if request.config.getoption("--update-golden"):
        schema["properties"]["settings"] = settings_schema()
        SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")

    assert schema["properties"]["settings"] == settings_schema()


def test_readme_explains_every_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()

    explained = set(re.findall(r"^\| `([A-Za-z.]+)`", readme, flags=re.MULTILINE))

    assert set(values) == {name.split(".")[0] for name in explained}


def settings_schema() -> dict[str, Any]:
    """FleetSettings as a plain JSON schema, without references; defaults are the operator's own business."""
    raw = FleetSettings.model_json_schema(by_alias=True)
    definitions = raw.pop("$defs", {})
    plain: dict[str, Any] = _inline(raw, definitions)
    return plain


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        merged = {**definitions[reference.rsplit("/", 1)[-1]], "description": node.get("description", "")}
        return _inline(merged, definitions)
    dropped = {"default"} | ({"title"} if isinstance(node.get("title"), str) else set())
    return {key: _inline(value, definitions) for key, value in node.items() if key not in dropped}
