"""The annotations that take replicas or weights out of the operator's hands, read as the user wrote them.

They are break-glass: no tool that keeps the spec has to be stopped first.  What cannot be read pins nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfleet import names
from modelfleet.api.cascade import permille

REPLICAS_MAX = 10_000
_SHARE_MAX = 1_000_000  # as weight.initial
_SHOWN_CHARS_MAX = 64
_TEXT_CHARS_MAX = 1024  # eight names of 63 characters with their shares
_NUMBER = re.compile(r"[0-9]{1,7}")


@dataclass(frozen=True, slots=True)
class ReplicasPin:
    """`replicas` to have, or the `problem` with what was written, for people; both None where nothing was."""

    replicas: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class WeightsPin:
    """Entry `weights` in permille of every tier, or the `problem`; both None where nothing was written."""

    weights: Mapping[str, int] | None = None
    problem: str | None = None


def replicas(annotations: Mapping[str, str]) -> ReplicasPin:
    """What `modelfleet.dev/pin-replicas` says, such as `3`."""
    text = annotations.get(names.ANNOTATION_PIN_REPLICAS)
    if text is None:
        return ReplicasPin()
    found = int(text) if _NUMBER.fullmatch(text) else 0
    if 1 <= found <= REPLICAS_MAX:
        return ReplicasPin(found)
    advice = f'write a whole number from 1 to {REPLICAS_MAX}, such as "3"; to run nothing, set spec.suspend'
    return ReplicasPin(problem=_ignored(names.ANNOTATION_PIN_REPLICAS, text, advice))


def weights(annotations: Mapping[str, str], *, tiers: Sequence[str]) -> WeightsPin:
    """What `modelfleet.dev/pin-weights` says, such as `small=90,large=10`.  A tier that it does not name gets nothing."""
    text = annotations.get(names.ANNOTATION_PIN_WEIGHTS)
    if text is None:
        return WeightsPin()
    found = _shares(text) if len(text) <= _TEXT_CHARS_MAX else None
    if found and found.keys() <= set(tiers) and any(found.values()):
        return WeightsPin(permille({name: found.get(name, 0) for name in tiers}))
    example = f'"{tiers[0]}=90,{tiers[-1]}=10"' if len(tiers) > 1 else f'"{tiers[0]}=100"'
    advice = f"write shares of this Cascade's tiers ({', '.join(tiers)}), such as {example}"
    return WeightsPin(problem=_ignored(names.ANNOTATION_PIN_WEIGHTS, text, advice))


def _shares(text: str) -> dict[str, int] | None:
    """Relative shares by name; None for anything else, and for a name that comes twice."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if name in found or not _NUMBER.fullmatch(share) or int(share) > _SHARE_MAX:
            return None
        found[name] = int(share)
    return found


def _ignored(annotation: str, text: str, advice: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
    return f"Annotation {annotation} is {shown!r}, which is ignored: {advice}"
