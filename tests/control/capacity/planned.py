"""The small fleet behind one Cascade that says what to keep, for tests of plans in the capacity loop."""

from typing import Any

from modelfleet import names
from modelfleet.control.ports import Key
from modelfleet.plan import learned
from modelfleet.plan.buckets import Buckets
from modelfleet.plan.learned import Learned
from modelfleet.plan.load import Answers, CascadeLoad, FleetLoad, TierLoad
from modelfleet.plan.snapshot import Name
from tests.control.capacity.fleet import CHAT, MEDIUM, SMALL, Fleet

MODEL = {"uri": "pvc://models/m.gguf"}
FAST = Buckets((0.1, 0.5, float("inf")), (90.0, 100.0, 100.0), 8.0)


class Planned(Fleet):
    """A small and a medium tier of llama.cpp without metrics, behind one Cascade with objectives."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scaled(SMALL.name)
        self.scaled(MEDIUM.name)
        self.cascade()
        self.load(rps=2.0)
        self.loop = self.restarted()

    def scaled(self, name: str, **scaling: Any) -> None:
        self.apply(
            "ModelTier",
            name,
            {"model": MODEL, "llamaCpp": {"slots": 4}, "scaling": {"maxReplicas": 10, **scaling}},
        )

    def cascade(self, **spec: Any) -> None:
        tiers = [
            {"name": "s", "tierRef": {"name": "small"}, "targetShare": 70},
            {"name": "m", "tierRef": {"name": "medium"}, "targetShare": 30},
        ]
        self.apply(
            "Cascade", "chat", {"modelName": "chat", "tiers": tiers, "slo": {"ttftP95": "500ms"}} | spec
        )

    def load(self, *, rps: float, answer_s: float = 2.0, age_s: float = 3.0, waiting: float = 0.0) -> None:
        tier = TierLoad(
            in_flight=rps * answer_s,
            age_s=age_s,
            routers=1,
            rate_rps=rps / 2,
            ttft=FAST,
            prompt_tokens=200.0,
            output_tokens=100.0,
            answer_s=answer_s,
            waiting_router=waiting,
            engines=100,  # all of them
            waiting_engines=0.0,
        )
        chat = CascadeLoad(
            age_s=age_s,
            routers=1,
            arrived=15 * rps,
            counts=(15 * rps,) * 40,
            answers=Answers(15 * rps, FAST, FAST),
            failed=0.0,
        )
        self.prometheus.answer = FleetLoad(
            tiers={Name("ns", "small"): tier, Name("ns", "medium"): tier},
            started={},
            answered={},
            cascades={Name("ns", "chat"): chat},
        )

    def ready(self, tier: str, replicas: int) -> None:
        for at in range(replicas):
            self.pod(f"{tier}-{at}", names.LABEL_TIER, names.tier_child(tier))

    def replicas(self) -> tuple[int, int]:
        small, medium = (self.status(key).get("desiredReplicas") for key in (SMALL, MEDIUM))
        return small, medium


def shown(fleet: Planned, name: str, **labels: str) -> float:
    value = fleet.registry.get_sample_value(
        f"modelfleet_operator_{name}", {"fleet_namespace": "ns", **labels}
    )
    assert value is not None, name
    return value


def within(fleet: Planned) -> tuple[str, str]:
    conditions = {each["type"]: each for each in fleet.status(CHAT)["conditions"]}
    return conditions["WithinSLO"]["status"], conditions["WithinSLO"]["reason"]


def notes(fleet: Planned) -> Any:
    return fleet.api.notes.get(Key("ConfigMap", "ns", "chat-cascade-plan"))


def learned_of(fleet: Planned) -> Learned:
    found: Learned = learned.decode(notes(fleet)["data"]["learned.json"])
    return found
