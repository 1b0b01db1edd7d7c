"""The official client and langchain-openai, through the router, on what a real vLLM said."""

import pytest

from e2e.clients import langchain, official
from e2e.clients.target import Check, Target


@pytest.mark.parametrize("check", official.CHECKS, ids=lambda check: check.__name__)
def test_official_client(check: Check, target: Target):
    check(target)


@pytest.mark.parametrize("check", langchain.CHECKS, ids=lambda check: check.__name__)
def test_langchain(check: Check, target: Target):
    check(target)
