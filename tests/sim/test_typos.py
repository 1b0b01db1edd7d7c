"""A field that nobody knows is told, with what was meant."""

from typing import Any

import pytest
import yaml

from modelfleet.api.cascade import Cascade
from modelfleet.api.model_tier import ModelTier
from modelfleet.sim.typos import typos

CASCADE = """
kind: Cascade
metadata: {name: chat, anything: goes}
spec:
  modelName: chat
  tiers:
  - {name: small, tierRef: {name: llama-8b}, weight: {initial: 3}, accept: {signal: MeanLogprob}}
status: {whatever: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param("", "", [], id="all is well"),
        pytest.param("initial: 3", "inital: 3", ["spec.tiers[0].weight.inital: no such field; did you mean initial?"], id="in a list"),
        pytest.param("modelName: chat", "modelNam: chat", ["spec.modelNam: no such field; did you mean modelName?"], id="at the top"),
        pytest.param("signal: MeanLogprob", "zzz: 1", ["spec.tiers[0].accept.zzz: no such field; there are: signal, threshold"], id="like none"),
    ],
)  # fmt: skip
def test_typos(old: str, new: str, says: list[str]):
    document: Any = yaml.safe_load(CASCADE.replace(old, new))

    assert [*typos(document, Cascade)] == says


def test_maps_of_a_users_own_have_any_keys():
    document: Any = {"kind": "ModelTier", "spec": {"vllm": {"env": [{"name": "A", "value": "b"}]}, "resources": {"limits": {"x/y": 1}}}}  # fmt: skip

    assert [*typos(document, ModelTier)] == []
