"""Where a model's files come from, and the volumes, mounts and init container that bring them into the pod."""

import re
from dataclasses import dataclass

from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest
from modelfleet.api.model_tier import ModelTier
from modelfleet.api.serving import ModelSource
from modelfleet.desired import meta

MODEL_FOLDER = "/model"
MODEL_VOLUME = "model"
DOWNLOAD_CONTAINER = "download"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIRST_SPLIT = re.compile(r"-0*1-of-([0-9]+)\.gguf$")

# A folder that is complete and named by a commit never changes: the next pod on a cache claim needs no hub.
_DOWNLOAD = """\
import os, pathlib, re, sys
folder, repo, revision, *patterns = sys.argv[1:]
done = pathlib.Path(folder) / ".complete"
if done.exists() and re.fullmatch("[0-9a-f]{40}", revision):
    sys.exit(print(f"{repo}@{revision} is here already"))
from huggingface_hub import snapshot_download
try:
    snapshot_download(repo, revision=revision, local_dir=folder, allow_patterns=patterns or None)
except Exception as err:
    sys.exit(f"cannot download {repo}@{revision}: {type(err).__name__}: {err}".replace("\\n", " "))
done.touch()
print(f"downloaded {repo}@{revision}")
"""


@dataclass(frozen=True, slots=True)
class Mounted:
    """How the model gets into the pod.  `path` is where the engine finds it."""

    path: str
    volume: Manifest
    mount: Manifest
    init_containers: tuple[Manifest, ...]


def is_commit(revision: str) -> bool:
    """Whether `revision` names a commit, which needs no resolving and never moves."""
    return _COMMIT.fullmatch(revision) is not None


def hub_repository(source: ModelSource) -> str | None:
    """`owner/repository` of an hf:// source, else None."""
    uri = source.uri or ""
    return uri.removeprefix("hf://") if uri.startswith("hf://") else None


def source_id(source: ModelSource) -> str | None:
    """What a resolved commit belongs to; when it changes, the revision is resolved again."""
    repository = hub_repository(source)
    return f"hf://{repository}@{source.revision}" if repository else None


def mounted(tier: ModelTier, settings: FleetSettings, *, revision: str | None) -> Mounted:
    """Volume, mount and downloads for the tier's model at `revision` (hf:// only)."""
    source = tier.spec.model
    assert source is not None
    assert source.uri is not None
    if hub_repository(source):
        return _from_hub(source, settings, revision=revision or source.revision)
    claim, _, path = source.uri.removeprefix("pvc://").partition("/")
    return Mounted(
        path=_joined(MODEL_FOLDER, path, source.file),
        volume={"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": claim}},
        mount={"name": MODEL_VOLUME, "mountPath": MODEL_FOLDER, "readOnly": True},
        init_containers=(),
    )


def _from_hub(source: ModelSource, settings: FleetSettings, *, revision: str) -> Mounted:
    repository = hub_repository(source)
    assert repository is not None
    folder = _joined(MODEL_FOLDER, repository.replace("/", "--"), revision.replace("/", "--"))
    kept = (
        {"persistentVolumeClaim": {"claimName": source.cache_claim}}
        if source.cache_claim
        else {"emptyDir": {}}
    )
    return Mounted(
        path=_joined(folder, source.file),
        volume={"name": MODEL_VOLUME, **kept},
        mount={"name": MODEL_VOLUME, "mountPath": MODEL_FOLDER, "readOnly": True},
        init_containers=(
            _download(source, settings, repository=repository, revision=revision, folder=folder),
        ),
    )


def _download(
    source: ModelSource, settings: FleetSettings, *, repository: str, revision: str, folder: str
) -> Manifest:
    env: list[Manifest] = [
        {"name": "HF_ENDPOINT", "value": settings.hub.endpoint},
        {"name": "HF_HOME", "value": "/tmp/huggingface"},  # noqa: S108  an emptyDir of the pod
        {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108  an emptyDir of the pod
    ]
    if source.credentials_secret_ref is not None:
        ref = source.credentials_secret_ref
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}})
    return {
        "name": DOWNLOAD_CONTAINER,
        "image": settings.images.downloader,
        "command": ["python3", "-c", _DOWNLOAD, folder, repository, revision, *_patterns(source)],
        "env": env,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": meta.container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": MODEL_VOLUME, "mountPath": MODEL_FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  an emptyDir of the pod
        ],
    }


def _patterns(source: ModelSource) -> list[str]:
    """Files to download; none means all.  A GGUF in pieces is named by its first piece and needs all of them."""
    if source.file is None:
        return []
    return [_FIRST_SPLIT.sub(r"-*-of-\1.gguf", source.file)]


def _joined(*parts: str | None) -> str:
    return "/".join(
        part.strip("/") if index else part.rstrip("/") for index, part in enumerate(parts) if part
    )
