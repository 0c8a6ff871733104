"""`quickstep serve`: the emulated account over HTTP, in real time, for the AWS CLI, boto3 and every other AWS client."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import typer

from simulator.cli.failures import UsageProblem, project_root, write_json
from simulator.cli.scenario_traffic import scenario_traffic
from simulator.physics.requests import OpenArrivals
from simulator.run import POLICIES
from simulator.scenario import Scenario, ScenarioError, read_scenario
from simulator.serve import data_plane, gateway_mount
from simulator.serve.app import make_app
from simulator.serve.driver import AccountDriver
from simulator.serve.live import LiveAccount, live_account
from simulator.serve.server import AddressInUse, listen, run, url_of
from simulator.traffic.load import Traffic

DEFAULT_PORT = 4599
QUIET_IN_FLIGHT = 1
"""Users without a trace: enough for metrics to exist."""
MAX_SPEED = 3600.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def serve(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    scenario: Annotated[Path | None, typer.Option(help="Scenario YAML; default: one copy, one user.")] = None,
    speed: Annotated[float, typer.Option(help="Virtual seconds per second: at 60 a minute passes in a second.")] = 1.0,
    trace: Annotated[str | None, typer.Option(help="Traffic, as for simulate; wins over the scenario's.")] = None,
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = POLICIES[0],
    seed: Annotated[int, typer.Option(help="For everything that is drawn: delays, traffic.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Nothing is authenticated: keep it local.")
    ] = "127.0.0.1",
    template: Annotated[Path | None, typer.Option(help="SAM template; default: the one of this checkout.")] = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Also run the wake-and-hold gateway on this port; 0 takes a free one.")
    ] = None,
    json_out: Annotated[
        str | None, typer.Option("--json", help='Write {url, environment, …} once it answers; "-" is standard output.')
    ] = None,
) -> None:
    """Serve the emulated account, with Quickstep deployed in it, to real AWS clients until Ctrl-C.

    The deployed template, functions and state machine run; time passes as on the wall, or --speed times as fast. Exit code
    2 for input that cannot be used, a port in use included.
    """
    if not 0 < speed <= MAX_SPEED:
        raise UsageProblem(f"speed {speed:g} is not possible; give one above 0 and up to {MAX_SPEED:g}")
    if policy not in POLICIES:
        raise UsageProblem(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
    wanted, traffic = _read(scenario, trace, seed)
    if gateway_port is not None:
        wanted = wanted.model_copy(update={"parameters": {**wanted.parameters, **gateway_mount.SWITCH}})
    always_in_flight = 0 if traffic.name else QUIET_IN_FLIGHT
    path = template or project_root() / "template.yaml"
    try:
        listening = listen(host, port)
    except AddressInUse as problem:
        raise UsageProblem(f"{problem}; give another --port, or 0 for a free one") from None
    try:
        gateway_listening = None if gateway_port is None else listen("127.0.0.1", gateway_port)
    except AddressInUse as problem:
        listening.close()
        raise UsageProblem(f"{problem}; give another --gateway-port, or 0 for a free one") from None
    with listening, gateway_listening or contextlib.nullcontext():
        driver = AccountDriver(
            lambda: live_account(
                traffic, wanted, template=path, policy=policy, seed=seed, always_in_flight=always_in_flight
            ),
            speed=speed,
        )
        with driver, contextlib.ExitStack() as beside:
            facts = driver.submit(lambda live: _facts(live, url_of(listening), speed)).result()

            def on_ready() -> None:
                if gateway_listening is None:
                    announce()
                else:
                    # In a thread: the gateway asks this server for the time before it answers.
                    Thread(target=start_gateway, name="gateway", daemon=True).start()

            def start_gateway() -> None:
                assert gateway_listening is not None
                environment = driver.submit(lambda live: gateway_mount.gateway_environment(live, facts["url"])).result()
                try:
                    beside.enter_context(gateway_mount.gateway_beside(environment, gateway_listening))
                except gateway_mount.GatewayNotStarted as problem:
                    print(f"quickstep serve: {problem}", file=sys.stderr, flush=True)
                else:
                    facts["gateway_url"] = url_of(gateway_listening)
                announce()

            def announce() -> None:
                if json_out == "-":
                    print(json.dumps(facts, sort_keys=True), flush=True)
                else:
                    write_json(facts, json_out)
                    print(_greeting(facts), flush=True)

            run(make_app(driver, data_plane=data_plane.routes()), listening, on_ready=on_ready)
    if json_out != "-":
        print("stopped", flush=True)


def _read(scenario_file: Path | None, trace: str | None, seed: int) -> tuple[Scenario, Traffic]:
    try:
        scenario = read_scenario(scenario_file) if scenario_file is not None else Scenario(name="serve")
    except ScenarioError as error:
        raise UsageProblem(str(error)) from None
    start_s = float(math.floor(time.time()))
    if trace is None and scenario.traffic.trace is None:
        return scenario, Traffic(OpenArrivals((), (), (), start_s), "", "none", start_s, start_s, 1.0, requests_read=0)
    return scenario, scenario_traffic(scenario, trace=trace, seed=seed, start_s=start_s)


def _facts(live: LiveAccount, url: str, speed: float) -> dict[str, Any]:
    stack = live.account.stack
    return {
        "url": url,
        "speed": speed,
        "account_id": stack.account_id,
        "region": stack.region,
        "stack": stack.name,
        "resource_id": live.resource_id,
        "environment": {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": stack.region, **CREDENTIALS},
    }


def _greeting(facts: dict[str, Any]) -> str:
    component = facts["resource_id"].rpartition("/")[2]
    kind = "inference-component" if facts["resource_id"].startswith("inference-component/") else "variant"
    dimension = "DesiredCopyCount" if kind == "inference-component" else "DesiredInstanceCount"
    exports = "\n".join(f"export {name}={value}" for name, value in facts["environment"].items())
    look = (
        f"aws sagemaker describe-inference-component --inference-component-name {component}"
        if kind == "inference-component"
        else f"aws sagemaker describe-endpoint --endpoint-name {facts['resource_id'].split('/')[1]}"
    )
    gateway = f"\ncurl -s {facts['gateway_url']}/v1/models      # the gateway\n" if "gateway_url" in facts else ""
    return f"""\
The emulated account {facts["account_id"]} in {facts["region"]}, with stack {facts["stack"]}, answers at {facts["url"]}
({facts["speed"]:g} virtual seconds per second; signatures are not checked; Ctrl-C ends it and forgets everything)

{exports}
{gateway}
{look}
aws application-autoscaling describe-scalable-targets --service-namespace sagemaker
aws cloudwatch describe-alarms --query 'MetricAlarms[].[AlarmName,StateValue]' --output text
curl -s {facts["url"]}/_quickstep/load -d '{{"in_flight": 40}}'      # users come
curl -s {facts["url"]}/_quickstep/advance -d '{{"seconds": 300}}'    # five minutes at once
curl -s {facts["url"]}/_quickstep/state
aws application-autoscaling describe-scaling-activities --service-namespace sagemaker \\
  --resource-id {facts["resource_id"]} --scalable-dimension sagemaker:{kind}:{dimension}"""
