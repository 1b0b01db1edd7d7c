"""What a Cascade may cost in an hour, a day or a month, what happens when that is spent, and how it stands."""

from typing import Annotated, Literal

from pydantic import Field

from modelfleet.api.cel import Rule
from modelfleet.api.meta import ApiModel
from modelfleet.api.scalars import Dollars

Window = Literal["Hour", "Day", "Month"]
OnExhausted = Literal["StopEscalating", "SkipTier", "Reject"]


class Budget(ApiModel):
    """What a Cascade may cost."""

    window: Window = Field(
        description="How long maxUSD is for: the hour, day or month of the calendar, in UTC; then it begins again."
    )
    max_usd: Annotated[
        Dollars, Rule("self.matches('[1-9]')", "must be above 0; leave budget out for no limit")
    ] = Field(
        alias="maxUSD",
        description="US dollars for a window, as a decimal string: the hours of its tiers' replicas at their price, and the "
        "tokens of its external tiers.",
    )
    on_exhausted: OnExhausted = Field(
        default="StopEscalating",
        description="What happens from when maxUSD is spent, or owed to the replicas of minReplicas, until the window ends. "
        "StopEscalating: answers are sent as they are, and requests start at no external tier. SkipTier: external tiers are not "
        "asked at all. Reject: every request is answered 429.",
    )


class Cost(ApiModel):
    """What a Cascade with a budget has cost.  Belongs to the capacity loop; follows in steps of a percent of the limit."""

    since: str = Field(
        description="From when on it was counted: the begin of the window, or when the budget was set.",
        json_schema_extra={"format": "date-time"},
    )
    until: str = Field(description="When the window ends.", json_schema_extra={"format": "date-time"})
    spent_usd: str = Field(alias="spentUSD", max_length=32, description="US dollars spent in it.")
    limit_usd: str = Field(alias="limitUSD", max_length=32, description="US dollars that may be.")
    forecast_usd: str = Field(
        alias="forecastUSD",
        max_length=32,
        description="US dollars at its end, if it goes on as in the last hour.",
    )
    exhausted: bool = Field(default=False, description="Whether spec.budget.onExhausted holds.")
