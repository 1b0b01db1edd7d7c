"""Which of two sources is believed about each object: the metrics store where it knows as much, else what was read directly.

Object by object, so a store that scrapes only some of the pods, or finds a new router late, costs nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from modelfleet.plan.load import CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name

FRESH_S_MAX = 60.0  # what is older is no better than nothing

Load = TypeVar("Load", TierLoad, CascadeLoad)


def merged(store: FleetLoad, direct: FleetLoad) -> FleetLoad:
    """One load of both."""
    return FleetLoad(
        tiers={
            name: _with_engines(load, direct.tiers.get(name))
            for name, load in _chosen(store.tiers, direct.tiers).items()
        },
        # A store remembers an hour, a direct reading as far back as it began.
        started={**direct.started, **store.started},
        answered={**direct.answered, **store.answered},
        cascades=_chosen(store.cascades, direct.cascades),
        since_s=store.since_s,
    )


def _chosen(store: Mapping[Name, Load], direct: Mapping[Name, Load]) -> dict[Name, Load]:
    return {**store} | {
        name: load
        for name, load in direct.items()
        if name not in store or _routers(store[name]) < _routers(load)
    }


def _routers(load: TierLoad | CascadeLoad) -> int:
    """Of how many routers it knows what they say now."""
    return load.routers if load.age_s is not None and 0 <= load.age_s <= FRESH_S_MAX else 0


def _with_engines(load: TierLoad, direct: TierLoad | None) -> TierLoad:
    """With what the engines say themselves, where the store scrapes fewer of them."""
    if direct is None or direct.engines <= load.engines:
        return load
    return replace(
        load,
        engines=direct.engines,
        waiting_engines=direct.waiting_engines,
        kv_used=direct.kv_used,
        cached_share=load.cached_share if direct.cached_share is None else direct.cached_share,
    )
