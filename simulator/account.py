"""The emulated AWS account: the deployed template, its functions and every service they use, on one virtual clock.

    with EmulatedAccount("template.yaml", {"EndpointName": "chat"}) as account:
        account.sagemaker.scenario_endpoint(…)
        account.run_for(3600)

What runs is what would be deployed: alarms, rules, roles, functions with their environment, and the state machine come
from the template. Every call passes one point, `EmulatedAccount.call`: the handlers' through `Wire`, and a test's own.
There calls are counted, IAM is asked, and `interceptors` may make them slow, lost, repeated or refused. The same template,
parameters and seed give the same run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from quickstep import settings as product_settings
from quickstep import telemetry
from simulator.account_call import Call, Interceptor, NoAnswer, Proceed
from simulator.account_deploy import deploy
from simulator.account_logs import FunctionLogs, LogLine
from simulator.account_routes import Routes
from simulator.aws.alarms import Transition, default_extra_periods
from simulator.aws.application_autoscaling import ApplicationAutoScalingService
from simulator.aws.asl import Execution
from simulator.aws.cloudwatch import CloudWatchService
from simulator.aws.delivery import Deliverer
from simulator.aws.dynamodb import DynamoDbService
from simulator.aws.eventbridge import EventBridgeService
from simulator.aws.iam import Roles
from simulator.aws.lambda_runtime import Invocation, Outcome
from simulator.aws.lambdas import LambdaDelays, LambdaService
from simulator.aws.moto_services import MotoService
from simulator.aws.queues import Message, QueueService
from simulator.aws.sagemaker import FOREIGN, PRODUCT, SageMakerService
from simulator.aws.scheduler import SchedulerService
from simulator.aws.small_services import CloudFormationService, ServiceQuotasService, SnsService, StsService
from simulator.aws.stepfunctions import StepFunctionsService
from simulator.clock import EPOCH_S, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import EmulationFailed, NotEmulated
from simulator.template import Resource, Stack, load_stack
from simulator.template_names import token
from simulator.wire import Wire

__all__ = ["AccountDelays", "Call", "EmulatedAccount", "Interceptor", "LogLine", "NoAnswer"]

CONCURRENCY = ("ConcurrentRequestsPerCopy", "ConcurrentRequestsPerModel")
MOTO_SERVICES = ("logs", "secretsmanager", "ssm", "xray")


@dataclass(frozen=True)
class AccountDelays:
    """How slow the account is, in seconds; pairs are ranges that are drawn from, seeded.

    `alarm_offset` from a full 10 s or minute to an alarm's look at it; `delivery` from an event to its target; `call` one
    AWS call of a function; `schedule_precision` the most that a schedule fires late (EventBridge Scheduler promises 60).
    """

    alarm_offset_s: tuple[float, float] = (0.2, 1.2)
    delivery_s: tuple[float, float] = (0.1, 0.6)
    call_s: float = 0.0
    schedule_precision_s: float = 0.0


class EmulatedAccount(AbstractContextManager["EmulatedAccount"]):
    """One account and region with one deployed stack. As a context manager it also answers boto3 used inside.

    `parameters` are the template's. `publish_delay_s` is how late CloudWatch shows a metric after the end of its period:
    one number, or a range that is drawn from. `sagemaker_options` go to SageMakerService. `check_iam` refuses what the
    calling function's role does not allow; `validate_answers` holds each answer against botocore's model; `sdk_retries`
    repeats transient refusals as the client is configured; `extra_periods` is CloudWatch's undocumented part of an alarm's
    evaluation range (see `aws.alarms`). Raises TemplateError for what CloudFormation would refuse.
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
        publish_delay_s: float | tuple[float, float] = 10.0,
        delays: AccountDelays | None = None,
        lambda_delays: LambdaDelays | None = None,
        sagemaker_options: Mapping[str, Any] | None = None,
        check_iam: bool = True,
        validate_answers: bool = False,
        sdk_retries: bool = True,
        extra_periods: Callable[[int], int] = default_extra_periods,
    ) -> None:
        self.stack = load_stack(template, parameters, stack_name=stack_name, region=region, account_id=account_id)
        self.stacks = [self.stack]
        """Every deployed stack; `stack` is the first."""
        self.clock = VirtualClock(start_s)
        self.seed = seed
        self.delays = delays or AccountDelays()
        self.check_iam, self.validate_answers, self.sdk_retries = check_iam, validate_answers, sdk_retries
        self.interceptors: list[Interceptor] = []
        self.calls: Counter[tuple[str | None, str, str]] = Counter()
        """(function's logical id or None, service, operation) -> how often."""
        self._logs = FunctionLogs(self._count)
        self.logs = self._logs.lines
        self.lost: list[str] = []
        """What AWS would lose without a trace: destinations and alarm actions that were refused."""
        self._numbers = 0
        self._concurrency: dict[str, list[tuple[float, float]]] = {}
        self._last_environment: Mapping[str, str] | None = None
        self._machine_roles: dict[str, list[str]] = {}
        self.routes = Routes(self)
        self.roles = Roles(self.stack, self.tags_of)
        publish_s = publish_delay_s if isinstance(publish_delay_s, tuple) else (publish_delay_s, publish_delay_s)
        self._make_services(publish_s, extra_periods, lambda_delays, dict(sagemaker_options or {}))
        self.wire = Wire(self)
        deploy(self, self.stack)

    def deploy_beside(self, template: Path | str, parameters: Mapping[str, Any], *, stack_name: str) -> Stack:
        """Deploy one more stack into the account; its functions are called `<stack>/<logical id>` in `calls` and `logs`."""
        first = self.stack
        other = load_stack(
            template, parameters, stack_name=stack_name, region=first.region, account_id=first.account_id
        )
        self.stacks.append(other)
        self.roles.add(other)
        deploy(self, other, prefix=f"{stack_name}/")
        return other

    def _make_services(
        self,
        publish_s: tuple[float, float],
        extra_periods: Callable[[int], int],
        lambda_delays: LambdaDelays | None,
        sagemaker_options: dict[str, Any],
    ) -> None:
        clock, stack, seed, routes = self.clock, self.stack, self.seed, self.routes
        where = {"account_id": stack.account_id, "region": stack.region}
        self.cloudwatch = CloudWatchService(
            clock,
            emit_event=self.emit,
            run_action=routes.alarm_action,
            seed=seed,
            publish_delay_s=publish_s,
            alarm_offset_s=self.delays.alarm_offset_s,
            extra_periods=extra_periods,
            **where,
        )
        self.queues = QueueService(clock, self.cloudwatch.publish, **where)
        self.deliverer = Deliverer(clock, routes.deliver, routes.dead_letter, seed=seed, delay_s=self.delays.delivery_s)
        self.eventbridge = EventBridgeService(clock, self.deliverer, schedule_offset_s=self._schedule_offset_s, **where)
        self.scheduler = SchedulerService(clock, self.deliverer, offset_s=self._schedule_offset_s, **where)
        self.lambdas = LambdaService(
            clock,
            entered=self._entered,
            log=self._logs.write,
            report=self.cloudwatch.publish,
            send=routes.destination,
            seed=seed,
            delays=lambda_delays,
        )
        self.stepfunctions = StepFunctionsService(clock, routes.task, self.emit, seed)
        self.sagemaker = SageMakerService(
            clock, publish=self._publish, emit_event=self.emit, seed=seed, **where, **sagemaker_options
        )
        self.dynamodb = DynamoDbService(**where)
        self.autoscaling = ApplicationAutoScalingService(
            clock, describe_alarms=partial(self.cloudwatch.call, "DescribeAlarms"), **where
        )
        self.sns = SnsService(clock, [topic.arn or "" for topic in stack.of_type("AWS::SNS::Topic")])
        self.services: dict[str, Any] = {
            "application-autoscaling": self.autoscaling,
            "cloudformation": CloudFormationService(self.stacks, clock.now_s),
            "cloudwatch": self.cloudwatch,
            "dynamodb": self.dynamodb,
            "events": self.eventbridge,
            "lambda": self.lambdas,
            "sagemaker": self.sagemaker,
            "scheduler": self.scheduler,
            "service-quotas": ServiceQuotasService(lambda: self.sagemaker.world.quotas, **where),
            "sns": self.sns,
            "sqs": self.queues,
            "stepfunctions": self.stepfunctions,
            "sts": StsService(stack.account_id, self._caller_arn),
            **{name: MotoService(name, **where) for name in MOTO_SERVICES},
        }
        """By botocore's service name; a test may put another one in."""

    # --- life ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> EmulatedAccount:
        self.wire.__enter__()
        _forget_environment()
        return self

    def __exit__(self, *error: Any) -> None:
        self.wire.__exit__()
        self.close()

    def close(self) -> None:
        """Take the functions' environments away and everything that the product remembers of the account."""
        self.lambdas.close()
        for name in MOTO_SERVICES:
            self.services[name].close()
        self.wire.close()
        _forget_environment()

    def run_until(self, at_s: float) -> None:
        """Let everything happen that is due at or before `at_s`."""
        self.clock.run_until(at_s)

    def run_for(self, duration_s: float) -> None:
        """Let `duration_s` seconds pass."""
        self.clock.run_until(self.clock.now_s + duration_s)

    # --- calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        service: str,
        operation: str,
        params: Mapping[str, Any] | None = None,
        *,
        read_timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Carry out one API call, as the function that is running now or as the account's owner outside of any.

        `params` are boto3's. Raises ServiceError as AWS refuses, NoAnswer if the caller is left without an answer,
        NotEmulated if the account has no such service or operation, EmulationFailed if the emulation itself breaks.
        """
        invocation = self.lambdas.current
        self._numbers += 1
        call = Call(
            service=service,
            operation=operation,
            params=params if params is not None else {},
            caller=invocation.function if invocation is not None else None,
            at_s=self.clock.now_s,
            number=self._numbers,
            latency_s=self.delays.call_s,
            read_timeout_s=read_timeout_s,
        )
        self.calls[(call.function, service, operation)] += 1
        proceed: Proceed = partial(self._carry_out, call)
        for interceptor in reversed(self.interceptors):
            proceed = partial(interceptor, call, proceed)
        try:
            answer = proceed()
        except ServiceError:
            self._spend(call)
            raise
        except NoAnswer:
            raise
        except Exception as problem:
            raise EmulationFailed(f"{service} {operation} with {params}: {problem!r}") from problem
        self._spend(call)
        return answer

    def invoke(self, logical_id: str, payload: Any) -> Outcome:
        """Invoke a function now and return its outcome; time passes as far as it takes.

        `logical_id` is that of the first stack's function, or `<stack>/<logical id>` of another's.
        """
        done: list[Outcome] = []
        where, _, name = logical_id.rpartition("/")
        stack = next(one for one in self.stacks if where in ("", one.name))
        self.lambdas.invoke(stack[name].name, payload, done.append)
        while not done:
            next_s = self.clock.next_at_s()
            assert next_s is not None
            self.clock.run_until(next_s)
        return done[0]

    def _carry_out(self, call: Call) -> dict[str, Any]:
        self._spend(call)
        service = self.services.get(call.service)
        if service is None:
            raise NotEmulated(f"{call.service} {call.operation}: the emulated account has no {call.service}")
        if self.check_iam and call.caller is not None:
            self.roles.check(call.caller.role_arn, call.caller.name, call.service, call.operation, call.params)
        if service is not self.sagemaker:
            return service.call(call.operation, call.params)
        if call.operation not in self.sagemaker.operations:
            raise NotEmulated(f"sagemaker {call.operation} is not emulated")
        actor = PRODUCT if call.caller is not None else FOREIGN
        return self.sagemaker.call(call.operation, dict(call.params), actor=actor)

    def _spend(self, call: Call) -> None:
        """Let the caller wait for what the call has taken since the last time, or give up."""
        wait_s, gives_up = call.latency_s - call.spent_s, False
        if call.read_timeout_s is not None and call.latency_s > call.read_timeout_s:
            wait_s, gives_up = call.read_timeout_s - call.spent_s, True
        invocation = self.lambdas.current
        if invocation is not None and wait_s > 0:
            invocation.spend(wait_s)
        call.spent_s += max(0.0, wait_s)
        if gives_up:
            raise NoAnswer("read")

    # --- what a run left behind ------------------------------------------------------------------------------------

    @property
    def dead_letters(self) -> list[Message]:
        """Messages in the stack's queues, in the order they came."""
        found = [message for queue in self.queues.queues.values() for message in queue.messages]
        return sorted(found, key=lambda message: (message.sent_s, message.id))

    def alarm_transitions(self) -> list[Transition]:
        """Every change of state of every alarm, in order."""
        return list(self.cloudwatch.alarms.transitions)

    def executions(self) -> list[Execution]:
        """Every execution of every state machine, in order of their start."""
        found = [
            self.stepfunctions.execution(arn)
            for machine in self._of_type("AWS::StepFunctions::StateMachine")
            for arn in self._execution_arns(machine.arn or "")
        ]
        return sorted(found, key=lambda execution: (execution.start_s, execution.identity.name))

    def concurrency_history(self, resource_id: str) -> list[tuple[float, float]]:
        """(start of the period, mean requests in flight per copy or instance) as SageMaker published it."""
        return self._concurrency.get(resource_id, [])

    def registry_documents(self, pk_prefix: str) -> Iterator[str]:
        """Documents of the stack's tables whose partition key begins with `pk_prefix`."""
        for table in self.stack.of_type("AWS::DynamoDB::Table"):
            start: dict[str, Any] = {}
            while True:
                answer = self.dynamodb.call("Scan", {"TableName": table.name, **start})
                for item in answer["Items"]:
                    if item["pk"].get("S", "").startswith(pk_prefix) and "doc" in item:
                        yield item["doc"]["S"]
                if "LastEvaluatedKey" not in answer:
                    break
                start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def tags_of(self, arn: str) -> Mapping[str, str] | None:
        """The tags of a resource in the account; None if it is not there or cannot have any."""
        if arn.startswith("arn:aws:cloudwatch:"):
            return self.cloudwatch.tags_of(arn)
        if arn.startswith("arn:aws:sagemaker:"):
            return self.sagemaker.world.tags.get(arn)
        for resource in (one for stack in self.stacks for one in stack.resources.values()):
            if resource.arn == arn:
                return {tag["Key"]: tag["Value"] for tag in resource.properties.get("Tags", [])}
        return None

    def machine_roles(self, function_arn: str) -> list[str]:
        """The roles of the state machines whose definition names that function."""
        if function_arn not in self._machine_roles:
            self._machine_roles[function_arn] = [
                machine.properties["RoleArn"]
                for machine in self._of_type("AWS::StepFunctions::StateMachine")
                if function_arn in json.dumps(machine.properties["Definition"])
            ]
        return self._machine_roles[function_arn]

    def _of_type(self, resource_type: str) -> list[Resource]:
        return [one for stack in self.stacks for one in stack.of_type(resource_type)]

    def _execution_arns(self, machine_arn: str) -> Iterator[str]:
        token_of_page: dict[str, Any] = {}
        while True:
            answer = self.stepfunctions.call("ListExecutions", {"stateMachineArn": machine_arn, **token_of_page})
            yield from (row["executionArn"] for row in answer["executions"])
            if "nextToken" not in answer:
                return
            token_of_page = {"nextToken": answer["nextToken"]}

    # --- what the services call ------------------------------------------------------------------------------------

    def emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """Put an event of AWS itself on the default bus."""
        if source == "aws.states":
            status = {"RUNNING": "Started", "TIMED_OUT": "TimedOut"}.get(
                detail["status"], detail["status"].capitalize()
            )
            self._count("AWS/States", f"Executions{status}", {"StateMachineArn": detail["stateMachineArn"]}, 1.0)
        self.eventbridge.emit(source, detail_type, detail, resources)

    def _publish(self, namespace: str, metric: str, dimensions: dict[str, str], at_s: float, **summary: Any) -> None:
        if metric in CONCURRENCY and summary["samples"]:
            component = dimensions.get("InferenceComponentName")
            resource_id = (
                f"inference-component/{component}"
                if component is not None
                else f"endpoint/{dimensions['EndpointName']}/variant/{dimensions['VariantName']}"
            )
            self._concurrency.setdefault(resource_id, []).append((at_s, summary["total"] / summary["samples"]))
        self.cloudwatch.publish(namespace, metric, dimensions, at_s, **summary)

    def _count(self, namespace: str, metric: str, dimensions: dict[str, str], value: float) -> None:
        summary = {"minimum": value, "maximum": value, "total": value, "samples": 1.0}
        self.cloudwatch.publish(namespace, metric, dimensions, self.clock.now_s, period_s=60, **summary)

    @contextmanager
    def _entered(self, invocation: Invocation) -> Iterator[None]:
        environment = invocation.function.environment
        if environment != self._last_environment:
            # Each function has a process of its own in AWS; here they share the product's modules.
            self._last_environment = environment
            _forget_environment()
        with self.wire:
            yield

    def _caller_arn(self) -> str:
        invocation = self.lambdas.current
        if invocation is None:
            return f"arn:aws:iam::{self.stack.account_id}:root"
        role = invocation.function.role_arn.rsplit("/", 1)[-1]
        return f"arn:aws:sts::{self.stack.account_id}:assumed-role/{role}/{invocation.function.name}"

    def _schedule_offset_s(self, name: str) -> float:
        share = int.from_bytes(token(f"{self.seed}/{name}", 4).encode(), "big") % 1000 / 1000
        return share * self.delays.schedule_precision_s


def _forget_environment() -> None:
    """Let the product read its environment variables afresh."""
    product_settings.forget()
    telemetry.forget()
