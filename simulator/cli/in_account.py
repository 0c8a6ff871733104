"""Where a command works: a real account, through the usual credentials, or the emulated one of a scenario.

A real account is also whatever AWS_ENDPOINT_URL points at. The emulated one lives as long as the command.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from quickstep.control.context import ControlContext
from quickstep.errors import AwsRefused, QuickstepError
from quickstep.gateways.aws import forget_clients
from quickstep.gateways.registry import Registry
from quickstep.gateways.scaling_api import ApiRefused, Call, application_auto_scaling, quickstep_control
from quickstep.gateways.stack import DeployedStack, StackNotFound, deployed_stack
from simulator.cli.failures import UsageProblem, project_root

DEFAULT_STACK = "quickstep"
StackOption = Annotated[str, typer.Option("--stack", help="Name of the Quickstep stack.")]
RegionOption = Annotated[str | None, typer.Option("--region", help="AWS region; default: as the AWS CLI finds it.")]
ProfileOption = Annotated[str | None, typer.Option("--profile", help="AWS profile; default: as the AWS CLI finds it.")]
EmulateOption = Annotated[
    Path | None, typer.Option("--emulate", metavar="SCENARIO", help="Try it on the emulated account of a scenario.")
]
AfterOption = Annotated[
    float, typer.Option("--after", min=0, help="With --emulate: virtual seconds that pass before the command.")
]
JsonOption = Annotated[str | None, typer.Option("--json", help='Where the JSON goes; "-" is standard output.')]
DEFAULT_AFTER_S = 120.0


@dataclass(frozen=True)
class InAccount:
    """One stack in one account, ready to be asked."""

    stack: DeployedStack
    pause: Callable[[float], None]
    """Wait so many seconds, of whatever clock the account has."""

    @property
    def aas(self) -> Call:
        return application_auto_scaling()

    @cached_property
    def quickstep(self) -> Call:
        return quickstep_control(self.stack.control_function)

    @property
    def registry(self) -> Registry:
        return Registry(self.stack.settings.table_name)

    @property
    def context(self) -> ControlContext:
        return ControlContext.of(self.stack.settings, "quickstep-cli")


@contextmanager
def in_account(
    stack: str, *, region: str | None, profile: str | None, emulate: Path | None, after_s: float = DEFAULT_AFTER_S
) -> Iterator[InAccount]:
    """The stack called `stack`; whatever cannot be used, or is refused, is a UsageProblem."""
    try:
        if emulate is not None:
            with _emulated(emulate, stack, after_s) as pause:
                yield InAccount(deployed_stack(stack), pause)
            return
        with _environment(AWS_PROFILE=profile, AWS_REGION=region, AWS_DEFAULT_REGION=region):
            yield InAccount(deployed_stack(stack), time.sleep)
    except StackNotFound as error:
        raise UsageProblem(str(error)) from None
    except AwsRefused as error:
        raise UsageProblem(f"{error} ({type(error).__name__}); check credentials, --region and --profile") from None
    except (ApiRefused, QuickstepError) as error:
        raise UsageProblem(str(error)) from None


@contextmanager
def _emulated(path: Path, stack: str, after_s: float) -> Iterator[Callable[[float], None]]:
    # Imported here: a command against a real account needs nothing of the emulation.
    from simulator.account import EmulatedAccount
    from simulator.cli.invoke_command import DEFAULT_TARGET
    from simulator.cli.scenario_traffic import scenario_traffic
    from simulator.clock import EPOCH_S
    from simulator.run import check_settings, put_endpoint, sagemaker_options, staged, template_parameters
    from simulator.scenario import ScenarioError, read_scenario

    template = project_root() / "template.yaml"
    try:
        scenario = read_scenario(path)
        if scenario.traffic.trace is not None:
            with staged(scenario_traffic(scenario), scenario, template=template, stack_name=stack) as stage:
                stage.run_until(after_s)
                yield stage.account.run_for
            return
        parameters = template_parameters(
            scenario, policy="StepsAndDemand", target=scenario.component.target_per_copy or DEFAULT_TARGET
        )
        with EmulatedAccount(
            template, parameters, start_s=EPOCH_S, stack_name=stack, sagemaker_options=sagemaker_options(scenario)
        ) as account:
            check_settings(account)
            put_endpoint(account, scenario)
            account.run_for(after_s)
            yield account.run_for
    except ScenarioError as error:
        raise UsageProblem(str(error)) from None


@contextmanager
def _environment(**variables: str | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    forget_clients()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        forget_clients()
