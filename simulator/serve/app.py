"""The HTTP side of `quickstep serve`: which path is answered by what.

    app = make_app(driver)             # a Starlette application; the driver must have been started

* `/_quickstep/…`: time, load and state, for tests and people (`control_paths`);
* `/endpoints/{name}/invocations` and `/endpoints/{name}/invocations-response-stream`: requests to models. Their routes are
  given as `data_plane`, a list of Starlette routes; handlers use `request.app.state.driver` (see `driver` for its use);
* everything else: AWS's APIs, by what the request itself says (`aws_api`).
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from simulator.serve import aws_api, control_paths
from simulator.serve.driver import AccountDriver
from simulator.serve.protocols import HttpRequest

INCUMBENT = "/incumbent"
"""Below this path Application Auto Scaling is AWS's own, emulated, instead of Quickstep."""
_METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]


def make_app(driver: AccountDriver, *, data_plane: Sequence[BaseRoute] = ()) -> Starlette:
    """The application that answers for `driver`'s account."""
    everything_else = Route("/{path:path}", _aws, methods=_METHODS)
    app = Starlette(routes=[*control_paths.routes(), *data_plane, everything_else])
    app.state.driver = driver
    return app


async def _aws(request: Request) -> Response:
    driver: AccountDriver = request.app.state.driver
    path = request.scope["raw_path"].decode("latin-1")
    incumbent = path == INCUMBENT or path.startswith(f"{INCUMBENT}/")
    wanted = HttpRequest(
        method=request.method,
        path=(path.removeprefix(INCUMBENT) or "/") if incumbent else path,
        query=request.scope["query_string"].decode("latin-1"),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.body(),
    )
    answer = await driver.call(lambda live: aws_api.answer(live, wanted, incumbent=incumbent))
    return Response(answer.body, answer.status, dict(answer.headers))
