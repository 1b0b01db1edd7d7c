"""API keys: off until an administrator names their Secret, and gone as soon as they are taken out of it."""

import hashlib
import json
from collections.abc import Iterator

import pytest
import yaml

from e2e.demo import install
from e2e.demo.kube import Kube
from e2e.scenarios.world import World

KEYS_NAME = "e2e-keys"
KEY, OTHER = "mf-e2e-alpha-0001", "mf-e2e-beta-0002"
REVOKED_LIMIT_S = 90.0
SETTINGS = f"{install.RELEASE}-settings"
SETTINGS_KEY = "settings.yaml"


@pytest.fixture
def keys_asked_for(kube: Kube, world: World) -> Iterator[None]:
    """The operator's settings name a Secret of keys, until the test is over and the operator has read them again."""
    before = kube.get("configmap", SETTINGS, namespace=install.SYSTEM)["data"][SETTINGS_KEY]
    settings = yaml.safe_load(before)
    settings.setdefault("router", {})["apiKeys"] = {"secretRef": {"name": KEYS_NAME}}
    _write(kube, yaml.safe_dump(settings))
    yield
    _write(kube, before)
    # Else the router of whichever test comes next asks for keys, too.
    world.wait_condition("cascade", "chat", "Authenticated", "False", "NoApiKeys")


def test_only_who_has_a_key_comes_in(world: World, keys_asked_for: None) -> None:  # noqa: ARG001
    _entries(world, alpha={"sha256": _digest(KEY), "models": ["chat"]}, beta={"sha256": _digest(OTHER)})
    world.tier("small")
    world.cascade("chat", "small")
    world.cascade("code", "small")
    world.wait_ready("cascade", "chat")
    world.wait_ready("cascade", "code")
    world.wait("keys are asked for", lambda: world.ask("chat").status == 401)
    alpha, beta = {"authorization": f"Bearer {KEY}"}, {"authorization": f"Bearer {OTHER}"}
    world.wait("a key is enough", lambda: world.ask("chat", headers=alpha).status == 200)

    assert world.ask("chat", headers={"authorization": "Bearer guessed"}).status == 401
    assert world.ask("code", headers=beta).status == 200
    forbidden = world.ask("code", headers=alpha)
    assert (forbidden.status, forbidden.fields["error"]["code"]) == (403, "model_not_allowed")

    _entries(world, beta={"sha256": _digest(OTHER)})

    revoked = "the key that was taken out is worth nothing"
    world.wait(revoked, lambda: world.ask("chat", headers=alpha).status == 401, limit_s=REVOKED_LIMIT_S)
    assert world.ask("chat", headers=beta).status == 200


def _entries(world: World, **entries: dict[str, object]) -> None:
    """Make these the only entries of the Secret."""
    metadata = {"name": KEYS_NAME, "namespace": world.namespace}
    data = {name: json.dumps(entry) for name, entry in entries.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    verb = "replace" if world.exists("secret", KEYS_NAME) else "create"
    world.kubectl(verb, "-f", "-", stdin=json.dumps(secret))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write(kube: Kube, settings: str) -> None:
    patch = json.dumps({"data": {SETTINGS_KEY: settings}})
    kube.kubectl("patch", "configmap", SETTINGS, "-n", install.SYSTEM, "--type=merge", "-p", patch)
