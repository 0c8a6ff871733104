"""An account for tests of the API: two endpoints with components, a single-model variant, and the deployed functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.validate import ParamValidator

from quickstep.control.api import handle
from quickstep.control.context import ControlContext, Limits
from quickstep.control.refusals import ControlRefusal
from quickstep.gateways import autoscaling_model
from quickstep.settings import Settings
from simulator.account import EmulatedAccount
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
COPIES, INSTANCES = "sagemaker:inference-component:DesiredCopyCount", "sagemaker:variant:DesiredInstanceCount"
COMPONENTS = ("chat", "summary", "search")


def component(name: str = "chat") -> dict[str, str]:
    """The three members that name a component as a scalable target."""
    return {"ServiceNamespace": "sagemaker", "ResourceId": f"inference-component/{name}", "ScalableDimension": COPIES}


VARIANT = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/single/variant/All", "ScalableDimension": INSTANCES}
TRACKING = {
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
        },
    },
}
STEPS = {
    "PolicyType": "StepScaling",
    "StepScalingPolicyConfiguration": {
        "AdjustmentType": "ChangeInCapacity",
        "MetricAggregationType": "Maximum",
        "Cooldown": 60,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    },
}


@dataclass(frozen=True)
class ControlStage:
    """The account, and the API called in this process as the account's owner."""

    account: EmulatedAccount
    settings: Settings

    def call(self, operation: str, *, limits: Limits | None = None, owner: str | None = None, **params: Any) -> dict:
        """Carry out one operation; its answer is held against the model's output shape."""
        context = ControlContext(self.settings, "test", owner, limits or Limits())
        answer = handle(operation, params, context=context)
        json.dumps(answer, allow_nan=False)
        report = ParamValidator().validate(answer, output_shape(operation))
        assert not report.has_errors(), report.generate_report()
        return answer

    def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        """(code, message) of the refusal that an operation ends in."""
        try:
            answer = self.call(operation, **params)
        except ControlRefusal as refusal:
            return refusal.code, str(refusal)
        raise AssertionError(f"{operation} was not refused: {answer}")

    def items(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """Everything in the registry table, by key."""
        table = self.settings.table_name
        found = self.account.call("dynamodb", "Scan", {"TableName": table})["Items"]
        return {(one["pk"]["S"], one["sk"]["S"]): one for one in found}

    def alarms(self) -> dict[str, Mapping[str, Any]]:
        """The alarms that the API made: PutMetricAlarm's parameters by name."""
        own = {one.properties["AlarmName"] for one in self.account.stack.of_type("AWS::CloudWatch::Alarm")}
        book = self.account.cloudwatch.alarms.alarms
        return {name: alarm.parameters for name, alarm in sorted(book.items()) if name not in own}

    def schedules(self) -> list[str]:
        return sorted(name for _, name in self.account.scheduler.schedules)

    def tags(self, arn: str) -> dict[str, str]:
        return {
            one["Key"]: one["Value"] for one in self.account.call("sagemaker", "ListTags", {"ResourceArn": arn})["Tags"]
        }

    def copies(self, name: str) -> int:
        """Copies that SageMaker was asked for."""
        return self.account.sagemaker.supply_at(f"inference-component/{name}", self.account.clock.now_s).desired_copies

    def clear(self) -> None:
        """Take away everything that a test left: registrations with all that is theirs, alarms, claims of others."""
        for target in (*map(component, COMPONENTS), VARIANT):
            if self.call("DescribeScalableTargets", ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
                "ScalableTargets"
            ]:
                self.call("DeregisterScalableTarget", **target)
        for name in self.alarms():
            self.account.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [name]})
        self.account.autoscaling.targets.clear()
        for item in self.items().values():
            key = {name: item[name] for name in ("pk", "sk")}
            self.account.call("dynamodb", "DeleteItem", {"TableName": self.settings.table_name, "Key": key})


def output_shape(operation: str) -> Any:
    return autoscaling_model.service().operation_model(operation).output_shape


@contextmanager
def control_stage(**options: Any) -> Iterator[ControlStage]:
    """The deployed stack. Its parameters name the component `main` beside three others; it is registered by Reconcile."""
    parameters = {"EndpointName": "llm", "InferenceComponentName": "main", **options.pop("parameters", {})}
    with EmulatedAccount(TEMPLATE, parameters, validate_answers=True, **options) as account:
        variant = VariantSpec("ml.g5.2xlarge", 8, name="AllTraffic")
        names = ("main", *COMPONENTS)
        specs = tuple(ComponentSpec(name, 1, accelerators=1, memory_mb=1024, variant="AllTraffic") for name in names)
        account.sagemaker.scenario_endpoint(EndpointSpec("llm", (variant,), specs))
        single = VariantSpec("ml.g5.2xlarge", 1, name="All", model="one")
        account.sagemaker.scenario_endpoint(EndpointSpec("single", (single,), ()))
        variables = account.stack["ControlFunction"].properties["Environment"]["Variables"]
        yield ControlStage(account, Settings.from_environment({name: str(value) for name, value in variables.items()}))
