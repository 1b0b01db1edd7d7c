"""What a router that has just begun is to know of the hour before it: how far the last tier is ahead of its share.

Routers keep account of that by themselves (route/bank.py), each of its own requests, and lose it when they end.  The
counts of all of them outlive each.  Published numbers go through a status and every router's table, so they are calm.
"""

from collections.abc import Mapping

from modelfleet.api.balance import Balance

# Routers forget what is beyond, too.
AHEAD_MOST, AHEAD_LEAST = 50, -50
_NEWS_PERMILLE = 5  # a tenth of the most that is kept or owed
_NEWS_ANSWERS = 0.2
_PERMILLE = 1000


def published(
    answered: Mapping[str, float] | None,
    *,
    last: str,
    owed_permille: int | None,
    shown: Balance | None,
    whole: bool = True,
) -> Balance | None:
    """Of one Cascade, with its answers of the last hour by tier; None where its routers move no entries.

    `answered` is None where nobody could be asked, and `whole` False while the operator may be too new to know the
    whole hour: then an hour with less than half of what it had is one that is not known.
    """
    if owed_permille is None or answered is None:
        return None if owed_permille is None else shown
    total = sum(answered.values())
    if shown is not None and not whole and total < shown.answers / 2:
        return shown
    if total < 1:
        return None
    ahead = round(_PERMILLE * answered.get(last, 0.0) / total) - owed_permille
    found = Balance(answers=round(total), ahead=min(AHEAD_MOST, max(AHEAD_LEAST, ahead)))
    return found if shown is None or _news(found, shown) else shown


def _news(now: Balance, shown: Balance) -> bool:
    return (
        abs(now.ahead - shown.ahead) >= _NEWS_PERMILLE
        or abs(now.answers - shown.answers) > _NEWS_ANSWERS * shown.answers
    )
