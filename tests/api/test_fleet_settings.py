import pytest
from pydantic import ValidationError

from modelfleet.api.fleet_settings import FleetSettings


def test_all_of_it_has_defaults():
    assert FleetSettings.model_validate({}) == FleetSettings()


def test_names_are_spelled_as_in_kubernetes():
    pool = {"nodeSelector": {"a": "b"}, "pricePerHour": "0.71", "images": {"llamaCpp": "x:1"}}

    got = FleetSettings.model_validate({"nodePools": {"gpu": pool}})

    assert got.node_pools["gpu"].node_selector == {"a": "b"}
    assert got.node_pools["gpu"].images.llama_cpp == "x:1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodePool": {}},
        {"nodePools": {"a": {"pricePerHour": "-1"}}},
        {"router": {"externalAddresses": {"deny": ["10.0.0.1/8"]}}},
        {"router": {"apiKeys": {"secretRef": {}}}},
        {"capacity": {"interval": "20m"}},
    ],
    ids=[
        "a typo",
        "a negative price",
        "a network with bits of a host",
        "a Secret without a name",
        "decisions that come too rarely",
    ],
)
def test_mistakes_do_not_pass_silently(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        FleetSettings.model_validate(wrong)
