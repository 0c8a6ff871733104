"""What the gateway was deployed with, beside the settings of every function: its own variables, set by the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quickstep.errors import InvalidSettings
from quickstep.front.front import Patience

HEARTBEAT_S = 10.0
"""Between two comments: well below the 30 s that an edge-optimised API Gateway bears silence (its developer guide)."""


class GatewaySettings(BaseModel):
    """Each field is the variable of the same name in capitals. No defaults: those are in `template.yaml`."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=str.upper)

    gateway_hold_seconds: Annotated[int, Field(ge=0, le=840)]
    """0 = wake, but answer 503 at once."""
    gateway_max_held_requests: Annotated[int, Field(ge=1, le=1000)]

    @property
    def patience(self) -> Patience:
        return Patience(
            hold_s=float(self.gateway_hold_seconds), heartbeat_s=HEARTBEAT_S, most_held=self.gateway_max_held_requests
        )


def gateway_settings(environ: Mapping[str, str]) -> GatewaySettings:
    """Settings from environment variables. Raises `InvalidSettings` naming variable, parameter and value."""
    wrong = [f"{name} (template parameter {parameter(name)}) is missing" for name in variables() if name not in environ]
    if not wrong:
        try:
            return GatewaySettings.model_validate({name: environ[name] for name in variables()})
        except ValidationError as error:
            wrong = [
                f"{one['loc'][0]} (template parameter {parameter(str(one['loc'][0]))}) is {one['input']!r}: {one['msg']}"
                for one in error.errors(include_url=False, include_context=False)
            ]
    raise InvalidSettings("; ".join(wrong))


def variables() -> tuple[str, ...]:
    """Every variable of the gateway's own, sorted."""
    return tuple(sorted(name.upper() for name in GatewaySettings.model_fields))


def parameter(variable: str) -> str:
    """The template parameter behind a variable: GATEWAY_HOLD_SECONDS is GatewayHoldSeconds."""
    return "".join(word.capitalize() for word in variable.split("_"))
