"""Asks the model hub which commit a revision is."""

from urllib.parse import quote

import httpx

from modelfleet.errors import NotYet

HTTP_OK = 200


class ModelHub:
    """A Hub (see ports) over the hub's HTTP API.  Anonymous: the operator has nobody's token."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(follow_redirects=True)

    async def commit(self, repository: str, revision: str, *, endpoint: str, timeout_s: float) -> str | None:
        """The commit that `revision` of `repository` is now; None when the hub refuses to say.

        Raises NotYet when the hub does not answer.
        """
        # A revision such as refs/pr/1 is one part of the path.
        url = f"{endpoint.rstrip('/')}/api/models/{repository}/revision/{quote(revision, safe='')}"
        try:
            answer = await self._client.get(url, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise NotYet(f"the hub at {endpoint} does not answer: {err!r}", retry_after_s=10.0) from err
        if answer.status_code != HTTP_OK:
            return None
        try:
            sha = answer.json().get("sha")
        except (ValueError, AttributeError):
            return None
        return sha if isinstance(sha, str) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
