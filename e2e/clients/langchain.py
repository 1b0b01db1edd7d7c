"""What programs do with `langchain-openai` on top of the official client."""

import asyncio
from typing import Any

import httpx
import openai
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from e2e.clients.official import TOKENS, Person
from e2e.clients.target import WEATHER, Check, Target

QUESTION = "Name a city in France."


def _model(target: Target, **more: Any) -> ChatOpenAI:
    given: dict[str, Any] = {"max_tokens": TOKENS, "temperature": 0, **more}
    return ChatOpenAI(
        base_url=target.base_url,
        api_key=SecretStr(target.api_key),
        model=target.model,
        timeout=target.timeout_s,
        max_retries=0,
        **given,
    )


def _usage_adds_up(message: AIMessage) -> None:
    usage = message.usage_metadata
    assert usage is not None
    assert usage["input_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def invoke(target: Target) -> None:
    answer = _model(target).invoke(QUESTION)

    assert answer.content
    assert answer.response_metadata["finish_reason"] in {"stop", "length"}
    _usage_adds_up(answer)


def conversation(target: Target) -> None:
    said = [HumanMessage(QUESTION), AIMessage("Paris."), HumanMessage("Name a city in France.")]

    assert _model(target).invoke(said).content


def stream(target: Target) -> None:
    whole: AIMessageChunk | None = None
    for chunk in _model(target, stream_usage=True).stream(QUESTION):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk

    assert whole is not None
    assert whole.content
    _usage_adds_up(whole)


def tools(target: Target) -> None:
    model = _model(target, max_tokens=64).bind_tools([WEATHER], tool_choice="required")
    answer = model.invoke("Weather in Bern?")
    (call,) = answer.tool_calls

    assert call["name"] == "weather"
    assert call["args"]["city"] in {"Bern", "Oslo"}
    assert ToolMessage("sunny", tool_call_id=call["id"]).tool_call_id


def structured(target: Target) -> None:
    form: type[BaseModel] = Person
    model = _model(target, max_tokens=64).with_structured_output(form, method="json_schema")

    assert isinstance(model.invoke("Who are you?"), Person)


def log_probabilities(target: Target) -> None:
    answer = _model(target, max_tokens=6).bind(logprobs=True, top_logprobs=2).invoke(QUESTION)

    assert answer.response_metadata["logprobs"]["content"]


def asynchronous(target: Target) -> None:
    async def both() -> None:
        # The library would keep one client for the whole process, and it dies with its event loop.
        async with httpx.AsyncClient() as http:
            model = _model(target, http_async_client=http)
            whole, text = await asyncio.gather(model.ainvoke(QUESTION), _text(model))
        assert whole.content
        assert text

    asyncio.run(both())


async def _text(model: ChatOpenAI) -> str:
    return "".join([str(chunk.content) async for chunk in model.astream(QUESTION)])


def batch(target: Target) -> None:
    answers = _model(target).batch([QUESTION] * 3, config={"max_concurrency": 3})

    assert all(answer.content for answer in answers)


def embeddings(target: Target) -> None:
    client = OpenAIEmbeddings(
        openai_api_base=target.base_url,
        openai_api_key=SecretStr(target.api_key),
        model=target.model,
        check_embedding_ctx_length=False,  # it would fetch the tables of a tokenizer
        max_retries=0,
    )
    try:
        vectors = client.embed_documents(["hello", "you"])
    except openai.NotFoundError:
        assert not target.embeds
    else:
        assert target.embeds
        assert len(vectors) == 2


CHECKS: tuple[Check, ...] = (
    invoke,
    conversation,
    stream,
    tools,
    structured,
    log_probabilities,
    asynchronous,
    batch,
    embeddings,
)
