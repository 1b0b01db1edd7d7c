"""Integer arithmetic of shares that sum to 1000: bind them to bounds, hand them on, move them towards a goal."""

from collections.abc import Collection, Mapping, Sequence

from modelfleet.api.cascade import permille

WHOLE = 1000


def bind(weights: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """The weights nearest to these that sum to 1000 within (min, max); bounds that no weights can meet give way.

    Bounds are permille.  A tier with bounds (0, 0) stays at 0 as long as another one may have more.
    """
    floors = {name: low for name, (low, _) in bounds.items()}
    ceilings = {name: high for name, (_, high) in bounds.items()}
    if sum(floors.values()) >= WHOLE:
        return permille(floors)
    if sum(ceilings.values()) < WHOLE:
        return permille(ceilings) if any(ceilings.values()) else dict(weights)
    bound = {name: min(max(weights[name], floors[name]), ceilings[name]) for name in bounds}
    short = WHOLE - sum(bound.values())
    edges = ceilings if short > 0 else floors
    room = {name: abs(edges[name] - share) for name, share in bound.items()}
    sign = 1 if short > 0 else -1
    for name, part in divide(abs(short), room).items():
        bound[name] += sign * part
    return bound


def pass_on(
    weights: Mapping[str, int], *, order: Sequence[str], to: Collection[str], keep: Collection[str] = ()
) -> dict[str, int]:
    """The weights, with those of tiers outside `to` given to the next tier in order that is inside, or around.

    Those in `keep` keep theirs and get no more.
    """
    passed = {name: share if name in to or name in keep else 0 for name, share in weights.items()}
    for at, name in enumerate(order):
        if name in to or name in keep or not weights[name]:
            continue
        heir = next((other for other in (*order[at + 1 :], *order[:at]) if other in to), name)
        passed[heir] += weights[name]
    return passed


def move(
    weights: Mapping[str, int], *, towards: Mapping[str, int], receivers: Collection[str], limit: int
) -> dict[str, int]:
    """The weights, with receivers raised towards their goal at the cost of those above theirs; nobody by over `limit`."""
    wants = {name: min(limit, max(0, towards[name] - weights[name])) for name in receivers}
    spare = {name: min(limit, max(0, share - towards[name])) for name, share in weights.items()}
    amount = min(sum(wants.values()), sum(spare.values()))
    moved = dict(weights)
    for name, part in divide(amount, wants).items():
        moved[name] += part
    for name, part in divide(amount, spare).items():
        moved[name] -= part
    return moved


def divide(amount: int, room: Mapping[str, int]) -> dict[str, int]:
    """`amount` in whole parts in proportion to room, none above its room; amount is at most the sum of room."""
    total = sum(room.values())
    if total == 0:
        return {}
    parts = {name: amount * space // total for name, space in room.items()}
    rest = amount - sum(parts.values())
    by_remainder = sorted(room, key=lambda name: -(amount * room[name] % total))
    return {name: part + (name in by_remainder[:rest]) for name, part in parts.items()}
