"""The children of one router: the namespace's shared one, or a Cascade's dedicated one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.fleet_settings import FleetSettings
from modelfleet.api.meta import Manifest, seconds
from modelfleet.api.model_tier import ModelTier
from modelfleet.desired import meta

ACCEPT_MORE_S = 5  # the router goes on accepting this long after SIGTERM, until it has left its endpoints
EXIT_S = 10
STARTUP_S_MAX = 180
_MOUNTS = {"api-keys": names.API_KEYS_MOUNT, "external": names.EXTERNAL_MOUNT}
ROUTER_CONTAINER = "router"
KINDS = ("ConfigMap", "Deployment", "PodDisruptionBudget", "RoleBinding", "Service", "ServiceAccount")


@dataclass(frozen=True, slots=True)
class Router:
    """One router: its name, and the Cascades (at least one) and tiers that it serves."""

    name: str
    namespace: str
    cascades: tuple[Cascade, ...]
    external_tiers: tuple[ModelTier, ...]


def of_cascade(cascade: Cascade) -> str:
    """Name of the router that serves the Cascade."""
    return names.router(cascade.metadata.name if cascade.spec.router.dedicated else None)


def children(router: Router, settings: FleetSettings, *, table: Manifest) -> tuple[Manifest, ...]:
    """Everything the router needs; `table` is its route-table ConfigMap."""
    wanted = [
        meta.service_account(metadata(router)),
        _role_binding(router),
        table,
        service(router),
        _deployment(router, settings),
    ]
    if replicas(router, settings) > 1:
        wanted.append(meta.disruption_budget(metadata(router), selector=meta.router_selector(router.name)))
    return tuple(wanted)


def metadata(router: Router, *, name: str | None = None) -> Manifest:
    """Metadata of a child of the router."""
    return meta.child(
        name=name or router.name,
        namespace=router.namespace,
        owners=meta.owned_by_cascades(router.cascades),
        labels=meta.router_labels(router.name),
    )


def service(router: Router) -> Manifest:
    """The one address of all the Cascades of a router."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(router),
        "spec": {
            "selector": meta.router_selector(router.name),
            "ports": [
                {
                    "name": names.PORT_HTTP,
                    "port": names.SERVICE_PORT,
                    "protocol": "TCP",
                    "targetPort": names.PORT_HTTP,
                }
            ],
        },
    }


def endpoint(cascade: Cascade) -> str:
    """Base URL for clients inside the cluster."""
    return f"http://{of_cascade(cascade)}.{cascade.metadata.namespace}.svc/v1"


def external_folder(tier: str) -> str:
    """Folder of an external tier's key and CA certificates in the router's pod."""
    return f"{names.EXTERNAL_MOUNT}/{names.tier_child(tier)}"


def replicas(router: Router, settings: FleetSettings) -> int:
    """Pods that the router should have."""
    dedicated = router.cascades[0].spec.router.dedicated
    return dedicated.replicas if dedicated else settings.router.replicas


def _resources(router: Router, settings: FleetSettings) -> Manifest:
    dedicated = router.cascades[0].spec.router.dedicated
    chosen = dedicated.resources if dedicated and dedicated.resources else settings.router.resources
    sides: Mapping[str, Mapping[str, int | str]] = {"requests": chosen.requests, "limits": chosen.limits}
    return {
        side: {k: str(v) for k, v in sorted(amounts.items())} for side, amounts in sides.items() if amounts
    }


def _deployment(router: Router, settings: FleetSettings) -> Manifest:
    deadline_s = max(seconds(cascade.spec.limits.deadline) for cascade in router.cascades)
    pod: Manifest = {
        "serviceAccountName": router.name,
        "automountServiceAccountToken": True,  # it watches its table and the tiers' endpoints
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ACCEPT_MORE_S + math.ceil(deadline_s) + EXIT_S,
        "securityContext": meta.pod_security(),
        "containers": [_container(router, settings)],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": meta.router_selector(router.name)},
            }
        ],
    }
    if volumes := _volumes(router, settings):
        pod["volumes"] = volumes
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(router),
        "spec": {
            "replicas": replicas(router, settings),
            "selector": {"matchLabels": meta.router_selector(router.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 3,
            "template": {"metadata": {"labels": meta.router_labels(router.name)}, "spec": pod},
        },
    }


def _container(router: Router, settings: FleetSettings) -> Manifest:
    container: Manifest = {
        "name": ROUTER_CONTAINER,
        "image": settings.images.router,
        "env": [
            {"name": "MODELFLEET_NAMESPACE", "value": router.namespace},
            {"name": "MODELFLEET_ROUTER", "value": router.name},
        ],
        "ports": [
            {"name": names.PORT_HTTP, "containerPort": names.ROUTER_PORT, "protocol": "TCP"},
            {"name": names.PORT_METRICS, "containerPort": names.ROUTER_METRICS_PORT, "protocol": "TCP"},
        ],
        # On a busy node a start takes a minute.  A liveness probe would end it, and a process that does not hear SIGTERM
        # yet would go on, take requests, and be killed with them.
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": names.PORT_HTTP},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": STARTUP_S_MAX,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": names.PORT_HTTP},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": names.PORT_HTTP},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "resources": _resources(router, settings),
        "securityContext": meta.container_security(read_only_root=True),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if settings.router.api_keys:
        # With the mount and not with the table: a pod asks for keys from its first request to its last.
        container["env"].append({"name": "MODELFLEET_API_KEYS", "value": names.API_KEYS_MOUNT})
    if volumes := _volumes(router, settings):
        container["volumeMounts"] = [
            {"name": volume["name"], "mountPath": _MOUNTS[volume["name"]], "readOnly": True}
            for volume in volumes
        ]
    return container


def _volumes(router: Router, settings: FleetSettings) -> list[Manifest]:
    """What other people's Secrets and ConfigMaps bring into the pod.  None of them keeps it from starting."""
    volumes: list[Manifest] = []
    if settings.router.api_keys:
        # Optional: without its Secret a router runs and lets nobody in, and says so.
        secret = {"secretName": settings.router.api_keys.secret_ref.name, "optional": True}
        volumes.append({"name": "api-keys", "secret": secret})
    if router.external_tiers:
        sources = _external_sources(router.external_tiers)
        volumes.append({"name": "external", "projected": {"sources": sources}})
    return volumes


def _external_sources(tiers: Sequence[ModelTier]) -> list[Manifest]:
    """Keys and CA certificates, each optional: a missing one disables its own tier and no other."""
    sources: list[Manifest] = []
    for tier in tiers:
        external = tier.spec.external
        assert external is not None
        child = names.tier_child(tier.metadata.name)
        if key := external.api_key_secret_ref:
            items = [{"key": key.key, "path": f"{child}/api-key"}]
            sources.append({"secret": {"name": key.name, "items": items, "optional": True}})
        if ca := external.ca_config_map_ref:
            items = [{"key": ca.key, "path": f"{child}/ca.crt"}]
            sources.append({"configMap": {"name": ca.name, "items": items, "optional": True}})
    return sources


def _role_binding(router: Router) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(router),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": names.ROUTER_CLUSTER_ROLE,
        },
        "subjects": [{"kind": "ServiceAccount", "name": router.name, "namespace": router.namespace}],
    }
