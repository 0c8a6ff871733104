"""What is deployed: the scalable target and the alarms that `template.yaml` makes of its parameters, defaults included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from quickstep.model.targets import ScalableTarget
from quickstep.settings import Settings
from simulator.aws.alarm_evaluation import AlarmRule
from simulator.template import load_stack

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
ENDPOINT, COMPONENT, VARIANT = "bench", "bench", "AllTraffic"
LOW_SHARE = 0.9
"""Low alarm's threshold as a share of the target, as the template's default is and as Application Auto Scaling has it."""

SLO_TARGETS = (95.0, 98.0, 99.0, 99.5)
"""Positions of the public dial `SloTarget`, in per cent of requests within their SLO: the same four on every trace."""
TARGET_SHARE = 0.7
"""The target per copy as a share of C*, as `quickstep simulate` recommends it; the dial is a parameter of its own."""


@dataclass(frozen=True)
class DeployedAlarm:
    """One alarm of the template: how it is evaluated, and on which statistic."""

    name: str
    rule: AlarmRule
    period_s: int
    statistic: str

    @property
    def above(self) -> bool:
        return self.rule.comparison.startswith("Greater")


@dataclass(frozen=True)
class Deployed:
    target: ScalableTarget
    scaling_enabled: bool
    high: DeployedAlarm
    low: DeployedAlarm
    wake: DeployedAlarm


@cache
def deployed(
    target_per_copy: float,
    *,
    min_copies: int,
    max_copies: int,
    slo_target: float = 98.0,
    overrides: tuple[tuple[str, str], ...] = (),
    template: Path = TEMPLATE,
) -> Deployed:
    """The default target of a stack with these parameters; `overrides` are further template parameters by name.

    Alarm thresholds follow the target as the template's descriptions say: high at it, low at 0.9 of it. Raises
    TemplateError or InvalidSettings as a deployment would, also for a position that the dial `slo_target` has not.
    """
    target = f"{target_per_copy:g}"
    stack = load_stack(
        template,
        {
            "EndpointName": ENDPOINT,
            "InferenceComponentName": COMPONENT,
            "VariantName": VARIANT,
            "MinCapacity": str(min_copies),
            "MaxCapacity": str(max_copies),
            "TargetConcurrentRequestsPerCopy": target,
            "SloTarget": f"{slo_target:g}",
            "HighAlarmThresholdConcurrentRequests": target,
            "LowAlarmThresholdConcurrentRequests": f"{LOW_SHARE * float(target):g}",
            **dict(overrides),
        },
    )
    environment = stack["OnAlarmFunction"].properties["Environment"]["Variables"]
    settings = Settings.from_environment({key: str(value) for key, value in environment.items()})
    found = settings.default_target()
    assert found is not None
    alarms = (_alarm(stack[logical_id].properties) for logical_id in ("HighAlarm", "LowAlarm", "WakeAlarm"))
    return Deployed(found, settings.scaling_enabled, *alarms)


def _alarm(properties: Mapping[str, object]) -> DeployedAlarm:
    rule = AlarmRule(
        evaluation_periods=int(str(properties["EvaluationPeriods"])),
        datapoints_to_alarm=int(str(properties["DatapointsToAlarm"])),
        threshold=float(str(properties["Threshold"])),
        comparison=str(properties["ComparisonOperator"]),
        treat_missing_data=str(properties["TreatMissingData"]),
    )
    return DeployedAlarm(
        str(properties["AlarmName"]), rule, int(str(properties["Period"])), str(properties["Statistic"])
    )
