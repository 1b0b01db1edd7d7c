"""When a tier keeps more replicas than the load asks for: by the clock, and when nobody knows the load."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from modelfleet.api.cel import Rule
from modelfleet.api.meta import ApiModel, Duration, matches

SCHEDULES_MAX = 16


def _field(value: str, *, more: str = "") -> str:
    """One field of a cron expression: *, values and ranges, steps, and lists of them; `more`: what else there may be."""
    item = rf"(\*|({value})(-({value}))?)(/[1-9][0-9]?)?{more}"
    return f"({item})(,({item}))*"


_DAY = "[0-7]|(?i:sun|mon|tue|wed|thu|fri|sat)"
_MONTH = "0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
CRON_PATTERN = (
    "^"
    + " +".join(
        (
            _field("[0-5]?[0-9]"),
            _field("[01]?[0-9]|2[0-3]"),
            _field("0?[1-9]|[12][0-9]|3[01]", more="|(?i:LW?)"),
            _field(_MONTH),
            _field(_DAY, more=f"|[0-7](?i:L)|({_DAY})#[1-5]"),
        )
    )
    + "$"
)
Cron = Annotated[
    str,
    Field(min_length=9, max_length=100),
    matches(
        CRON_PATTERN,
        "must be five fields with blanks between: minute (0-59), hour (0-23), day of the month (1-31), month (1-12), "
        "day of the week (0-7 or MON), such as 0 8 * * 1-5",
    ),
]
TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=64),
    matches(
        r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        "must be a name of the time zone database, such as Europe/Zurich or UTC",
    ),
]


class Schedule(ApiModel):
    """A time in which more replicas run, whatever the load."""

    cron: Cron = Field(
        description="When it starts: minute, hour, day of the month, month, day of the week, as in a crontab, such as "
        "0 8 * * 1-5."
    )
    duration: Duration = Field(description="How long it lasts from each start.")
    time_zone: TimeZone = Field(
        default="UTC",
        description="Time zone of cron, such as Europe/Zurich. A start in an hour that the clock skips comes right after it; "
        "one in an hour that comes twice, comes the first time.",
    )
    min_replicas: int = Field(
        ge=1,
        le=10000,
        description="Replicas never go below this while it lasts. Above scaling.minReplicas, to be of use.",
    )


class Fallback(ApiModel):
    """What to do when nothing has been measured for long."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.behavior == 'AtLeast' || !has(self.replicas)",
            "replicas is for behavior AtLeast: leave it out, or write behavior: AtLeast",
            at=".replicas",
        ),
        Rule(
            "self.behavior == 'Hold' || has(self.replicas)",
            "behavior AtLeast needs replicas: how many to have at least while nothing is measured",
            at=".replicas",
        ),
    )

    behavior: Literal["Hold", "AtLeast"] = Field(
        default="Hold",
        description="Hold: keep the replicas that are wanted. AtLeast: have no fewer than replicas; more stay.",
    )
    replicas: int | None = Field(default=None, ge=1, le=10000, description="How many, for AtLeast.")
    after: Duration = Field(
        default="3m", description="How long no metric could be read before this counts. Until then: Hold."
    )
