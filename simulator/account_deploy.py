"""Put a stack's resources into the emulated services, as CloudFormation would with the same properties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.model import Shape

from simulator.aws.lambda_runtime import Function
from simulator.not_emulated import NotEmulated
from simulator.template import Resource, Stack, TemplateError

if TYPE_CHECKING:
    from simulator.account import EmulatedAccount


def deploy(account: EmulatedAccount, stack: Stack, *, prefix: str = "") -> None:
    """Create every resource of `stack` that is emulated. Alarms come first: no rule hears of their creation.

    `prefix` stands before the logical ids of its functions where calls are counted and logs kept.
    """
    for resource in (*stack.of_type("AWS::CloudWatch::Alarm"), *stack.of_type("AWS::CloudWatch::CompositeAlarm")):
        operation = "PutMetricAlarm" if resource.type.endswith("::Alarm") else "PutCompositeAlarm"
        properties = {**resource.properties, "AlarmName": resource.name}
        account.cloudwatch.call(operation, as_request("cloudwatch", operation, properties, resource))
    for table in stack.of_type("AWS::DynamoDB::Table"):
        account.dynamodb.create_from_template(table.name, typed_table(table))
    for queue in stack.of_type("AWS::SQS::Queue"):
        account.queues.create(queue.name, {key: value for key, value in queue.properties.items() if key != "QueueName"})
    if account.queues.queues:
        account.queues.start_reporting()
    for function in functions_of(stack):
        account.lambdas.add(replace(function, logical_id=prefix + function.logical_id))
    for machine in stack.of_type("AWS::StepFunctions::StateMachine"):
        account.stepfunctions.create_state_machine(
            machine.arn, machine.name, machine.properties["Definition"], machine.properties["RoleArn"]
        )
    for bus in stack.of_type("AWS::Events::EventBus"):
        account.eventbridge.create_bus(bus.name)
    for rule in stack.of_type("AWS::Events::Rule"):
        _rule(account, rule)
    for group in stack.of_type("AWS::Scheduler::ScheduleGroup"):
        account.scheduler.call("CreateScheduleGroup", {"Name": group.name})
    for schedule in stack.of_type("AWS::Scheduler::Schedule"):
        properties = {**schedule.properties, "Name": schedule.name}
        account.scheduler.call("CreateSchedule", as_request("scheduler", "CreateSchedule", properties, schedule))
    for parameter in stack.of_type("AWS::SSM::Parameter"):
        properties = {key: parameter.properties[key] for key in ("Type", "Value") if key in parameter.properties}
        account.services["ssm"].call("PutParameter", {**properties, "Name": parameter.name})


def functions_of(stack: Stack) -> list[Function]:
    """The stack's functions, with what their asynchronous invocation does."""
    layers = {layer.ref: layer.code_dir for layer in stack.of_type("AWS::Lambda::LayerVersion")}
    invoke_configs = {
        str(one.properties["FunctionName"]).rsplit(":", 1)[-1]: one.properties
        for one in stack.of_type("AWS::Lambda::EventInvokeConfig")
    }
    return [
        _function(resource, layers, invoke_configs.get(resource.name, {}))
        for resource in stack.of_type("AWS::Lambda::Function")
    ]


def _function(resource: Resource, layers: Mapping[str, Any], invoke: Mapping[str, Any]) -> Function:
    properties = resource.properties
    if resource.code_dir is None:
        raise NotEmulated(f"{resource.logical_id} has no local CodeUri; its code cannot be run here")
    destinations = invoke.get("DestinationConfig", {})
    reserved = properties.get("ReservedConcurrentExecutions")
    return Function(
        logical_id=resource.logical_id,
        name=resource.name,
        arn=resource.arn or "",
        handler=properties["Handler"],
        code_dir=resource.code_dir,
        layer_dirs=tuple(layers[arn] for arn in properties.get("Layers", []) if layers.get(arn) is not None),
        environment={
            name: _text(value) for name, value in properties.get("Environment", {}).get("Variables", {}).items()
        },
        role_arn=properties["Role"],
        timeout_s=float(properties.get("Timeout", 3)),
        memory_mb=int(properties.get("MemorySize", 128)),
        reserved_concurrency=None if reserved is None else int(reserved),
        dead_letter_arn=properties.get("DeadLetterConfig", {}).get("TargetArn"),
        async_retries=int(invoke.get("MaximumRetryAttempts", 2)),
        async_max_age_s=float(invoke.get("MaximumEventAgeInSeconds", 21_600)),
        on_failure_arn=destinations.get("OnFailure", {}).get("Destination"),
        on_success_arn=destinations.get("OnSuccess", {}).get("Destination"),
        description=properties.get("Description", ""),
        tags={tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])},
    )


def _rule(account: EmulatedAccount, resource: Resource) -> None:
    properties = {**resource.properties, "Name": resource.name}
    targets = properties.pop("Targets", [])
    if "EventPattern" in properties:
        properties["EventPattern"] = json.dumps(properties["EventPattern"])
    request = as_request("events", "PutRule", properties, resource)
    account.eventbridge.call("PutRule", request)
    if targets:
        bus = {"EventBusName": request["EventBusName"]} if "EventBusName" in request else {}
        body = {"Rule": resource.name, "Targets": targets, **bus}
        account.eventbridge.call("PutTargets", as_request("events", "PutTargets", body, resource))


def as_request(service: str, operation: str, properties: Mapping[str, Any], resource: Resource) -> dict[str, Any]:
    """Properties of a resource as the parameters of the API operation that makes it, texts turned into numbers.

    Raises TemplateError for a property that the operation does not have.
    """
    shape = _model(service).operation_model(operation).input_shape
    return _typed(properties, shape, f"{resource.logical_id} ({resource.type})")


def typed_table(table: Resource) -> dict[str, Any]:
    """A table's properties with numbers where CreateTable wants numbers."""
    extras = (
        "TimeToLiveSpecification",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "DeletionProtectionEnabled",
    )
    shape = _model("dynamodb").operation_model("CreateTable").input_shape
    plain = {key: value for key, value in table.properties.items() if key not in extras}
    typed = _typed(plain, shape, f"{table.logical_id} ({table.type})")
    return typed | {key: table.properties[key] for key in extras if key in table.properties}


def _typed(value: Any, shape: Shape, where: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        unknown = sorted(set(value) - set(shape.members))
        if unknown:
            raise TemplateError(f"{where}: property {unknown[0]} is not emulated")
        return {key: _typed(one, shape.members[key], where) for key, one in value.items()}
    if kind == "list":
        return [_typed(one, shape.member, where) for one in value]
    if kind == "map":
        return {key: _typed(one, shape.value, where) for key, one in value.items()}
    if kind in ("integer", "long"):
        return int(value)
    if kind in ("float", "double"):
        return float(value)
    if kind == "boolean":
        return _text(value) == "true"
    if kind == "timestamp":
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)
