"""What containers understand and how they answer: OpenAI's server-sent events, LMI's JSON lines, TGI's own events.

    prompt = read_prompt(document, "openai", seed_text="inference-component/chat")
    answer = writer(prompt, number=1, created_s=…)
    answer.opening(), answer.token(0), answer.token(1), …, answer.closing()      # or answer.whole()

`openai` is what vLLM, SGLang and llama.cpp speak. A chat or a text completion asked of an LMI container comes as OpenAI's
objects, but one JSON document per line and with no `[DONE]`; `inputs` is LMI's and TGI's own request.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.serve.data_plane_faults import DialectName
from simulator.serve.data_plane_text import count_tokens, natural_tokens, seed_of, token_text

MAX_MODEL_TOKENS = 131_072
"""Context length: tokens of prompt and answer together."""
SERVED_MODEL = "/opt/ml/model"
"""The name by which a container serves the model that SageMaker put there."""

Kind = Literal["chat", "text", "native"]


class ContainerRefusal(Exception):
    """The container answers with an error status; `body` is what it says, a JSON document."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as the container understands it."""

    dialect: DialectName
    kind: Kind
    input_tokens: int
    output_tokens: int
    finish_reason: str
    """length or stop."""
    is_streamed: bool
    wants_usage: bool
    seed: int
    """Of the text that the model will say."""


@dataclass(frozen=True, slots=True)
class _Size:
    """How long the answer may be, in tokens; `parameter` is what the container calls the most."""

    most: int | None
    least: int
    ignores_end: bool
    parameter: str


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class _StreamOptions(_Request):
    include_usage: bool = False


class _Message(_Request):
    role: str
    content: str | list[dict[str, Any]] | None = None


class _OpenAiRequest(_Request):
    model: str | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    """One answer per request is all that is emulated."""

    @property
    def size(self) -> _Size:
        most = self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens
        return _Size(most, self.min_tokens, self.ignore_eos, "max_tokens")

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def own_seed(self) -> int | None:
        return self.seed


class _Chat(_OpenAiRequest):
    messages: Annotated[list[_Message], Field(min_length=1)]

    @property
    def said(self) -> str:
        return "\n".join(f"{message.role}: {_words(message.content)}" for message in self.messages)


class _Text(_OpenAiRequest):
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def said(self) -> str:
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class _Parameters(_Request):
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos_token: bool = False
    seed: int | None = None


class _Native(_Request):
    inputs: str
    parameters: _Parameters = _Parameters()
    stream: bool = False
    wants_usage: ClassVar[bool] = False

    @property
    def said(self) -> str:
        return self.inputs

    @property
    def own_seed(self) -> int | None:
        return self.parameters.seed

    @property
    def size(self) -> _Size:
        wanted = self.parameters
        return _Size(wanted.max_new_tokens, wanted.min_new_tokens, wanted.ignore_eos_token, "max_new_tokens")


def dialect_of_image(image: str) -> DialectName:
    """The dialect that a container image speaks, by its name; what is not known speaks OpenAI's."""
    if "tgi" in image or "text-generation-inference" in image:
        return "tgi"
    return "lmi" if "djl" in image or "lmi" in image else "openai"


def read_prompt(document: Any, dialect: DialectName, *, seed_text: str, seed: int = 0) -> Prompt:
    """What a container of this dialect makes of a JSON document. ContainerRefusal for what it does not accept.

    The same document and `seed_text` get the same answer; `seed`, and one in the request, give another.
    """
    if not isinstance(document, dict):
        raise _refusal(dialect, 400, "BadRequestError", "the body must be a JSON object")
    try:
        if "messages" in document:
            return _openai(_Chat.model_validate(document), "chat", dialect, (seed_text, str(seed)))
        if "prompt" in document:
            return _openai(_Text.model_validate(document), "text", dialect, (seed_text, str(seed)))
        if "inputs" in document and dialect != "openai":
            return _prompt(_Native.model_validate(document), "native", dialect, (seed_text, str(seed)))
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        raise _refusal(dialect, 400, "BadRequestError", f"{where}: {found['msg']}", parameter=where) from None
    expected = "messages or prompt" if dialect == "openai" else "inputs, messages or prompt"
    raise _refusal(dialect, 400, "BadRequestError", f"the body has none of {expected}")


def writer(prompt: Prompt, *, number: int, created_s: float, token_bytes: int | None = None) -> Writer:
    """Writes the answer to a prompt. `number` makes its id, `created_s` its time; `token_bytes` fills tokens up."""
    made = OpenAiWriter if prompt.kind != "native" else LmiWriter if prompt.dialect == "lmi" else TgiWriter
    return made(prompt, number, int(created_s), token_bytes)


class Writer(ABC):
    """One answer as bytes, piece by piece. Tokens are numbered from 0."""

    stream_type = "text/event-stream"

    def __init__(self, prompt: Prompt, number: int, created_s: int, token_bytes: int | None) -> None:
        self.prompt, self._number, self._created_s, self._token_bytes = prompt, number, created_s, token_bytes

    def opening(self) -> bytes:
        """What comes before the first token."""
        return b""

    @abstractmethod
    def token(self, k: int) -> bytes:
        """Token k and its framing."""

    def closing(self) -> bytes:
        """What comes after the last token."""
        return b""

    @abstractmethod
    def failure(self, message: str) -> bytes:
        """An error inside an answer that has begun, and the end of it."""

    @abstractmethod
    def whole(self) -> bytes:
        """The answer to a request that did not ask for a stream."""

    def text(self, k: int) -> str:
        return token_text(self.prompt.seed, k, self._token_bytes)

    def all_text(self) -> str:
        return "".join(self.text(k) for k in range(self.prompt.output_tokens))

    def is_last(self, k: int) -> bool:
        return k == self.prompt.output_tokens - 1


class OpenAiWriter(Writer):
    """Chat and text completions."""

    def __init__(self, prompt: Prompt, number: int, created_s: int, token_bytes: int | None) -> None:
        super().__init__(prompt, number, created_s, token_bytes)
        self._lines = prompt.dialect == "lmi"
        if self._lines:
            self.stream_type = "application/jsonlines"

    def opening(self) -> bytes:
        return self._chunk(delta={"role": "assistant", "content": ""}) if self.prompt.kind == "chat" else b""

    def token(self, k: int) -> bytes:
        if self.prompt.kind == "chat":
            return self._chunk(delta={"content": self.text(k)})
        return self._chunk(text=self.text(k))

    def closing(self) -> bytes:
        how = self.prompt.finish_reason
        end = self._chunk(how, delta={}) if self.prompt.kind == "chat" else self._chunk(how, text="")
        if self.prompt.wants_usage:
            end += self._event({**self._head("chunk"), "choices": [], "usage": self._usage()})
        return end + self._done()

    def failure(self, message: str) -> bytes:
        return self._event(_openai_error(500, "InternalServerError", message)) + self._done()

    def whole(self) -> bytes:
        content: dict[str, Any] = (
            {"message": {"role": "assistant", "content": self.all_text()}}
            if self.prompt.kind == "chat"
            else {"text": self.all_text()}
        )
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": self.prompt.finish_reason}
        return _json({**self._head(""), "choices": [choice], "usage": self._usage()}).encode()

    def _chunk(self, finish_reason: str | None = None, **content: Any) -> bytes:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        return self._event({**self._head("chunk"), "choices": [choice]})

    def _event(self, document: Mapping[str, Any]) -> bytes:
        text = _json(document)
        return f"{text}\n".encode() if self._lines else f"data: {text}\n\n".encode()

    def _done(self) -> bytes:
        return b"" if self._lines else b"data: [DONE]\n\n"

    def _head(self, part: str) -> dict[str, Any]:
        is_chat = self.prompt.kind == "chat"
        name = f"chat.completion{'.' if part else ''}{part}" if is_chat else "text_completion"
        prefix = "chatcmpl" if is_chat else "cmpl"
        return {
            "id": f"{prefix}-{self._number:016x}",
            "object": name,
            "created": self._created_s,
            "model": SERVED_MODEL,
        }

    def _usage(self) -> dict[str, int]:
        prompt = self.prompt
        return {
            "prompt_tokens": prompt.input_tokens,
            "completion_tokens": prompt.output_tokens,
            "total_tokens": prompt.input_tokens + prompt.output_tokens,
        }


class LmiWriter(Writer):
    """LMI (DJL Serving): one JSON document per line and token; the last line has the whole text and the details."""

    stream_type = "application/jsonlines"

    def token(self, k: int) -> bytes:
        line: dict[str, Any] = {"token": {"id": k, "text": self.text(k), "log_prob": -0.5}}
        if self.is_last(k):
            line["generated_text"] = self.all_text()
            line["details"] = _details(self.prompt)
        return f"{_json(line)}\n".encode()

    def failure(self, message: str) -> bytes:
        token = {"id": -1, "text": "", "log_prob": -1.0, "special_token": True, "error_msg": message}
        line = {"token": token, "details": {"finish_reason": "error"}}
        return f"{_json(line)}\n".encode()

    def whole(self) -> bytes:
        return _json({"generated_text": self.all_text(), "details": _details(self.prompt)}).encode()


class TgiWriter(Writer):
    """Text Generation Inference's own events: `data:` with no space, and no `[DONE]`."""

    def token(self, k: int) -> bytes:
        last = self.is_last(k)
        event = {
            "index": k + 1,
            "token": {"id": k, "text": self.text(k), "logprob": -0.5, "special": False},
            "generated_text": self.all_text() if last else None,
            "details": _details(self.prompt) if last else None,
        }
        return f"data:{_json(event)}\n\n".encode()

    def failure(self, message: str) -> bytes:
        return f"data:{_json({'error': message, 'error_type': 'generation'})}\n\n".encode()

    def whole(self) -> bytes:
        return _json([{"generated_text": self.all_text(), "details": _details(self.prompt)}]).encode()


def container_error(dialect: DialectName, status: int, kind: str, message: str) -> ContainerRefusal:
    """The container's answer with an error status, in its own words."""
    return _refusal(dialect, status, kind, message)


def _openai(request: _Chat | _Text, kind: Kind, dialect: DialectName, seeds: tuple[str, str]) -> Prompt:
    if dialect == "openai" and request.model not in (None, "", SERVED_MODEL):
        # SageMaker routes by the URL; vLLM checks the name all the same, and accepts an empty one.
        message = f"The model `{request.model}` does not exist."
        raise _refusal(dialect, 404, "NotFoundError", message, parameter="model")
    return _prompt(request, kind, dialect, seeds)


def _prompt(request: _Chat | _Text | _Native, kind: Kind, dialect: DialectName, seeds: tuple[str, str]) -> Prompt:
    size, input_tokens = request.size, count_tokens(request.said)
    room = MAX_MODEL_TOKENS - input_tokens
    if room < (size.most or 1):
        message = (
            f"{size.parameter}={size.most} and a prompt of {input_tokens} tokens cannot be greater than "
            f"max_model_len={MAX_MODEL_TOKENS}"
        )
        raise _refusal(dialect, 400, "BadRequestError", message, parameter=size.parameter)
    seed = seed_of(*seeds, request.said, str(request.own_seed))
    natural = min(room, max(natural_tokens(seed), size.least))
    if size.most is not None and (size.ignores_end or natural >= size.most):
        tokens, how = size.most, "length"
    else:
        tokens, how = natural, "stop"
    return Prompt(dialect, kind, input_tokens, tokens, how, request.stream, request.wants_usage, seed)


def _words(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return " ".join(str(part.get("text", "")) for part in content)


def _details(prompt: Prompt) -> dict[str, Any]:
    how = "eos_token" if prompt.finish_reason == "stop" else "length"
    return {"finish_reason": how, "generated_tokens": prompt.output_tokens}


def _refusal(
    dialect: DialectName, status: int, kind: str, message: str, parameter: str | None = None
) -> ContainerRefusal:
    if dialect == "openai":
        return ContainerRefusal(status, _json(_openai_error(status, kind, message, parameter)))
    if dialect == "tgi":
        return ContainerRefusal(status, _json({"error": message, "error_type": "validation"}))
    return ContainerRefusal(status, _json({"code": status, "error": message}))


def _openai_error(status: int, kind: str, message: str, parameter: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": parameter, "code": status}}


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
