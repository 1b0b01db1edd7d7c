"""Which cluster is taken, from what is there."""

from collections.abc import Sequence

import pytest

from e2e.cluster.choose import choose
from e2e.cluster.local import ClusterError

BARE: set[str] = set()
DOCKER = {"docker"}

CHOSEN = {
    "a bare machine: one is built": ({}, BARE, "built"),
    "docker without a tool: one is built": ({}, DOCKER, "built"),
    "a tool without docker: one is built": ({}, {"kind"}, "built"),
    "docker and kind: kind": ({}, DOCKER | {"kind"}, "kind"),
    "docker and k3d: k3d": ({}, DOCKER | {"k3d"}, "k3d"),
    "a playground's context comes before all": ({"E2E_CONTEXT": "kind-mine"}, DOCKER | {"k3d"}, "context"),
    "another context, allowed by name": (
        {"E2E_CONTEXT": "lab", "E2E_ALLOWED_CONTEXTS": "test,lab"},
        BARE,
        "context",
    ),
}


@pytest.mark.parametrize(("environ", "present", "want"), CHOSEN.values(), ids=CHOSEN)
def test_choose(environ: dict[str, str], present: set[str], want: str) -> None:
    def works(argv: Sequence[str]) -> bool:
        return argv[0] in present

    assert choose(environ, works).kind == want


REFUSED = {
    "production": {"E2E_CONTEXT": "production"},
    "a name that only contains a playground's": {"E2E_CONTEXT": "not-kind-at-all"},
    "an empty list allows nothing": {"E2E_CONTEXT": "production", "E2E_ALLOWED_CONTEXTS": ","},
}


@pytest.mark.parametrize("environ", REFUSED.values(), ids=REFUSED)
def test_a_context_that_is_no_playground_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="E2E_ALLOWED_CONTEXTS"):
        choose(environ, lambda _: True)
