"""What a request may ask the emulation to do wrong: `quickstep-emulate`.

    X-Quickstep-Emulate: break_after_tokens=3; break_code=StreamBroken

Three ways to say it, for clients that cannot set headers: the header, the request's custom attributes
(`CustomAttributes="quickstep-emulate: break_after_tokens=3"` in boto3) and a field `"quickstep_emulate"` of a JSON body,
which also passes through a gateway. SageMaker and its containers know none of this.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.errors import ServiceError
from simulator.serve.data_plane_parts import PartsMode

HEADER = "x-quickstep-emulate"
ATTRIBUTE_PREFIX = "quickstep-emulate:"
BODY_FIELD = "quickstep_emulate"
MAX_TOKEN_BYTES = 1_048_576

DialectName = Literal["openai", "lmi", "tgi"]
BreakCode = Literal["StreamBroken", "ModelInvocationTimeExceeded", "InternalStreamFailure", "Reset"]
Refusal = Literal["no_capacity", "not_ready", "unavailable", "internal", "dependency"]

_Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Emulate(BaseModel):
    """The wishes of one request. Tokens are counted from 0: `break_after_tokens` 3 = after the third."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dialect: DialectName | None = None
    """How the container answers; None = as its image does."""
    parts: PartsMode = "seeded"
    """Where payload parts are cut."""
    part_bytes: Annotated[int, Field(ge=1, le=MAX_TOKEN_BYTES)] | None = None
    """Payload parts of exactly this size."""
    seed: int = 0
    """Another seed cuts the parts elsewhere and says something else."""
    break_after_tokens: _Count | None = None
    break_code: BreakCode = "StreamBroken"
    """How the stream breaks. Reset = the connection goes, with no word."""
    error_after_tokens: _Count | None = None
    """The container writes an error into its answer, whose status was 200, and ends it."""
    stall_after_tokens: _Count | None = None
    stall_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Virtual seconds in which no token comes."""
    limit_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    """Another time limit than the runtime's own, in virtual seconds: no document says which one holds for streams."""
    refuse: Refusal | None = None
    """Refused before the request comes to a copy."""
    refuse_times: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Only the first so many requests with the same `key`; None = every one."""
    key: Annotated[str, Field(max_length=64)] = ""
    container_status: Annotated[int, Field(ge=400, le=599)] | None = None
    """The container answers with this status instead of 200."""
    token_bytes: Annotated[int, Field(ge=1, le=MAX_TOKEN_BYTES)] | None = None
    """Every token is filled up to this size (openai only)."""
    pace: Literal["physics", "none"] = "physics"
    """none = tokens come as fast as the client takes them, while the request occupies its copy as always."""

    @model_validator(mode="after")
    def _consistent(self) -> Emulate:
        if self.refuse_times is not None and self.refuse is None:
            raise ValueError("refuse_times says how often; say with what: refuse=unavailable")
        return self


NOTHING = Emulate()


def read_wishes(header: str | None, attributes: str | None, body: Any) -> Emulate:
    """The wishes of a request, from the first of the three places that has any.

    `body` is the parsed JSON, or anything else. ServiceError names the wish that cannot be understood.
    """
    text = header
    if text is None and attributes is not None and attributes.startswith(ATTRIBUTE_PREFIX):
        text = attributes.removeprefix(ATTRIBUTE_PREFIX)
    if text is None and isinstance(body, dict):
        text = body.get(BODY_FIELD)
    return NOTHING if text is None else parse_wishes(text)


def parse_wishes(text: Any) -> Emulate:
    """`"a=1; b=2"` as wishes; ServiceError names the one that cannot be understood."""
    if not isinstance(text, str):
        raise _unusable(f"the wishes are one text, 'name=value; …', not {text!r}")
    values: dict[str, str] = {}
    for item in text.split(";"):
        name, is_there, value = item.partition("=")
        if not item.strip():
            continue
        if not is_there:
            raise _unusable(f"{item.strip()!r} has no value; write name=value; …")
        values[name.strip()] = value.strip()
    try:
        return Emulate.model_validate(values)
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        if found["type"] == "extra_forbidden":
            known = ", ".join(Emulate.model_fields)
            raise _unusable(f"{where!r} is not one of its wishes; they are {known}") from None
        name = f"{where}: " if where else ""
        raise _unusable(f"{name}{found['msg'].removeprefix('Value error, ')} (got {found.get('input')!r})") from None


class Refusals:
    """Counts what `refuse_times` has refused already, for the last `kept` keys."""

    def __init__(self, kept: int = 1000) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._kept = kept

    def is_due(self, wishes: Emulate, resource: str) -> bool:
        """Whether this request is to be refused."""
        if wishes.refuse is None or wishes.refuse_times is None:
            return wishes.refuse is not None
        name = (resource, wishes.refuse, wishes.key)
        count = self._counts.pop(name, 0)
        self._counts[name] = min(count + 1, wishes.refuse_times)
        while len(self._counts) > self._kept:
            del self._counts[next(iter(self._counts))]
        return count < wishes.refuse_times


def _unusable(why: str) -> ServiceError:
    return ServiceError("ValidationError", f"quickstep-emulate: {why}", 400)
