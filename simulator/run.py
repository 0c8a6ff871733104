"""One simulation: the deployed template, handlers and state machine against an emulated endpoint under traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import numpy as np
from botocore.model import OperationNotFoundError
from botocore.validate import ParamValidator

from quickstep.settings import Settings
from simulator.account import EmulatedAccount
from simulator.aws.sagemaker_behaviour import Behaviour
from simulator.aws.sagemaker_delays import Delays
from simulator.aws.sagemaker_faults import Ending, Shortage
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, ManagedSpec, VariantSpec
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from simulator.physics.fleet import CopyFleet
from simulator.physics.profiles import cstar
from simulator.physics.requests import ClosedLoop
from simulator.run_timeline import Timeline, collect
from simulator.scenario import CallPart, Scenario, ScenarioError
from simulator.score import Supply, score_run
from simulator.traffic.load import Traffic

TARGET_SHARE = 0.7
"""Default target per copy as a share of the concurrency at which the inter-token SLO is just kept."""
SLICE_S = 60.0
POLICIES = ("StepsAndDemand", "StepsOnly", "DemandOnly")
FIXED_TOKENS = (512, 128)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress display may show."""

    virtual_s: float
    total_s: float
    desired: int
    current: int
    instances: int
    in_flight: int


@dataclass(frozen=True, eq=False)
class Stage:
    """A deployed stack, its endpoint and its clients, ready to run."""

    account: EmulatedAccount
    fleet: CopyFleet
    resource_id: str
    traffic: Traffic
    scenario: Scenario
    target_per_copy: float

    def run_until(self, t_s: float) -> None:
        """Let everything happen up to `t_s` seconds after the start of the traffic."""
        self.account.run_until(self.traffic.start_s + t_s)

    def collect(self) -> Timeline:
        """What has happened so far, over the whole length of the traffic."""
        return collect(self.account, self.fleet, self.resource_id, self.scenario, self.traffic)


@contextmanager
def staged(
    traffic: Traffic, scenario: Scenario, *, template: Path, policy: str = POLICIES[0], seed: int = 0, **options: Any
) -> Iterator[Stage]:
    """Deploy the stack of `template` beside the scenario's endpoint, with `traffic` on it; `options` go to the account."""
    target = target_per_copy(scenario, traffic)
    with EmulatedAccount(
        template,
        template_parameters(scenario, policy=policy, target=target),
        start_s=traffic.start_s,
        seed=seed,
        publish_delay_s=scenario.delays.metric_publish_s,
        sagemaker_options=sagemaker_options(scenario),
        **options,
    ) as account:
        check_settings(account)
        resource_id = put_endpoint(account, scenario)
        fleet = CopyFleet(
            scenario.profile,
            traffic.arrivals,
            scenario.endpoint.routing,
            client_timeout_s=scenario.traffic.client_timeout_s,
            retry_interval_s=scenario.traffic.retry_interval_s,
            seed=seed,
            start_s=traffic.start_s,
        )
        account.sagemaker.attach_load(resource_id, fleet)
        yield Stage(account, fleet, resource_id, traffic, scenario, target)


def simulate(
    traffic: Traffic,
    scenario: Scenario,
    *,
    template: Path,
    policy: str = POLICIES[0],
    seed: int = 0,
    watch: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Run `traffic` through the deployed stack and return result.json's object.

    `template` is the SAM template; its directory holds functions/, layers/ and statemachine/. Same arguments, same bytes.
    """
    with staged(traffic, scenario, template=template, policy=policy, seed=seed) as stage:
        _run(stage, watch)
        return _result(stage, stage.collect(), policy=policy, seed=seed)


def check_settings(account: EmulatedAccount) -> None:
    """Refuse parameters that the functions would refuse: CloudFormation cannot compare two parameters.

    Raises InvalidSettings, whose message names both and says what to change.
    """
    environment = account.lambdas.function(account.stack["OnAlarmFunction"].name).environment
    Settings.from_environment({"AWS_REGION": account.stack.region, **environment}).default_target()


def target_per_copy(scenario: Scenario, traffic: Traffic) -> float:
    """The target per copy of the scenario, or the default share of C* for the traffic's mean token sizes."""
    if scenario.component.target_per_copy is not None:
        return scenario.component.target_per_copy
    if isinstance(traffic.arrivals, ClosedLoop) or not len(traffic.arrivals.times_s):
        mean_in, mean_out = FIXED_TOKENS
    else:
        mean_in, mean_out = float(traffic.arrivals.input_tokens.mean()), float(traffic.arrivals.output_tokens.mean())
    return max(1.0, round(TARGET_SHARE * cstar(scenario.profile, mean_in, max(1.0, mean_out)), 1))


def template_parameters(scenario: Scenario, *, policy: str, target: float) -> dict[str, str]:
    """The template's parameters that follow from a scenario; the scenario's own `parameters` win."""
    endpoint, component = scenario.endpoint, scenario.component
    return {
        "EndpointName": endpoint.name,
        "InferenceComponentName": "" if endpoint.mode == "variant" else component.name,
        "VariantName": endpoint.variant,
        "MinCapacity": str(component.min_copies),
        "MaxCapacity": str(component.max_copies),
        "TargetConcurrentRequestsPerCopy": f"{target:g}",
        "HighAlarmThresholdConcurrentRequests": f"{target:g}",
        "LowAlarmThresholdConcurrentRequests": f"{0.9 * target:g}",
        "InstanceUsdPerHour": f"{scenario.profile.instance_usd_per_hour:g}",
        "PolicyMode": policy,
        **scenario.parameters,
    }


def sagemaker_options(scenario: Scenario) -> dict[str, Any]:
    """What the emulated SageMaker is told about delays, quotas and shortages."""
    delays = scenario.delays
    quota = scenario.account.instance_quota
    return {
        "delays": Delays(
            launch_median_s=delays.launch_median_s,
            launch_p95_s=delays.launch_p95_s,
            warm_copy_median_s=delays.copy_median_s,
            warm_copy_min_s=delays.copy_median_s * 60 / 90,
            warm_copy_max_s=delays.copy_median_s * 150 / 90,
            instance_share=max(0.05, 1 - delays.copy_median_s / delays.launch_median_s),
            release_delay_s=scenario.endpoint.release_delay_s,
        ),
        "behaviour": Behaviour(empty_instances_leave_first=scenario.endpoint.instance_scale_in == "empty_first"),
        "quotas": {} if quota is None else {scenario.instance_type: quota},
    }


def put_endpoint(account: EmulatedAccount, scenario: Scenario) -> str:
    """Put the scenario's endpoint into the account, in service; return the resource id of what is scaled."""
    endpoint, component, profile = scenario.endpoint, scenario.component, scenario.profile
    single_model = endpoint.mode == "variant"
    copies = component.initial_copies
    on_instances = copies if single_model else -(-copies // profile.copies_per_instance)
    managed = None
    if endpoint.mode == "managed":
        managed = ManagedSpec(endpoint.managed_min_instances, endpoint.managed_max_instances)
    variant = VariantSpec(
        scenario.instance_type,
        max(endpoint.initial_instances, on_instances),
        name=endpoint.variant,
        managed=managed,
        model=component.name if single_model else None,
        routing=endpoint.routing,
    )
    components = (
        []
        if single_model
        else [
            ComponentSpec(
                component.name,
                copies,
                accelerators=profile.accelerators_per_copy,
                memory_mb=1024,
                placement=component.placement,
                variant=endpoint.variant,
            )
        ]
    )
    components += [
        ComponentSpec(b.name, b.copies, b.accelerators, memory_mb=b.memory_mb, variant=endpoint.variant)
        for b in scenario.bystanders
    ]
    account.sagemaker.scenario_endpoint(EndpointSpec(endpoint.name, (variant,), tuple(components)))
    start_s = account.clock.now_s
    for refusal in scenario.account.refusals:
        ending = Ending.SILENT if refusal.kind == "silent" else Ending.ROLL_BACK
        account.sagemaker.faults.shortages.append(
            Shortage(scenario.instance_type, start_s + refusal.from_s, start_s + refusal.to_s, 0, ending)
        )
    make_calls(account, "application-autoscaling", scenario.account.application_autoscaling)
    make_calls(account, "cloudwatch", scenario.account.cloudwatch)
    return (
        f"endpoint/{endpoint.name}/variant/{endpoint.variant}"
        if single_model
        else f"inference-component/{component.name}"
    )


def make_calls(account: EmulatedAccount, service: str, calls: Iterable[CallPart]) -> None:
    """Make a scenario's calls as the account's owner. Raises ScenarioError for one that is none or is refused."""
    model = botocore.session.get_session().get_service_model(service)
    for call in calls:
        try:
            shape = model.operation_model(call.operation).input_shape
        except OperationNotFoundError:
            raise ScenarioError(f"account: {service} has no operation {call.operation!r}") from None
        report = ParamValidator().validate(call.parameters, shape)
        if report.has_errors():
            told = " ".join(report.generate_report().split())
            raise ScenarioError(f"account: {service} {call.operation}: {told}")
        try:
            account.call(service, call.operation, call.parameters)
        except (ServiceError, NotEmulated) as refused:
            raise ScenarioError(f"account: {service} {call.operation}: {refused}") from None


def _run(stage: Stage, watch: Callable[[Progress], None] | None) -> None:
    total_s = stage.traffic.end_s - stage.traffic.start_s
    t_s = 0.0
    while t_s < total_s:
        t_s = min(total_s, t_s + SLICE_S)
        stage.run_until(t_s)
        if watch is not None:
            supply = stage.account.sagemaker.supply_at(stage.resource_id, stage.account.clock.now_s)
            assert supply is not None
            counts = (supply.desired_copies, supply.current_copies, supply.instances_in_service)
            watch(Progress(t_s, total_s, *counts, stage.fleet.in_flight))


def _result(stage: Stage, timeline: Timeline, *, policy: str, seed: int) -> dict[str, Any]:
    scenario, traffic = stage.scenario, stage.traffic
    score = score_run(
        stage.fleet.log,
        Supply(traffic.start_s, timeline.copies, timeline.instances_billed, timeline.copies_desired),
        scenario.profile,
        arrivals=traffic.arrivals,
        min_copies=scenario.component.min_copies,
        max_copies=scenario.component.max_copies,
    )
    return {
        "policy": f"quickstep-{policy}",
        "trace": traffic.name,
        "scenario": scenario.name,
        "seed": seed,
        **{name: _rounded(value) for name, value in score.to_dict().items()},
        "time_to_alarm_s": timeline.time_to_alarm_s,
        "scaling_time_s": timeline.scaling_time_s,
        "target": {
            "per_copy": stage.target_per_copy,
            "min": scenario.component.min_copies,
            "max": scenario.component.max_copies,
            "mode": scenario.endpoint.mode,
            "instance_type": scenario.instance_type,
            "unit": "instances" if scenario.endpoint.mode == "variant" else "copies",
        },
        "timeline": timeline.rows,
        "decisions": timeline.decisions,
        "alarms": timeline.alarms,
        "events": timeline.events,
        "activities": timeline.activities,
        "notes": timeline.notes,
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 6)
    return int(value) if isinstance(value, np.integer) else value
