from dataclasses import dataclass, field

from modelfleet.api.route_table import OPTIONAL, CascadeRoute, RouteTable, TierRoute, encode
from modelfleet.api.route_table_reader import decode, read


def test_what_is_not_used_is_not_written() -> None:
    # An older router refuses a table with a field that it does not know, and it may be there for minutes.
    plain = TierRoute("small", "smollm2", "smollm2", 1000, 20.0, "smollm2-tier", None)
    table = RouteTable((CascadeRoute("chat", "chat", 120.0, 1024, (plain,)),))

    assert encode(table) == {
        "formatVersion": 1,
        "cascades": [
            {
                "cascade": "chat",
                "model_name": "chat",
                "deadline_s": 120.0,
                "max_body_bytes": 1024,
                "tiers": [
                    {
                        "name": "small",
                        "model_tier": "smollm2",
                        "served_name": "smollm2",
                        "weight_permille": 1000,
                        "timeout_s": 20.0,
                        "service": "smollm2-tier",
                        "external": None,
                    }
                ],
            }
        ],
    }
    assert decode(encode(table)) == table


@dataclass(frozen=True, slots=True)
class LaterTier(TierRoute):
    """A tier of an operator to come."""

    smooth_s: float = field(default=0.0, metadata=OPTIONAL)
    limit: int | None = None


PLAIN = TierRoute("small", "smollm2", "smollm2", 1000, 20.0, "smollm2-tier", None)
LATER = LaterTier("small", "smollm2", "smollm2", 1000, 20.0, "smollm2-tier", None, smooth_s=3.0)


def _of(tier: TierRoute) -> RouteTable:
    return RouteTable((CascadeRoute("chat", "chat", 120.0, 1024, (tier,)),))


def test_a_table_lists_the_optional_parts_that_it_uses() -> None:
    written = encode(_of(LATER))

    assert written["optional"] == ["cascades.tiers.smooth_s"]
    assert read(written) == (_of(PLAIN), ("cascades.tiers.smooth_s",))


def test_an_optional_part_that_is_not_used_makes_no_list() -> None:
    assert encode(_of(LaterTier("small", "smollm2", "smollm2", 1000, 20.0, "smollm2-tier", None))) == encode(
        _of(PLAIN)
    )
