"""Wanted x observed -> what to write.  Converged means silent: the same input twice gives nothing to do.

A child is converged when it carries the hash of what we last applied, and every field we want is there.  The hash
finds fields that we stopped wanting; the comparison finds what somebody else changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from modelfleet import names
from modelfleet.api.meta import Manifest

ChildId = tuple[str, str]  # kind, name

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"), "P": Decimal("1e15"), "E": Decimal("1e18"),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
# What names an element in the lists of the objects we write; lists of anything else are compared in order.
_MERGE_KEYS = ("uid", "mountPath", "containerPort", "topologyKey", "name", "type")
_QUANTITIES = ("requests", "limits")


@dataclass(frozen=True, slots=True)
class Changes:
    """What to write, in order, and what stands in the way.  Empty when all is converged."""

    apply: tuple[Manifest, ...] = ()
    delete: tuple[Manifest, ...] = ()
    conflicts: tuple[ChildId, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.apply or self.delete)


def child_id(manifest: Manifest) -> ChildId:
    """What tells two children of one namespace apart."""
    return manifest["kind"], manifest["metadata"]["name"]


def changes(
    wanted: Iterable[Manifest],
    observed: Mapping[ChildId, Manifest],
    *,
    ours: Callable[[Manifest], bool],
    absent: Sequence[ChildId] = (),
) -> Changes:
    """What turns `observed` into `wanted`, without what `absent` names; nothing that is not `ours` is touched.

    Everything written carries the uid and resourceVersion it was decided from, so that a stale decision is refused.
    """
    apply: list[Manifest] = []
    conflicts: list[ChildId] = []
    for manifest in wanted:
        existing = observed.get(child_id(manifest))
        if existing is not None and not ours(existing):
            conflicts.append(child_id(manifest))
        elif existing is None or not converged(manifest, existing):
            apply.append(_stamped(manifest, existing))
    delete = [observed[each] for each in absent if each in observed and ours(observed[each])]
    return Changes(tuple(apply), tuple(delete), tuple(conflicts))


def controlled_by(uid: str) -> Callable[[Manifest], bool]:
    """Ours are the objects that the owner with this uid controls."""

    def ours(existing: Manifest) -> bool:
        owners = existing["metadata"].get("ownerReferences") or ()
        return any(owner["uid"] == uid and owner.get("controller") for owner in owners)

    return ours


def owned_by_any(kind: str) -> Callable[[Manifest], bool]:
    """Ours are the objects that any object of this kind of ours owns.  Labels do not count: somebody may take them."""

    def ours(existing: Manifest) -> bool:
        owners = existing["metadata"].get("ownerReferences") or ()
        return any(owner["kind"] == kind and owner["apiVersion"] == names.API_VERSION for owner in owners)

    return ours


def converged(wanted: Manifest, existing: Manifest) -> bool:
    """Whether `existing` is what applying `wanted` would make of it."""
    annotations = existing["metadata"].get("annotations") or {}
    return annotations.get(names.ANNOTATION_APPLIED_HASH) == applied_hash(wanted) and contains(
        existing, wanted
    )


def applied_hash(wanted: Manifest) -> str:
    """Hash of everything we would apply."""
    canonical = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def contains(have: Any, want: Any, *, quantities: bool = False) -> bool:
    """Whether every field of `want` is in `have`.  The API server drops empty values and respells quantities."""
    if isinstance(want, Mapping):
        if not isinstance(have, Mapping):
            return not want and have is None
        return all(
            contains(have.get(field), value, quantities=quantities or field in _QUANTITIES)
            for field, value in want.items()
        )
    if isinstance(want, list):
        return _list_contains(have or [], want)
    if not want and have is None:
        return True
    return same_quantity(have, want) if quantities else bool(have == want)


def _list_contains(have: list[Any], want: list[Any]) -> bool:
    key = next(
        (key for key in _MERGE_KEYS if want and all(isinstance(w, Mapping) and key in w for w in want)), None
    )
    if key is None:
        return len(have) == len(want) and all(map(contains, have, want))
    by_key = {element.get(key): element for element in have if isinstance(element, Mapping)}
    return all(element[key] in by_key and contains(by_key[element[key]], element) for element in want)


def same_quantity(have: Any, want: Any) -> bool:
    """Whether two quantities mean the same amount: 1 and 1000m, 1Gi and 1024Mi."""
    if have == want:
        return True
    try:
        return _amount(have) == _amount(want)
    except (InvalidOperation, KeyError):
        return False


def _amount(quantity: Any) -> Decimal:
    text = str(quantity)
    digits = text.rstrip("".join(_SUFFIXES))
    return Decimal(digits) * _SUFFIXES[text[len(digits) :]]


def _stamped(manifest: Manifest, existing: Manifest | None) -> Manifest:
    meta = manifest["metadata"]
    stamp = {names.ANNOTATION_APPLIED_HASH: applied_hash(manifest)}
    stamped = {**meta, "annotations": {**meta.get("annotations", {}), **stamp}}
    if existing is not None:
        stamped |= {field: existing["metadata"][field] for field in ("uid", "resourceVersion")}
    return {**manifest, "metadata": stamped}
