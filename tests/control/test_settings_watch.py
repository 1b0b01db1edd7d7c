import asyncio
from typing import Any

import pytest

from modelfleet.api.fleet_settings import SETTINGS_KEY, FleetSettings
from modelfleet.api.key import Key
from modelfleet.control.settings_watch import SettingsWatch, parsed
from tests.fakes import World

KEY = Key("ConfigMap", "modelfleet-system", "modelfleet-settings")


def config(text: str) -> dict[str, Any]:
    meta = {"name": KEY.name, "namespace": KEY.namespace}
    return {"kind": "ConfigMap", "metadata": meta, "data": {SETTINGS_KEY: text}}


BROKEN = {
    "not YAML": ("{", "is not YAML"),
    "a typo": ("nodePool: {}", r"nodePool: Extra inputs are not permitted"),
    "a wrong value": ("router: {replicas: none}", r"router.replicas: .*integer"),
    "a typo inside a pool": ("nodePools: {gpu: {nodeSelectors: {}}}", r"nodePools.gpu.nodeSelectors: Extra"),
}


@pytest.mark.parametrize(("text", "want"), BROKEN.values(), ids=BROKEN)
def test_broken_settings_say_where(text: str, want: str):
    with pytest.raises(ValueError, match=want):
        parsed(config(text))


def test_no_settings_are_the_defaults():
    assert parsed(None) == FleetSettings()
    assert parsed(config("")) == FleetSettings()


async def test_settings_are_taken_and_broken_ones_change_nothing():
    world, changes = World(), []
    watch = SettingsWatch(world.ctx, KEY, lambda: changes.append(world.ctx.settings.now.router.replicas))

    watch.take(world.cluster.put(config("router: {replicas: 3}")))
    watch.take(world.cluster.objects[KEY])
    watch.take(world.cluster.put(config("router: {replicas: 3} # the same")))
    assert changes == [3]

    watch.take(world.cluster.put(config("router: {replicas: many}")))
    assert (changes, world.ctx.settings.now.router.replicas) == ([3], 3)
    assert "router.replicas" in str(world.ctx.settings.problem)

    watch.take(world.cluster.put(config("router: {replicas: 4}")))
    assert (changes, world.ctx.settings.problem) == ([3, 4], None)


async def test_the_config_map_is_read_from_the_cluster():
    world, changed = World(), asyncio.Event()
    world.cluster.put(config("router: {replicas: 5}"))
    watch = SettingsWatch(world.ctx, KEY, changed.set)

    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(changed.wait(), 10)
    await asyncio.wait_for(watch.read.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert world.ctx.settings.now.router.replicas == 5
