"""`/_quickstep/…`: what is not AWS: reading and moving the served account's time, and putting load on it.

    GET  /_quickstep/state
    POST /_quickstep/advance  {"seconds": 600}
    POST /_quickstep/load     {"in_flight": 40, "resource_id": "inference-component/chat"}

A request that cannot be used gets status 400 and `{"error": "<what, which, value, what to do>"}`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.run import FIXED_TOKENS
from simulator.serve.driver import AccountDriver
from simulator.serve.live import LiveAccount
from simulator.traffic.pattern import MAX_IN_FLIGHT

MAX_JUMP_S = 7 * 86_400.0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Advance(_Body):
    """How far time jumps."""

    seconds: Annotated[float, Field(gt=0, le=MAX_JUMP_S)]


class Load(_Body):
    """Simulated clients: so many requests in flight, each of these sizes. `resource_id` None = the scenario's own."""

    in_flight: Annotated[int, Field(ge=0, le=MAX_IN_FLIGHT)]
    resource_id: str | None = None
    input_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = FIXED_TOKENS[0]
    output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = FIXED_TOKENS[1]


def routes() -> list[Route]:
    """The routes of these paths."""
    return [
        Route("/_quickstep/state", _state, methods=["GET"]),
        Route("/_quickstep/advance", _advance, methods=["POST"]),
        Route("/_quickstep/load", _load, methods=["POST"]),
        Route("/_quickstep/{rest:path}", _nothing, methods=["DELETE", "GET", "PATCH", "POST", "PUT"]),
    ]


async def _nothing(request: Request) -> Response:
    paths = {"state": "GET", "advance": "POST", "load": "POST"}
    right = paths.get(request.path_params["rest"])
    known = ", ".join(f"{method} /_quickstep/{name}" for name, method in paths.items())
    error = f"there is no {request.method} {request.url.path}; there are {known}"
    return JSONResponse({"error": error}, status_code=404 if right is None else 405)


async def _state(request: Request) -> Response:
    driver: AccountDriver = request.app.state.driver
    return JSONResponse(await driver.call(lambda live: state(driver, live)))


async def _advance(request: Request) -> Response:
    driver: AccountDriver = request.app.state.driver
    try:
        wanted = Advance.model_validate_json(await request.body())
    except ValidationError as error:
        return _unusable(error)
    await driver.advance(wanted.seconds)
    return JSONResponse(await driver.call(lambda live: state(driver, live)))


async def _load(request: Request) -> Response:
    driver: AccountDriver = request.app.state.driver
    try:
        wanted = Load.model_validate_json(await request.body())
    except ValidationError as error:
        return _unusable(error)

    def hold(live: LiveAccount) -> dict[str, Any] | str:
        resource_id = wanted.resource_id or live.resource_id
        known = live.resource_ids()
        if resource_id not in known:
            return f"resource_id {resource_id!r} takes no traffic here; one of {', '.join(known) or 'none'} does"
        live.hold_in_flight(
            resource_id, wanted.in_flight, input_tokens=wanted.input_tokens, output_tokens=wanted.output_tokens
        )
        return state(driver, live)

    answer = await driver.call(hold)
    if isinstance(answer, str):
        return JSONResponse({"error": answer}, status_code=400)
    return JSONResponse(answer)


def state(driver: AccountDriver, live: LiveAccount) -> dict[str, Any]:
    """What `GET /_quickstep/state` says; on the account's thread."""
    now_s = live.now_s
    resources = {}
    for resource_id in live.resource_ids():
        supply = live.account.sagemaker.supply_at(resource_id, now_s)
        fleet = live.fleet(resource_id)
        fleet.advance(now_s)
        resources[resource_id] = {
            "copies_desired": None if supply is None else supply.desired_copies,
            "copies_current": None if supply is None else supply.current_copies,
            "instances": None if supply is None else supply.instances_in_service,
            "in_flight": fleet.in_flight,
            "load_in_flight": live.held_in_flight(resource_id),
        }
    return {
        "now_s": now_s,
        "now": _iso(now_s),
        "speed": driver.speed,
        "slipped_s": round(driver.slipped_s, 3),
        "resources": resources,
        "problems": live.problems[-20:],
    }


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(math.floor(at_s * 1000) / 1000, UTC).isoformat().replace("+00:00", "Z")


def _unusable(error: ValidationError) -> JSONResponse:
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"]) or "body"
    return JSONResponse({"error": f"{where}: {found['msg']} (got {found.get('input')!r})"}, status_code=400)
