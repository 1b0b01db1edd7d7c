"""Whether a request may leave the cluster, by the class of its data.

A mistake here sends somebody's secrets to a stranger.  So every doubt counts against leaving: several classes count as
the strictest of them, and what cannot be read is a class that nobody knows.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from modelfleet.api.route_table import DataRule

ALLOW, LOCAL_ONLY, REJECT = "Allow", "LocalOnly", "Reject"  # rising: the last one is the strictest
# What a class looks like.  Anything else may be one that somebody misspelt or quoted, and not one that nobody knows.
_CLASS = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


def classes(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> frozenset[str]:
    """The classes that a request names, in lower case; empty where it names none.  `name`: of the header, likewise."""
    found: set[str] = set()
    for field, value in headers:
        if field == name:
            found.update(part.strip(" \t").lower() for part in value.decode("latin-1").split(","))
    return frozenset(found)


def verdict(rule: DataRule, named: AbstractSet[str]) -> str:
    """ALLOW, LOCAL_ONLY or REJECT for a request with these classes."""
    found = {_of_class(rule, one) for one in named} or {rule.unknown}
    if REJECT in found:
        return REJECT
    return LOCAL_ONLY if LOCAL_ONLY in found else ALLOW


def _of_class(rule: DataRule, name: str) -> str:
    if name in rule.local_only:
        return LOCAL_ONLY
    if name in rule.allowed:
        return ALLOW
    if rule.unknown == ALLOW and name and not _CLASS.fullmatch(name):
        return LOCAL_ONLY
    return rule.unknown
