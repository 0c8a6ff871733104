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
from starlette.routing import BaseRoute

from simulator.serve import control_paths
from simulator.serve.driver import AccountDriver


def make_app(driver: AccountDriver, *, data_plane: Sequence[BaseRoute] = ()) -> Starlette:
    """The application that answers for `driver`'s account."""
    app = Starlette(routes=[*control_paths.routes(), *data_plane])
    app.state.driver = driver
    return app
