"""Programs as users have them, against real models: the official `openai` and `langchain-openai`, through the router.

With an accept rule that lets everything through, every answer is also judged, and log probabilities are added and
taken away; a program must not notice.
"""

import re
from collections.abc import Iterator

import pytest

from e2e.clients import langchain, official
from e2e.clients.__main__ import CLEVER
from e2e.clients.target import Check, Target
from e2e.scenarios.world import World

CHECKS = {
    f"{library} {check.__name__}": check
    for library, checks in (("openai", official.CHECKS), ("langchain", langchain.CHECKS))
    for check in checks
    if check.__name__ not in CLEVER
}
FORWARDED = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ")


@pytest.fixture(scope="module")
def router(shared: World) -> Iterator[str]:
    """The address of the router on this machine, as `kubectl port-forward` gives it to anybody."""
    shared.tier("small", resources={"limits": {"cpu": "1"}})
    shared.cascade("plain", "small")
    shared.tier("other", resources={"limits": {"cpu": "1"}})
    shared.cascade("judged", "small", "other", accept="-1000")
    shared.wait_ready("cascade", "plain")
    shared.wait_ready("cascade", "judged")
    process = shared.kube.popen("port-forward", "-n", shared.namespace, "service/modelfleet-router", ":80")
    assert process.stdout is not None
    found = FORWARDED.match(process.stdout.readline())
    assert found is not None
    yield f"http://{found[1]}/v1"
    process.terminate()
    process.wait()


@pytest.mark.parametrize("model", ["plain", "judged"])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_client(router: str, model: str, check: Check) -> None:
    check(Target(router, model))
