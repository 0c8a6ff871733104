"""An emulated SageMaker for tests: every request and every answer is held against botocore's service model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from simulator.aws.sagemaker import SageMakerService
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, ManagedSpec, VariantSpec
from simulator.clock import EPOCH_S, RANK_PHYSICS, VirtualClock
from simulator.errors import ServiceError

MODEL = botocore.session.get_session().get_service_model("sagemaker")
ROLE = "arn:aws:iam::123456789012:role/endpoint"
ENDPOINT_ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/chat"
COMPONENT_ARN = "arn:aws:sagemaker:us-east-1:123456789012:inference-component/llm"


class Account:
    """One account on a clock of its own. Keywords go to SageMakerService."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.datapoints: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.seen_operations: set[str] = set()
        self.service = SageMakerService(self.clock, publish=self._publish, emit_event=self._emit, **settings)

    @property
    def t(self) -> float:
        """Seconds since the start of the run."""
        return self.clock.now_s - EPOCH_S

    def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        """The call as boto3 would make it; the answer must have the shape that the model gives it."""
        self.seen_operations.add(operation)
        shapes = MODEL.operation_model(operation)
        _conform(params, shapes.input_shape)
        answer = self.service.call(operation, params)
        if shapes.output_shape is None:
            assert answer == {}
        else:
            _conform(answer, shapes.output_shape)
        return answer

    def refusal(self, operation: str, /, **params: Any) -> tuple[str, str]:
        """Code and message of the refusal that the call must meet."""
        with pytest.raises(ServiceError) as refused:
            self.call(operation, **params)
        return refused.value.code, refused.value.message

    def run(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now_s + seconds)

    def at(self, t: float, action: Callable[[], Any]) -> None:
        """Do something `t` seconds after the start of the run."""
        self.clock.at(EPOCH_S + t, action, rank=RANK_PHYSICS)

    def wait(self, condition: Callable[[], bool], limit_s: float = 4000.0) -> float:
        """Run until `condition` holds, second by second, and return how long that took."""
        start_s = self.clock.now_s
        while not condition():
            assert self.clock.now_s - start_s < limit_s, "it never came to that"
            self.run(1.0)
        return self.clock.now_s - start_s

    # Shorthands for one endpoint "chat" and one component "llm"

    def chat(
        self,
        instances: int = 2,
        copies: int = 2,
        *,
        managed: ManagedSpec | None = None,
        instance_type: str = "ml.g5.12xlarge",
        accelerators: int = 4,
        **component: Any,
    ) -> Account:
        """An endpoint with one component; by default each copy takes a whole instance."""
        self.service.scenario_endpoint(
            EndpointSpec(
                "chat",
                (VariantSpec(instance_type, instances, managed=managed),),
                (ComponentSpec("llm", copies, accelerators, **component),),
            )
        )
        return self

    def endpoint(self) -> dict[str, Any]:
        return self.call("DescribeEndpoint", EndpointName="chat")

    def variant(self) -> dict[str, Any]:
        return self.endpoint()["ProductionVariants"][0]

    def component(self, name: str = "llm") -> dict[str, Any]:
        return self.call("DescribeInferenceComponent", InferenceComponentName=name)

    def instances(self) -> tuple[int, int]:
        """(desired, current) instances."""
        variant = self.variant()
        return variant["DesiredInstanceCount"], variant["CurrentInstanceCount"]

    def copies(self, name: str = "llm") -> tuple[int, int]:
        """(desired, current) copies."""
        runtime = self.component(name)["RuntimeConfig"]
        return runtime["DesiredCopyCount"], runtime["CurrentCopyCount"]

    def set_instances(self, count: int) -> dict[str, Any]:
        wishes = [{"VariantName": "AllTraffic", "DesiredInstanceCount": count}]
        return self.call("UpdateEndpointWeightsAndCapacities", EndpointName="chat", DesiredWeightsAndCapacities=wishes)

    def set_copies(self, count: int, name: str = "llm") -> dict[str, Any]:
        wish = {"CopyCount": count}
        return self.call(
            "UpdateInferenceComponentRuntimeConfig", InferenceComponentName=name, DesiredRuntimeConfig=wish
        )

    def settled(self) -> bool:
        """Endpoint and component are InService."""
        return (
            self.endpoint()["EndpointStatus"] == "InService"
            and self.component()["InferenceComponentStatus"] == "InService"
        )

    def series(self, metric: str) -> list[dict[str, Any]]:
        return [point for point in self.datapoints if point["metric"] == metric]

    def _publish(self, namespace: str, metric: str, dimensions: dict[str, str], at_s: float, **values: Any) -> None:
        assert at_s % values["period_s"] == 0, "periods are aligned"
        assert at_s + values["period_s"] == self.clock.now_s, "a period is published when it ends"
        self.datapoints.append(
            {"namespace": namespace, "metric": metric, "dimensions": dimensions, "t": at_s - EPOCH_S, **values}
        )

    def _emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        self.events.append(
            {"t": self.t, "source": source, "detail-type": detail_type, "detail": detail, "resources": resources}
        )


def _conform(value: Any, shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    _check_enums(value, shape, shape.name)


def _check_enums(value: Any, shape: Any, where: str) -> None:
    """What ParamValidator leaves out: words that must be one of a list."""
    if shape.type_name == "structure":
        for key, member in value.items():
            _check_enums(member, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list":
        for member in value:
            _check_enums(member, shape.member, f"{where}[]")
    elif shape.type_name == "string" and shape.enum:
        assert value in shape.enum, f"{where}: {value!r}"
