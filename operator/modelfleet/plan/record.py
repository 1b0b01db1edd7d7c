"""One decision with all it was made from, as text: what `modelfleet explain` and `modelfleet plan` read."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from modelfleet.plan.fleet import Planned
from modelfleet.plan.planner import Look, Plan, Settings


@dataclass(frozen=True, slots=True)
class Record:
    """`cascades`: those that were planned together, of one namespace; `owner`: the one that keeps this."""

    owner: str
    cascades: tuple[str, ...]
    look: Look
    plan: Plan
    settings: Settings


_TEXT: TypeAdapter[Record] = TypeAdapter(Record)


def of(planned: Planned) -> Record:
    """What is kept of a decision."""
    group = planned.planning.group
    return Record(
        owner=group.owner.name,
        cascades=tuple(name.name for name in group.cascades),
        look=planned.planning.look,
        plan=planned.plan,
        settings=planned.planning.settings,
    )


def encode(record: Record) -> str:
    """As JSON."""
    return _TEXT.dump_json(record).decode()


def decode(text: str) -> Record:
    """What `encode` made.  Raises ValueError for anything else."""
    try:
        return _TEXT.validate_json(text)
    except ValidationError as err:
        first = err.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
