"""An emulated AWS account: the stack of a SAM template, deployed on a virtual clock.

What runs is what would be deployed: alarms, rules, roles, functions with their environment, and the state machine come
from the template. One choke point, `call`, carries every API call of every handler; tests and the chaos engine hang
their faults there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickstep import settings as product_settings
from quickstep import telemetry
from simulator.aws.alarms import Alarm, Transition
from simulator.aws.application_autoscaling import ApplicationAutoScalingService
from simulator.aws.asl import Execution, TaskError, TaskResult
from simulator.aws.cloudwatch import CloudWatchService
from simulator.aws.delivery import Deliverer, Target
from simulator.aws.dynamodb import DynamoDbService
from simulator.aws.eventbridge import EventBridgeService
from simulator.aws.iam import Roles
from simulator.aws.lambda_runtime import Function, Invocation, Outcome
from simulator.aws.lambdas import LambdaDelays, LambdaService
from simulator.aws.queues import Message, QueueService
from simulator.aws.sagemaker import SageMakerService
from simulator.aws.scheduler import SchedulerService
from simulator.aws.small_services import CloudFormationService, ServiceQuotasService, SnsService, StsService
from simulator.aws.stepfunctions import StepFunctionsService
from simulator.clock import EPOCH_S, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from simulator.template import Resource, load_stack
from simulator.wire import Wire

CONCURRENCY = ("ConcurrentRequestsPerCopy", "ConcurrentRequestsPerModel")


@dataclass(frozen=True)
class LogLine:
    """One line that a function wrote. `fields` is the line as JSON, None if it is not."""

    function: str
    at_s: float
    text: str
    fields: dict[str, Any] | None


@dataclass(frozen=True)
class Call:
    """One API call on its way: who makes it (a function's logical id, None outside handlers), and what."""

    function: str | None
    service: str
    operation: str
    params: dict[str, Any]


Interceptor = Callable[[Call, Callable[[], dict[str, Any]]], dict[str, Any]]
"""`interceptor(call, proceed)`: return `proceed()`, or raise, before or after it."""


class EmulatedAccount(AbstractContextManager["EmulatedAccount"]):
    """One account and region with one deployed stack. Use as a context manager; accounts may not overlap in time.

    `parameters` are the template's. `publish_delay_s` is how late CloudWatch shows SageMaker's metrics after the end of
    their period. `check_iam` refuses what the calling function's role does not allow.
    """

    def __init__(
        self,
        template: Path | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        start_s: float = EPOCH_S,
        seed: int = 0,
        stack_name: str = "quickstep",
        region: str = "eu-west-1",
        account_id: str = "111122223333",
        publish_delay_s: float = 10.0,
        check_iam: bool = True,
        validate_answers: bool = False,
        lambda_delays: LambdaDelays | None = None,
        sagemaker_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.stack = load_stack(
            template, parameters, stack_name=stack_name, region=region, account_id=account_id
        )
        self.clock = VirtualClock(start_s)
        self.interceptors: list[Interceptor] = []
        self.calls: Counter[tuple[str | None, str, str]] = Counter()
        self.logs: list[LogLine] = []
        self._concurrency: dict[str, list[tuple[float, float]]] = {}
        where = {"account_id": account_id, "region": region}
        self.cloudwatch = CloudWatchService(
            self.clock,
            emit_event=self._emit_event,
            run_action=self._run_alarm_action,
            seed=seed,
            # A period is visible that long after its end: exact here, so that runs can be compared.
            publish_delay_s=(publish_delay_s, publish_delay_s),
            **where,
        )
        self.deliverer = Deliverer(self.clock, self._deliver, self._deliver_dead_letter, seed=seed)
        self.eventbridge = EventBridgeService(self.clock, self.deliverer, **where)
        self.scheduler = SchedulerService(self.clock, self.deliverer, **where)
        self.queues = QueueService(self.clock, self.cloudwatch.publish, **where)
        self.dynamodb = DynamoDbService(**where)
        self.lambdas = LambdaService(
            self.clock,
            entered=self._enter_function,
            log=self._log,
            report=self.cloudwatch.publish,
            send=self._send_to_destination,
            seed=seed,
            delays=lambda_delays,
        )
        self.sagemaker = SageMakerService(
            self.clock, publish=self._publish, emit_event=self._emit_event, seed=seed, **where, **(sagemaker_options or {})
        )
        self.stepfunctions = StepFunctionsService(self.clock, self._invoke_task, self._emit_event, seed)
        self.autoscaling = ApplicationAutoScalingService(self.clock, **where)
        topics = [r.arn or "" for r in self.stack.of_type("AWS::SNS::Topic")]
        self.sns = SnsService(self.clock, topics)
        self.roles = Roles(self.stack, self._tags_of)
        self._check_iam = check_iam
        self._services: dict[str, Any] = {
            "application-autoscaling": self.autoscaling,
            "cloudformation": CloudFormationService(self.stack, start_s),
            "cloudwatch": self.cloudwatch,
            "dynamodb": self.dynamodb,
            "events": self.eventbridge,
            "lambda": self.lambdas,
            "sagemaker": self.sagemaker,
            "scheduler": self.scheduler,
            "service-quotas": ServiceQuotasService(self.sagemaker.world.quotas, **where),
            "sns": self.sns,
            "sqs": self.queues,
            "stepfunctions": self.stepfunctions,
            "sts": StsService(account_id, lambda: self._caller_arn()),
        }
        self._wire = Wire(self.call, region=region, validate_answers=validate_answers)
        self._deploy()

    # --- life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> EmulatedAccount:
        self._wire.__enter__()
        self._forget()
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the functions' environments away and give the process back."""
        self.lambdas.close()
        self._forget()
        self._wire.__exit__()

    def run_until(self, at_s: float) -> None:
        """Let everything happen up to `at_s`."""
        self.clock.run_until(at_s)

    def run_for(self, duration_s: float) -> None:
        """Let `duration_s` seconds pass."""
        self.clock.run_until(self.clock.now_s + duration_s)

    @staticmethod
    def _forget() -> None:
        product_settings.forget()
        telemetry.forget()

    # --- calls -----------------------------------------------------------------------------------------------------

    def call(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Carry out one API call, as the function that is running now or as the account's owner.

        Raises ServiceError for a refusal, NotEmulated for what is not there.
        """
        if service not in self._services:
            raise NotEmulated(f"{service} {operation}: the service is not emulated")
        invocation = self.lambdas.current
        function = invocation.function.logical_id if invocation is not None else None
        self.calls[function, service, operation] += 1
        call = Call(function, service, operation, params)

        def carry_out(index: int = 0) -> dict[str, Any]:
            if index < len(self.interceptors):
                return self.interceptors[index](call, lambda: carry_out(index + 1))
            if invocation is not None and self._check_iam:
                role = invocation.function.role_arn
                self.roles.check(role, invocation.function.name, service, operation, params)
            return self._services[service].call(operation, params)

        return carry_out()

    def invoke(self, logical_id: str, payload: Any) -> Outcome:
        """Invoke a function of the stack now and return its outcome; time passes as far as it takes."""
        done: list[Outcome] = []
        self.lambdas.invoke(self.stack[logical_id].name, payload, done.append)
        while not done:
            next_s = self.clock.next_at_s()
            assert next_s is not None
            self.clock.run_until(next_s)
        return done[0]

    # --- what a run left behind ------------------------------------------------------------------------------------

    @property
    def dead_letters(self) -> list[Message]:
        """Messages in the stack's queues, in the order they came."""
        found = [m for queue in self.queues.queues.values() for m in queue.messages]
        return sorted(found, key=lambda m: (m.sent_s, m.id))

    def alarm_transitions(self) -> list[Transition]:
        """Every change of state of every alarm, in order."""
        return list(self.cloudwatch.alarms.transitions)

    def executions(self) -> list[Execution]:
        """Every execution of every state machine, in order of their start."""
        found = [
            self.stepfunctions.execution(row["executionArn"])
            for machine in self.stack.of_type("AWS::StepFunctions::StateMachine")
            for row in self._all_executions(machine.arn or "")
        ]
        return sorted(found, key=lambda e: (e.start_s, e.identity.name))

    def concurrency_history(self, resource_id: str) -> list[tuple[float, float]]:
        """(start of the period, mean requests in flight per copy or instance) as SageMaker published it."""
        return self._concurrency.get(resource_id, [])

    def registry_documents(self, pk_prefix: str) -> Iterator[str]:
        """Documents of the registry table whose partition key begins with `pk_prefix`."""
        for table in self.stack.of_type("AWS::DynamoDB::Table"):
            start: dict[str, Any] = {}
            while True:
                answer = self.dynamodb.call("Scan", {"TableName": table.name, **start})
                for item in answer["Items"]:
                    if item["pk"]["S"].startswith(pk_prefix) and "doc" in item:
                        yield item["doc"]["S"]
                if "LastEvaluatedKey" not in answer:
                    break
                start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _all_executions(self, machine_arn: str) -> Iterator[dict[str, Any]]:
        token: dict[str, Any] = {}
        while True:
            answer = self.stepfunctions.call("ListExecutions", {"stateMachineArn": machine_arn, **token})
            yield from answer["executions"]
            if "nextToken" not in answer:
                return
            token = {"nextToken": answer["nextToken"]}

    # --- deployment ------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        for resource in self.stack.of_type("AWS::DynamoDB::Table"):
            self.dynamodb.create_from_template(resource.name, resource.properties)
        for resource in self.stack.of_type("AWS::SQS::Queue"):
            self.queues.create(resource.name, resource.properties)
        if self.queues.queues:
            self.queues.start_reporting()
        for resource in self.stack.of_type("AWS::Lambda::Function"):
            self.lambdas.add(self._function(resource))
        for resource in self.stack.of_type("AWS::StepFunctions::StateMachine"):
            self.stepfunctions.create_state_machine(
                resource.arn or "", resource.name, resource.properties["Definition"], resource.properties["RoleArn"]
            )
        for resource in self.stack.of_type("AWS::Events::EventBus"):
            self.eventbridge.create_bus(resource.name)
        for resource in self.stack.of_type("AWS::Events::Rule"):
            self._rule(resource)
        for resource in self.stack.of_type("AWS::Scheduler::Schedule"):
            properties = {k: v for k, v in resource.properties.items() if k != "Name"}
            self.scheduler.call("CreateSchedule", {"Name": resource.name, **properties})
        for resource in self.stack.of_type("AWS::CloudWatch::Alarm"):
            self.cloudwatch.call("PutMetricAlarm", _alarm_request(resource))
        for resource in self.stack.of_type("AWS::CloudWatch::CompositeAlarm"):
            self.cloudwatch.call("PutCompositeAlarm", {**resource.properties, "AlarmName": resource.name})

    def _function(self, resource: Resource) -> Function:
        p = resource.properties
        layers = [self._layer_dir(ref) for ref in p.get("Layers", [])]
        invoke = next(
            (
                c.properties
                for c in self.stack.of_type("AWS::Lambda::EventInvokeConfig")
                if c.properties["FunctionName"] in (resource.name, resource.arn)
            ),
            {},
        )
        destinations = invoke.get("DestinationConfig", {})
        assert resource.code_dir is not None and resource.arn is not None
        return Function(
            logical_id=resource.logical_id,
            name=resource.name,
            arn=resource.arn,
            handler=p["Handler"],
            code_dir=resource.code_dir,
            layer_dirs=tuple(d for d in layers if d is not None),
            environment={k: str(v) for k, v in p.get("Environment", {}).get("Variables", {}).items()},
            role_arn=p["Role"],
            timeout_s=float(p.get("Timeout", 3)),
            memory_mb=int(p.get("MemorySize", 128)),
            reserved_concurrency=_whole(p.get("ReservedConcurrentExecutions")),
            dead_letter_arn=p.get("DeadLetterConfig", {}).get("TargetArn"),
            async_retries=int(invoke.get("MaximumRetryAttempts", 2)),
            async_max_age_s=float(invoke.get("MaximumEventAgeInSeconds", 21_600)),
            on_failure_arn=destinations.get("OnFailure", {}).get("Destination"),
            on_success_arn=destinations.get("OnSuccess", {}).get("Destination"),
            description=p.get("Description", ""),
        )

    def _layer_dir(self, ref: str) -> Path | None:
        found = [r for r in self.stack.of_type("AWS::Lambda::LayerVersion") if ref in (r.ref, r.arn)]
        return found[0].code_dir if found else None

    def _rule(self, resource: Resource) -> None:
        p = resource.properties
        request: dict[str, Any] = {"Name": resource.name, "State": p.get("State", "ENABLED")}
        if "EventBusName" in p:
            request["EventBusName"] = p["EventBusName"]
        if "EventPattern" in p:
            request["EventPattern"] = json.dumps(p["EventPattern"])
        if "ScheduleExpression" in p:
            request["ScheduleExpression"] = p["ScheduleExpression"]
        self.eventbridge.call("PutRule", request)
        targets = {"Rule": resource.name, "Targets": list(p.get("Targets", []))}
        if "EventBusName" in p:
            targets["EventBusName"] = p["EventBusName"]
        self.eventbridge.call("PutTargets", targets)

    # --- between the services --------------------------------------------------------------------------------------

    def _publish(self, namespace: str, metric: str, dimensions: Mapping[str, str], at_s: float, **values: Any) -> None:
        self.cloudwatch.publish(namespace, metric, dimensions, at_s, **values)
        if metric in CONCURRENCY and values["samples"] and len(dimensions) <= 2:
            component = dimensions.get("InferenceComponentName")
            if component is not None:
                name = f"inference-component/{component}"
            else:
                name = f"endpoint/{dimensions['EndpointName']}/variant/{dimensions['VariantName']}"
            self._concurrency.setdefault(name, []).append((at_s, values["total"] / values["samples"]))

    def _emit_event(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        self.eventbridge.emit(source, detail_type, detail, resources)

    def _run_alarm_action(self, action_arn: str, alarm: Alarm, previous: dict[str, Any]) -> None:
        if ":sns:" in action_arn:
            self.sns.publish(action_arn, json.dumps(self.cloudwatch.alarms.action_payload(alarm, previous)), alarm.name)
        elif ":lambda:" in action_arn:
            self.lambdas.invoke_async(action_arn, self.cloudwatch.alarms.action_payload(alarm, previous))
        else:
            raise NotEmulated(f"alarm action {action_arn}")

    def _deliver(self, target: Target, source_arn: str, payload: Any) -> None:
        if ":lambda:" in target.arn:
            name = self.lambdas.function(target.arn).name
            if not self.roles.function_accepts(name, target.service, source_arn):
                raise ServiceError("AccessDeniedException", f"{source_arn} may not invoke {name}", 403)
            self.lambdas.invoke_async(name, payload)
        elif ":sqs:" in target.arn:
            self.queues.send(target.arn, json.dumps(payload), {})
        elif ":stateMachine:" in target.arn:
            request = {"stateMachineArn": target.arn, "input": json.dumps(payload)}
            self.stepfunctions.call("StartExecution", request)
        elif ":event-bus/" in target.arn:
            self.eventbridge.receive(target.arn.rsplit("/", 1)[-1], payload)
        else:
            raise NotEmulated(f"event target {target.arn}")

    def _deliver_dead_letter(self, target: Target, source_arn: str, body: str, attributes: Mapping[str, str]) -> None:
        assert target.dead_letter_arn is not None
        if not self.roles.queue_accepts(target.dead_letter_arn, target.service, source_arn):
            raise ServiceError("AccessDenied", f"{source_arn} may not send to {target.dead_letter_arn}", 403)
        self.queues.send(target.dead_letter_arn, body, attributes)

    def _send_to_destination(self, arn: str, owner: Function, payload: Any, attributes: Mapping[str, str]) -> None:
        if ":sqs:" not in arn:
            raise NotEmulated(f"Lambda destination {arn}")
        if self._check_iam:
            queue = self.queues.by_arn(arn)
            params = {"QueueUrl": queue.url, "MessageBody": ""}
            self.roles.check(owner.role_arn, owner.name, "sqs", "SendMessage", params)
        self.queues.send(arn, json.dumps(payload), attributes)

    def _invoke_task(self, function: str, payload: Any, on_done: Callable[[TaskResult | TaskError], None]) -> None:
        def done(outcome: Outcome) -> None:
            on_done(TaskResult(outcome.payload) if outcome.error is None else TaskError.of_function(outcome.error))

        try:
            self.lambdas.invoke(function, payload, done)
        except ServiceError as refused:
            on_done(TaskError(f"Lambda.{refused.code}", refused.message))

    @contextmanager
    def _enter_function(self, invocation: Invocation) -> Iterator[None]:
        yield

    def _log(self, function: Function, at_s: float, text: str) -> None:
        fields = None
        if text.startswith("{"):
            try:
                fields = json.loads(text)
            except json.JSONDecodeError:
                fields = None
        self.logs.append(LogLine(function.logical_id, at_s, text, fields))

    def _tags_of(self, arn: str) -> Mapping[str, str] | None:
        if ":sagemaker:" in arn:
            return self.sagemaker.world.tags.get(arn)
        if ":cloudwatch:" in arn:
            return self.cloudwatch.tags_of(arn)
        return None

    def _caller_arn(self) -> str:
        invocation = self.lambdas.current
        return invocation.function.role_arn if invocation is not None else f"arn:aws:iam::{self.stack.account_id}:root"


def _alarm_request(resource: Resource) -> dict[str, Any]:
    """PutMetricAlarm's parameters from an AWS::CloudWatch::Alarm: numbers are text in a template."""
    request = {k: v for k, v in resource.properties.items() if k != "Tags"}
    request["AlarmName"] = resource.name
    for name in ("Period", "EvaluationPeriods", "DatapointsToAlarm"):
        if name in request:
            request[name] = int(request[name])
    if "Threshold" in request:
        request["Threshold"] = float(request["Threshold"])
    return request


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
