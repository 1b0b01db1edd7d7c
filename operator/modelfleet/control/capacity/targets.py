"""Whose metrics there are to read, from what the watches have delivered."""

from collections.abc import Iterator, Mapping

from modelfleet import names
from modelfleet.api.meta import Manifest
from modelfleet.control.ports import View
from modelfleet.diff.pods import pod_ready
from modelfleet.plan.snapshot import Name
from modelfleet.plan.targets import Pod, Targets


def targets(view: View) -> Targets:
    """The ready pods of routers and engines.  Others tell nothing that may be believed, or do not answer."""
    tiers = {
        (tier["metadata"].get("namespace", ""), names.tier_child(tier["metadata"]["name"])): tier["metadata"][
            "name"
        ]
        for tier in view.list("ModelTier")
    }
    pods = [
        pod for pod in view.list("Pod") if pod_ready(pod) and not pod["metadata"].get("deletionTimestamp")
    ]
    routers = (_pod(pod, names.ROUTER_METRICS_PORT) for pod in pods if _label(pod, names.LABEL_ROUTER))
    return Targets(
        routers=tuple(pod for pod in routers if pod is not None), engines=tuple(_engines(pods, tiers))
    )


def _engines(pods: list[Manifest], tiers: Mapping[tuple[str, str], str]) -> Iterator[Pod]:
    for pod in pods:
        namespace = pod["metadata"].get("namespace", "")
        tier = tiers.get((namespace, _label(pod, names.LABEL_TIER)))
        told = (pod["metadata"].get("annotations") or {}).get(names.ANNOTATION_ENGINE_PORT)
        port = int(told) if told else names.ENGINE_PORT
        engine = None if tier is None else _pod(pod, port, tier=Name(namespace, tier))
        if engine is not None:
            yield engine


def _pod(pod: Manifest, port: int, *, tier: Name | None = None) -> Pod | None:
    address = (pod.get("status") or {}).get("podIP")
    meta = pod["metadata"]
    return Pod(meta.get("namespace", ""), meta["name"], address, port, tier) if address else None


def _label(pod: Manifest, label: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(label, ""))
