import httpx
import pytest

from modelfleet.adapters.hub import ModelHub
from modelfleet.errors import NotYet

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ANSWERS = {
    "the commit": (httpx.Response(200, json={"sha": COMMIT}), COMMIT),
    "a private or unknown repository": (httpx.Response(401), None),
    "an unknown revision": (httpx.Response(404, json={"error": "RevisionNotFound"}), None),
    "a page of a proxy": (httpx.Response(200, text="<html>"), None),
    "JSON without a commit": (httpx.Response(200, json=["x"]), None),
}


def hub(answer: httpx.Response | Exception, asked: list[str] | None = None) -> ModelHub:
    def handle(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(str(request.url))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ModelHub(httpx.AsyncClient(transport=httpx.MockTransport(handle)))


@pytest.mark.parametrize(("answer", "want"), ANSWERS.values(), ids=ANSWERS)
async def test_commit(answer: httpx.Response, want: str | None):
    asked: list[str] = []

    got = await hub(answer, asked).commit("o/r", "main", endpoint="https://hub.example/", timeout_s=5)

    assert got == want
    assert asked == ["https://hub.example/api/models/o/r/revision/main"]


async def test_a_revision_with_a_slash_is_one_part_of_the_path():
    asked: list[str] = []

    await hub(httpx.Response(404), asked).commit("o/r", "refs/pr/1", endpoint="https://h", timeout_s=5)

    assert asked == ["https://h/api/models/o/r/revision/refs%2Fpr%2F1"]


async def test_an_address_that_is_none_is_a_hub_that_does_not_answer():
    asking = ModelHub()

    for endpoint in ("http://h:port", "no address", "ftp://h"):
        with pytest.raises(NotYet):
            await asking.commit("o/r", "main", endpoint=endpoint, timeout_s=5)
    await asking.close()


async def test_a_silent_hub_is_asked_again_later():
    asking = hub(httpx.ConnectTimeout("no"))

    with pytest.raises(NotYet, match=r"hub\.example"):
        await asking.commit("o/r", "main", endpoint="https://hub.example", timeout_s=5)
    await asking.close()
