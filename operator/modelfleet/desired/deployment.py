"""The Deployment of a tier: one engine per pod, and what it needs to start, serve and stop well."""

import math

from modelfleet import names
from modelfleet.api.fleet_settings import FleetSettings, NodePool
from modelfleet.api.meta import Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import engines, meta, model_source
from modelfleet.desired.engines import Engine

ENGINE_CONTAINER = "engine"
ANNOTATION_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
# Pulling an image of ten gigabytes and downloading a model come before the startup probe's budget begins.
PULL_AND_DOWNLOAD_S = 1800
REVISIONS_KEPT = 3


def deployment(
    tier: ModelTier,
    *,
    engine: Engine,
    pool: NodePool,
    settings: FleetSettings,
    revision: str | None,
    replicas: int,
) -> Manifest:
    """The tier's Deployment with `replicas` pods, serving the model at `revision` (hf:// only)."""
    rollout = tier.spec.rollout
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta.child(
            name=names.tier_child(tier.metadata.name),
            namespace=tier.metadata.namespace,
            owners=meta.owned_by_tier(tier),
            labels=meta.tier_labels(tier),
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": meta.tier_selector(tier)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable},
            },
            "progressDeadlineSeconds": math.ceil(seconds(rollout.startup_timeout)) + PULL_AND_DOWNLOAD_S,
            "revisionHistoryLimit": REVISIONS_KEPT,
            "template": {
                "metadata": {
                    "labels": {**pool.labels, **meta.tier_labels(tier)},
                    "annotations": {**pool.annotations, ANNOTATION_SAFE_TO_EVICT: "cache,model,shm,tmp"},
                },
                "spec": _pod(tier, engine=engine, pool=pool, settings=settings, revision=revision),
            },
        },
    }


def _pod(
    tier: ModelTier, *, engine: Engine, pool: NodePool, settings: FleetSettings, revision: str | None
) -> Manifest:
    model = model_source.mounted(tier, settings, revision=revision)
    volumes = [model.volume, {"name": "cache", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    if engine.shared_memory:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    pod: Manifest = {
        "serviceAccountName": names.tier_child(tier.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a tier called vllm would inject VLLM_PORT, which vLLM reads
        "terminationGracePeriodSeconds": engines.grace_s(tier),
        "securityContext": meta.pod_security(),
        "containers": [_container(tier, engine=engine, pool=pool, settings=settings, model=model)],
        "volumes": volumes,
    }
    if model.init_containers:
        pod["initContainers"] = list(model.init_containers)
    return {**pod, **_placement(tier, pool, settings)}


def _container(
    tier: ModelTier, *, engine: Engine, pool: NodePool, settings: FleetSettings, model: model_source.Mounted
) -> Manifest:
    mounts = [
        model.mount,
        {"name": "cache", "mountPath": engines.CACHE_FOLDER},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  an emptyDir of the pod
    ]
    if engine.shared_memory:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108  an emptyDir of the pod
    return {
        "name": ENGINE_CONTAINER,
        "image": _image(tier, pool, settings),
        "command": list(engine.command),
        "args": engine.arguments(tier, model.path),
        "env": engine.environment(tier),
        "ports": [{"name": names.PORT_HTTP, "containerPort": names.ENGINE_PORT, "protocol": "TCP"}],
        "resources": _resources(tier, pool),
        "securityContext": meta.container_security(read_only_root=engine.read_only_root),
        "lifecycle": {"preStop": engine.pre_stop(engines.drain_s(tier))},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **engines.probes(tier),
    }


def _image(tier: ModelTier, pool: NodePool, settings: FleetSettings) -> str:
    if tier.spec.vllm is not None:
        return tier.spec.vllm.image or pool.images.vllm or settings.images.vllm
    assert tier.spec.llama_cpp is not None
    return tier.spec.llama_cpp.image or pool.images.llama_cpp or settings.images.llama_cpp


def _resources(tier: ModelTier, pool: NodePool) -> Manifest:
    """The pool's resources times nodePool.count, and the tier's own over them, entry by entry."""
    count = tier.spec.node_pool.count if tier.spec.node_pool else 1
    merged: Manifest = {}
    for side in ("requests", "limits"):
        own = getattr(tier.spec.resources, side) if tier.spec.resources else {}
        amounts = {name: times(amount, count) for name, amount in getattr(pool.resources, side).items()} | {
            name: str(amount) for name, amount in own.items()
        }
        if amounts:
            merged[side] = dict(sorted(amounts.items()))
    return merged


def times(amount: int | str, count: int) -> str:
    """A quantity such as 4, 500m or 16Gi, `count` times, in the same unit."""
    text = str(amount)
    if count == 1:
        return text
    digits = text.rstrip("EPTGMKikmun")
    number = float(digits) * count
    return f"{int(number) if number.is_integer() else number}{text[len(digits) :]}"


def _placement(tier: ModelTier, pool: NodePool, settings: FleetSettings) -> Manifest:
    spread = [
        {"labelSelector": {"matchLabels": meta.tier_selector(tier)}, **constraint}
        for constraint in meta.own_copy(pool.topology_spread_constraints)
    ]
    wanted: Manifest = {
        "nodeSelector": dict(pool.node_selector),
        "tolerations": meta.own_copy(pool.tolerations),
        "affinity": meta.own_copy(pool.affinity),
        "topologySpreadConstraints": spread,
        "priorityClassName": pool.priority_class_name,
        "runtimeClassName": pool.runtime_class_name,
        "imagePullSecrets": [
            *meta.own_copy(pool.image_pull_secrets),
            *({"name": name} for name in settings.image_pull_secrets),
        ],
    }
    return {field: value for field, value in wanted.items() if value}
