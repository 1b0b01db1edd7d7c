from modelfleet.api.key import Key
from tests.fakes import World
from tests.make import NAMESPACE, tier_object


def test_a_write_of_ours_is_in_the_view_at_once_and_told():
    world, told = World(), []
    world.ctx.touched = told.append

    world.ctx.took(world.cluster.put(tier_object()))

    assert world.ctx.view.get(Key("ModelTier", NAMESPACE, "small"))
    assert len(told) == 1
    assert world.ctx.view.overdue(since_s=world.clock.time_s), "the watch owes us what we wrote"
