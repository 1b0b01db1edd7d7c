"""Directions on synthetic loads, in minutes: what must hold on any machine, whatever the figures."""

from bench.capacity import fronts
from bench.capacity.cells import Cell
from bench.capacity.experiment import Experiment

_TUNED_ON, _LOAD = "synthetic-1", "synthetic-2"
_PEERS = ("hpa", "kubeai", "llmd-queue")
_PARTS = tuple((small, big) for small in (0.6, 0.8) for big in (0.75, 1.0, 1.4))
GRIDS = {
    "joint": tuple((0.75, 0.5, misses) for misses in (0.004, 0.01, 0.025)),
    **dict.fromkeys(_PEERS, _PARTS),
}


def check(x: Experiment) -> list[str]:
    """What does not hold."""
    ours = x.front("cascade", _LOAD, "joint", _TUNED_ON)
    peers = {name: x.front("cascade", _LOAD, name, _TUNED_ON) for name in _PEERS}
    level = fronts.level(ours, peers)
    best, cost = fronts.best_peer(peers, level), fronts.need(ours, level)
    if best is None or cost is None:
        return ["there was no time to run it all: run it again, it goes on"]
    print(f"at {100 * level:.2f} %: ours {cost:.1f} GPU-h, {best[0]} tuned {best[1]:.1f} GPU-h")
    pick = x.pick("cascade", _TUNED_ON, "joint")
    calm, lossy, slow = (
        x.row(Cell("cascade", _LOAD, "joint", pick, conditions))
        for conditions in ({}, {"scrape_loss": 0.2}, {"step_factor": 1.2})
    )
    alone = x.row(Cell("cascade", _LOAD, "no-joint", pick))
    if calm is None or lossy is None or slow is None or alone is None:
        return ["there was no time to run it all: run it again, it goes on"]
    directions = {
        "the cascade costs less than with the best tuned peer at equal attainment": cost < best[1],
        "the dear tier keeps its share": calm["share_last"] > 0.34,
        "lost looks never scale down": lossy["lost_downs"] == 0,
        "a fifth of lost looks costs less than two points": calm["attainment"] - lossy["attainment"] < 0.02,
        "slower engines get more replicas": slow["gpu_h"] > calm["gpu_h"],
        "tiers sized one by one cost more": alone["gpu_h"] > calm["gpu_h"],
    }
    return [what for what, holds in directions.items() if not holds]
