"""One request's life, with engines that die, hang and lie at every point of it."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelfleet.api.route_table import ExternalTarget, RouteTable
from tests.router.rig import (
    DONE,
    GOOD,
    GOOD_STREAM,
    SSE_HEAD,
    USAGE,
    Peer,
    cascade,
    chunk,
    config_map,
    engines,
    hang,
    one_tier,
    post,
    raw,
    read_answer,
    reply,
    router,
    stream,
    tier,
    token,
    until,
)

FIXTURES = Path(__file__).parent.parent / "fixtures"


async def test_errors_of_the_clients_own_making_pass_through():
    body = (FIXTURES / "vllm-0.32.0" / "error-too-long.http").read_bytes().partition(b"\r\n\r\n")[2]
    async with one_tier([reply(body, status=400)], [reply(GOOD)]) as (rig, found):
        answers = [await rig.ask(post()) for _ in range(2)]

        refused = next(answer for answer in answers if answer.status == 400)
        assert refused.body == body
        assert refused.headers["x-modelfleet-attempts"] == "1"
        assert [len(engine.asked) for engine in found] == [1, 1]


async def test_kept_alive_connection_that_the_engine_closed_costs_nothing():
    async def answer_then_drop(peer: Peer) -> None:
        await reply(GOOD)(peer)

    async def drop(_: Peer) -> None:
        # The request arrived on the kept-alive connection and the engine closes it without a word.
        raise ConnectionResetError

    async with one_tier([answer_then_drop, drop, reply(GOOD)]) as (rig, (engine,)):
        first = await rig.ask(post())
        second = await rig.ask(post())

        assert (first.status, second.status) == (200, 200)
        assert second.headers["x-modelfleet-attempts"] == "1"
        assert len(engine.asked) == 3


async def test_connections_to_an_engine_are_reused():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        for _ in range(5):
            assert (await rig.ask(post())).status == 200

        assert len({peer.writer for peer in engine.asked}) == 1


@pytest.mark.parametrize("streaming", [False, True])
async def test_client_that_leaves_frees_the_engine(streaming: bool):  # noqa: FBT001 - a row
    sent = [SSE_HEAD, chunk(token("a"))] if streaming else []
    async with one_tier([hang(*sent)], timeout_s=60.0) as (rig, (engine,)):
        _, writer = await rig.connect()
        writer.write(post(stream=streaming))
        await until(lambda: len(engine.asked) == 1)
        writer.transport.abort()

        async with asyncio.timeout(5):
            await engine.asked[0].gone.wait()
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert (stats.attempts["Cancelled"], stats.in_flight) == (1, 0)


async def test_usage_is_asked_for_counted_and_hidden():
    async with one_tier([stream(*GOOD_STREAM)]) as (rig, (engine,)):
        answer = await rig.ask(post(stream=True))

        assert answer.body == token("a") + token("b") + DONE
        sent = orjson.loads(engine.asked[0].body)
        assert sent["stream_options"] == {"include_usage": True}
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert (stats.tokens_in, stats.tokens_out) == (7, 2)
        assert sum(stats.first_token.counts) == 1


def _told(tokens: int) -> bytes:
    return USAGE.replace(b'"completion_tokens":2', b'"completion_tokens":%d' % tokens)


PAUSE_S = 0.05
# What follows the first token after a pause, and how many tokens the answer has then.
PACES = {
    "a pause is spread over the whole answer": ((token("b"), token("c"), token("d"), DONE), 4),
    "the engine counts tokens: an event may bring several": ((token("b"), _told(9), DONE), 9),
    "one token has no time between tokens": ((token(""), _told(1), DONE), None),
    "one event": ((DONE,), None),
}


@pytest.mark.parametrize(("rest", "tokens"), PACES.values(), ids=PACES)
async def test_the_mean_time_between_tokens_is_counted_once_an_answer(
    rest: tuple[bytes, ...], tokens: int | None
):
    first_came, loop = asyncio.Event(), asyncio.get_running_loop()

    async def act(peer: Peer) -> None:
        await peer.send(SSE_HEAD + chunk(token("a")))
        await first_came.wait()
        await asyncio.sleep(PAUSE_S)
        await peer.send(b"".join(map(chunk, rest)) + b"0\r\n\r\n")

    async with one_tier([act]) as (rig, _):
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        began_s = loop.time()
        asked = asyncio.create_task(rig.ask(post(stream=True)))
        await until(lambda: sum(stats.first_token.counts) > 0)
        first_came.set()
        assert (await asked).complete
        took_s = loop.time() - began_s

    seen = stats.answer_inter_token
    assert sum(seen.counts) == (tokens is not None)
    if tokens is not None:
        assert PAUSE_S / 2 < seen.sum_s * (tokens - 1) < took_s + 0.001  # the loop counts milliseconds


async def test_a_stream_without_an_event_has_no_pace():
    async with one_tier([stream(_told(9), DONE)]) as (rig, _):
        assert (await rig.ask(post(stream=True))).complete

        assert sum(rig.state.fleet.lines["chat"].steps[0].stats.answer_inter_token.counts) == 0


async def test_a_stream_that_broke_or_was_left_has_no_pace():
    broken = raw(SSE_HEAD, *map(chunk, (token("a"), token("b"), token("c"))))
    async with one_tier([broken, hang(SSE_HEAD, *map(chunk, (token("a"), token("b"))))]) as (rig, (engine,)):
        assert not (await rig.ask(post(stream=True))).complete
        reader, writer = await rig.connect()
        writer.write(post(stream=True))
        await reader.readuntil(token("b").strip())
        writer.transport.abort()
        await until(lambda: len(engine.asked) > 1 and engine.asked[1].gone.is_set())
        stats = rig.state.fleet.lines["chat"].steps[0].stats

        assert sum(stats.first_token.counts) == 2
        assert sum(stats.answer_inter_token.counts) == 0


async def test_usage_is_shown_to_who_asks_for_it():
    async with one_tier([stream(*GOOD_STREAM)]) as (rig, _):
        answer = await rig.ask(post(stream=True, stream_options={"include_usage": True}))

        assert answer.body == b"".join(GOOD_STREAM)


async def test_engine_sees_its_own_model_name_and_no_credentials():
    secret = "authorization: Bearer user-key\r\ncookie: a=b\r\nx-modelfleet-note: big\r\nx-api-key: k\r\n"
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        await rig.ask(post(fields=f"connection: close\r\nx-request-id: r1\r\n{secret}", seed=2**53 + 1))

        head = engine.asked[0].head.lower()
        assert not any(word in head for word in (b"user-key", b"cookie", b"x-modelfleet", b"x-api-key"))
        assert b"x-request-id: r1\r\n" in head
        sent = orjson.loads(engine.asked[0].body)
        assert (sent["model"], sent["seed"]) == ("small-served", 2**53 + 1)


async def test_answer_tells_its_tier_and_hides_what_is_of_one_hop():
    fields = "Set-Cookie: a=b\r\nKeep-Alive: 5\r\nX-Request-Id: r\r\nX-Modelfleet-Tier: forged\r\n"
    async with one_tier([reply(GOOD, fields=fields)]) as (rig, _):
        answer = await rig.ask(post())

        assert answer.headers["x-modelfleet-tier"] == "small"
        assert answer.headers["x-request-id"] == "r"
        assert not {"set-cookie", "keep-alive"} & set(answer.headers)


RECORDINGS = {
    "llama.cpp": ("llama.cpp/chat-stream.sse", "llama.cpp/chat-logprobs.http"),
    "vLLM": ("vllm-0.32.0/chat-stream.sse", "vllm-0.32.0/chat-logprobs.http"),
}


@pytest.mark.parametrize(("events", "plain"), RECORDINGS.values(), ids=RECORDINGS)
async def test_recorded_answers_pass_byte_for_byte(events: str, plain: str):
    recorded = (FIXTURES / events).read_bytes()
    pieces = [recorded[at : at + 97] for at in range(0, len(recorded), 97)]
    whole = (FIXTURES / plain).read_bytes().partition(b"\r\n\r\n")[2]
    async with one_tier([stream(*pieces), reply(whole)]) as (rig, _):
        streamed = await rig.ask(post(stream=True, stream_options={"include_usage": True}))
        answered = await rig.ask(post())

        assert streamed.body == recorded
        assert streamed.complete
        assert answered.body == whole
        stats = rig.state.fleet.lines["chat"].steps[0].stats
        assert (stats.tokens_in, stats.tokens_out) == (69, 36)


async def test_client_that_does_not_read_holds_the_engine_back():
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.send(SSE_HEAD)
        piece = chunk(token("x" * 10_000))
        while True:
            await peer.send(piece)
            sent += len(piece)

    async with one_tier([flood]) as (rig, (engine,)):
        reader, writer = await rig.connect()
        writer.transport.pause_reading()
        writer.write(post(stream=True))
        await until(lambda: sent > 0)
        seen = -1
        while seen != sent:  # until a whole pause brings nothing more
            seen = sent
            await asyncio.sleep(0.2)
        # What two pairs of socket buffers hold, and no more.
        assert sent < 40_000_000
        writer.transport.abort()
        await until(engine.asked[0].gone.is_set)
        assert reader is not None


async def test_large_plain_answer_passes():
    big = {**GOOD, "padding": "x" * (6 << 20)}
    async with one_tier([reply(big)]) as (rig, _):
        answer = await rig.ask(post())

        assert orjson.loads(answer.body) == big
        assert answer.complete


async def test_external_tier_gets_its_own_key_and_path(tmp_path: Path):
    key = tmp_path / "api-key"
    key.write_text("sk-external\n")
    async with engines([reply(GOOD)]) as (engine,):
        target = ExternalTarget(f"http://127.0.0.1:{engine.port}/openai/v1", str(key), None)
        async with router(cascade(tier("frontier", weight=1000, external=target)), {}) as rig:
            answer = await rig.ask(post(fields="connection: close\r\nauthorization: Bearer mine\r\n"))

            assert answer.status == 200
            head = engine.asked[0].head
            assert head.startswith(b"POST /openai/v1/chat/completions HTTP/1.1\r\n")
            assert b"authorization: Bearer sk-external\r\n" in head
            assert b"mine" not in head
            assert b"sk-external" not in answer.body + str(answer.headers).encode()


async def test_pooled_and_fresh_sockets_do_not_wait_for_nagle():
    seen: dict[str, Any] = {}

    async def look(peer: Peer) -> None:
        await reply(GOOD)(peer)

    async with one_tier([look]) as (rig, _):
        _, writer = await rig.connect()
        await until(lambda: len(rig.server.crowd.clients) == 1)
        client = next(iter(rig.server.crowd.clients))
        writer.write(post(fields=""))
        await until(lambda: rig.state.fleet.lines["chat"].steps[0].stats.answered == 1)
        replica = rig.state.fleet.lines["chat"].steps[0].pool.replicas[0]
        seen["client"] = client._transport.get_extra_info("socket")
        seen["engine"] = replica._idle[0]._transport.get_extra_info("socket")

        assert all(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in seen.values())


async def test_completions_go_to_their_own_path():
    async with one_tier([reply(GOOD)]) as (rig, (engine,)):
        await rig.ask(post(path="/v1/completions?x=1"))

        assert engine.asked[0].head.startswith(b"POST /v1/completions HTTP/1.1\r\n")


async def test_weight_flips_fail_no_request():
    async with engines([reply(GOOD)], [reply(GOOD)]) as (small, big):
        ports = {"small-svc": [small.port], "big-svc": [big.port]}
        async with router(cascade(tier("small", weight=1000), tier("big")), ports) as rig:
            for flip in range(40):
                first = 1000 if flip % 2 else 0
                tiers = (tier("small", weight=first), tier("big", weight=1000 - first))
                found = config_map(RouteTable((cascade(*tiers),)), version=str(flip + 2))
                asked = asyncio.gather(*(rig.ask(post(stream=False)) for _ in range(5)))
                rig.state.config_maps_changed(found, now_s=2.0)
                assert all(answer.status == 200 for answer in await asked)
                after = await rig.ask(post())
                assert after.headers["x-modelfleet-tier"] == ("small" if flip % 2 else "big")


async def test_two_requests_on_one_connection():
    async with one_tier([reply(GOOD)]) as (rig, _):
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(post(fields=""))
            assert (await read_answer(reader)).status == 200
        writer.close()
