"""What the answers of the last hour leave to be made up for: told to routers that begin, so that none forgets it."""

from pydantic import Field

from modelfleet.api.meta import ApiModel


class Balance(ApiModel):
    """How the last tier of a Cascade stands with its share."""

    answers: int = Field(description="Answers of the Cascade in the last hour.")
    ahead: int = Field(
        description="Permille of them that the last tier gave beyond its share; negative: that it owes."
    )
