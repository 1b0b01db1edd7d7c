"""The whole cluster, for real: pods, names, GPUs, two at once, and an end that leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from e2e.cluster import addons, cgroups, imageset, local, models, paths

pytestmark = pytest.mark.cluster

LIMIT_S = 60.0
NAME = "engine"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Running]:
    """A cluster of this module's own, so that it may also end badly."""
    state = tmp_path_factory.mktemp("cluster")
    yield local.detach(state, kwok=True)
    local.stop(state)


def test_a_model_answers_by_name(cluster: local.Running) -> None:
    apply(cluster, [*models.claim("default"), *engine()])

    ready = cluster.kubectl("rollout", "status", f"deployment/{NAME}", f"--timeout={LIMIT_S}s")
    assert ready.returncode == 0, ready.stderr
    question = json.dumps({"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 4})
    url = f"http://{NAME}.default.svc.cluster.local/v1/chat/completions"
    # kube-proxy may learn of a Ready pod a second after we do.
    patient = ("--retry", "20", "--retry-delay", "1", "--retry-connrefused")
    asked = subprocess.run(
        cluster.command("curl", "--silent", "--max-time", "60", *patient, "--data", question, url),
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(asked.stdout)["usage"]["completion_tokens"] > 0


def test_gpus_and_pretended_nodes_are_there_to_schedule_on(cluster: local.Running) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    gpus = {node["metadata"]["name"]: node["status"]["allocatable"].get(addons.GPU) for node in nodes}

    assert gpus == {addons.NODE: str(addons.GPUS_ON_NODE), "kwok-0": "8", "kwok-1": "8"}


def test_every_image_is_there(cluster: local.Running) -> None:
    listed = subprocess.run(
        cluster.command("ctr", "--namespace=k8s.io", "images", "list", "--quiet"),
        capture_output=True,
        text=True,
        check=True,
    )

    wanted = {recipe.tag for recipe in imageset.RECIPES} | {imageset.PROMETHEUS_IMAGE}
    assert wanted - set(listed.stdout.split()) == set()


def test_the_network_has_no_way_out(cluster: local.Running) -> None:
    routes = subprocess.run(cluster.command("ip", "route"), capture_output=True, text=True, check=True)

    assert "default" not in routes.stdout


def test_a_folder_serves_one_cluster(cluster: local.Running) -> None:
    with pytest.raises(local.ClusterError, match="already runs"), local.start(cluster.state):
        pass


def test_a_killed_supervisor_takes_all_along_and_its_folder_can_be_used_again(tmp_path: Path) -> None:
    killed = local.detach(tmp_path)
    os.kill(killed.supervisor, signal.SIGKILL)
    wait_until(lambda: processes_of(tmp_path) == [])
    assert local.running(tmp_path) is None

    again = local.detach(tmp_path)
    try:
        assert again.kubectl("get", "--raw", "/readyz").stdout == "ok"
        # What namespaces do not hide was tidied up by the next start.
        assert leftovers(killed.supervisor) == []
    finally:
        local.stop(tmp_path)

    wait_until(
        lambda: processes_of(tmp_path) == []
    )  # the supervisor lets go of its folder as its last act but one
    assert leftovers(again.supervisor) == []
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "logs", "up.log"}


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "e2e.cluster", "up", f"--state={tmp_path}"]
    # Where the tests run in the background of a script, Ctrl-C is ignored, and children inherit that.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(argv, cwd=paths.REPO, preexec_fn=hears)  # noqa: PLW1509  nothing else forks here
    wait_until(lambda: local.running(tmp_path) is not None)

    process.send_signal(signal.SIGINT)

    assert process.wait(LIMIT_S) == 0
    assert processes_of(tmp_path) == []


def apply(cluster: local.Running, manifests: list[addons.Manifest]) -> None:
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    done = cluster.kubectl("apply", "-f", "-", stdin=content)
    assert done.returncode == 0, done.stderr


def engine() -> list[addons.Manifest]:
    """A llama.cpp pod as strict as production's, and its Service."""
    labels = {"app": NAME}
    strict = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": NAME,
        "image": "localhost/llama-server:dev",
        "args": ["--model", f"/models/{models.SMALL}", "--ctx-size", "1024", "--parallel", "1"],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
        "securityContext": strict,
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": models.CLAIM, "readOnly": True}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": [volume]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def processes_of(state: Path) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_text().split("\0")
        except OSError:
            continue  # It ended while we looked.
        if any(str(state) in word for word in words) and file.parent.name != str(os.getpid()):
            found.append(" ".join(words))
    return found


def leftovers(supervisor: int) -> list[Path]:
    pattern = f"{cgroups.PREFIX}{supervisor}-*"
    return [group for hierarchy in cgroups.hierarchies() for group in hierarchy.glob(pattern)]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
