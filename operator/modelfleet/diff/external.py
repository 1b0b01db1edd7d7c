"""What routers tell of an external tier that they cannot ask -> what its ModelTier says of it."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from modelfleet.api.meta import Condition
from modelfleet.api.serving import ExternalApi
from modelfleet.diff.conditions import Finding

# By a router's own word: the reason, and what is wrong.
_KNOWN = {
    "TLS": (
        "TLSFailed",
        "routers do not trust its certificate: its authority, its name or its dates are wrong",
    ),
    "Refused": ("Unreachable", "nobody takes connections there, or there is no such name"),
    "ConnectTimeout": ("Unreachable", "connections are not answered in time"),
    "AddressDenied": ("AddressDenied", "the setting router.externalAddresses does not let routers go there"),
    "KeyMissing": ("KeyMissing", "the Secret of apiKeySecretRef, or its key, is not there"),
    "CAMissing": (
        "CAMissing",
        "the ConfigMap of caConfigMapRef, or its key, is not there or is no certificate",
    ),
    "BadURL": ("BadURL", "baseURL is no http(s) address"),
    "Unauthorized": ("KeyRefused", "it refuses the key"),
    "NotFound": ("NotFound", "it knows no such path or model: look at baseURL and model"),
    "Redirect": ("Redirect", "it answers with a redirect, which is never followed: look at baseURL"),
}
_REASONS = frozenset(reason for reason, _ in _KNOWN.values()) | {"Failing"}


def ready(external: ExternalApi, word: str | None, *, before: Sequence[Condition]) -> Finding:
    """Whether requests can go to the API.

    `word`: why not, as routers call it; empty: they can; None: none has told, so what was said `before` stays.
    """
    if word is None and (said := down(before)) is not None:
        return Finding("Ready", "False", said.reason, said.message)
    if not word:
        return Finding("Ready", "True", "External", "Requests go to the external API")
    host = urlsplit(external.base_url).netloc.rpartition("@")[2]
    reason, wrong = _KNOWN.get(word, ("Failing", f"its answers fail ({word})"))
    return Finding("Ready", "False", reason, f"No router can ask {host}: {wrong}")


def down(conditions: Sequence[Condition]) -> Condition | None:
    """What is said of an API that cannot be asked; None where it can."""
    return next((each for each in conditions if each.type == "Ready" and each.reason in _REASONS), None)
