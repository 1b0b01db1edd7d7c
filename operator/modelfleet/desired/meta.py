"""What the children of tiers and of routers have in common: metadata, security, and the objects beside the pods."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from modelfleet import names
from modelfleet.api.cascade import Cascade
from modelfleet.api.meta import Manifest, ObjectMeta
from modelfleet.api.model_tier import ModelTier

# Any number above 0 does; this one is "nobody" of the distroless images.
USER_ID = 65532


def owned_by_tier(tier: ModelTier) -> list[Manifest]:
    """The tier controls its children: they die with it, even while the operator is down."""
    return [{**_owner("ModelTier", tier.metadata), "controller": True}]


def owned_by_cascades(cascades: Sequence[Cascade]) -> list[Manifest]:
    """All Cascades own their router: it goes with the last of them, even while the operator is down."""
    by_uid = sorted(cascades, key=lambda cascade: cascade.metadata.uid)
    return [_owner("Cascade", cascade.metadata) for cascade in by_uid]


def _owner(kind: str, meta: ObjectMeta) -> Manifest:
    return {"apiVersion": names.API_VERSION, "kind": kind, "name": meta.name, "uid": meta.uid}


def child(
    *,
    name: str,
    namespace: str,
    owners: Sequence[Manifest],
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Metadata of a child."""
    meta: Manifest = {
        "name": name,
        "namespace": namespace,
        "labels": dict(labels),
        "ownerReferences": [dict(owner) for owner in owners],
    }
    if annotations:
        meta["annotations"] = dict(annotations)
    return meta


def tier_labels(tier: ModelTier) -> dict[str, str]:
    """Labels of a tier's children; users' own labels are not copied, a GitOps tool tracks by them."""
    return {
        names.LABEL_COMPONENT: "engine",
        names.LABEL_MANAGED_BY: names.MANAGER,
        names.LABEL_PART_OF: names.MANAGER,
        names.LABEL_TIER: names.tier_child(tier.metadata.name),
    }


def tier_selector(tier: ModelTier) -> dict[str, str]:
    """What finds a tier's pods.  A selector is immutable, so these two never change."""
    return {names.LABEL_COMPONENT: "engine", names.LABEL_TIER: names.tier_child(tier.metadata.name)}


def router_labels(router: str) -> dict[str, str]:
    """Labels of a router's children."""
    return {
        names.LABEL_COMPONENT: "router",
        names.LABEL_MANAGED_BY: names.MANAGER,
        names.LABEL_PART_OF: names.MANAGER,
        names.LABEL_ROUTER: router,
    }


def router_selector(router: str) -> dict[str, str]:
    """What finds a router's pods."""
    return {names.LABEL_COMPONENT: "router", names.LABEL_ROUTER: router}


def pod_security() -> Manifest:
    """Pod Security `restricted`, for every pod of ours."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(*, read_only_root: bool) -> Manifest:
    """The container's half of Pod Security `restricted`."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only_root,
    }


def service_account(metadata: Manifest) -> Manifest:
    """Who the pods are.  They get a token only where they mount one."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def disruption_budget(metadata: Manifest, *, selector: Mapping[str, str]) -> Manifest:
    """One pod at a time may be evicted, and a broken one always."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": dict(selector)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def own_copy(value: Any) -> Any:
    """A deep copy: a frozen model still holds mutable dicts, and a manifest must never share them."""
    return copy.deepcopy(value)
