"""The value that requests read."""

import orjson

from modelfleet.router.fleet import Step, fleet, line
from modelfleet.router.metrics import PoolStats, TierStats
from modelfleet.router.pool import Pool
from tests.router.rig import cascade, tier


def _step(name: str, weight: int) -> Step:
    route = tier(name, weight=weight)
    return Step(
        route=route,
        pool=Pool(PoolStats(("n", name)), external=False, spin=lambda: 0.0),
        stats=TierStats(("n", "c", name, name)),
        path_prefix=b"/v1",
        head=b"",
    )


def test_orders_begin_where_a_request_enters():
    steps = tuple([_step(name, weight) for name, weight in (("small", 700), ("medium", 200), ("big", 100))])
    made = line(cascade(*(step.route for step in steps)), steps)

    assert made.bounds == (700, 900, 1000)
    assert [[step.route.name for step in way.order] for way in made.passages] == [
        ["small", "medium", "big"],
        ["medium", "big", "small"],
        ["big", "medium", "small"],
    ]


def test_limit_of_unknown_models_is_the_largest():
    step = _step("small", 1000)
    lines = {
        name: line(cascade(step.route, max_body_bytes=limit), (step,))
        for name, limit in (("b", 5000), ("a", 2000))
    }
    made = fleet(lines)

    assert made.body_bytes_max == 5000
    assert [model["id"] for model in orjson.loads(made.models)["data"]] == ["a", "b"]
    assert fleet({}).body_bytes_max > 0
