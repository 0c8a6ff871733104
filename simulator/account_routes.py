"""How things get from one emulated service to another: events to targets, alarms to actions, failures to destinations.

Every hop asks IAM what AWS would ask: the target's resource policy for a service principal, or the role that the rule,
schedule or function brings along.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from simulator.aws.alarm_requests import described
from simulator.aws.alarm_texts import notification
from simulator.aws.asl_tasks import TaskError, TaskResult
from simulator.aws.iam_policy import Request
from simulator.aws.lambda_runtime import Function, Outcome
from simulator.aws.lambdas import LambdaService
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

if TYPE_CHECKING:
    from simulator.account import EmulatedAccount
    from simulator.aws.alarms import Alarm
    from simulator.aws.delivery import Target

ALARM_SERVICE = "lambda.alarms.cloudwatch.amazonaws.com"


class Routes:
    """The connections between the services of one account.

    `ignored_actions` are alarm actions whose target is nothing that the account has (scaling policies, for example).
    """

    def __init__(self, account: EmulatedAccount) -> None:
        self._account = account
        self.ignored_actions: list[tuple[str, str]] = []

    def deliver(self, target: Target, source_arn: str, payload: Any) -> None:
        """Hand an event to a target of a rule or schedule; raises ServiceError if it is not taken."""
        account, service = self._account, target.arn.split(":")[2]
        if service == "lambda":
            if target.service == "events.amazonaws.com":
                name = account.lambdas.function(target.arn).name
                if account.check_iam and not account.roles.function_accepts(name, target.service, source_arn):
                    raise _denied(target.service, "lambda:InvokeFunction", target.arn)
            else:
                self._role_may(target.role_arn, "lambda:InvokeFunction", target.arn)
            account.lambdas.invoke_async(target.arn, payload)
        elif service == "states":
            self._role_may(target.role_arn, "states:StartExecution", target.arn)
            account.stepfunctions.call("StartExecution", {"stateMachineArn": target.arn, "input": json.dumps(payload)})
        elif service == "sqs":
            self._queue_takes(target, target.arn, source_arn)
            account.queues.send(target.arn, json.dumps(payload), {})
        elif service == "sns":
            account.sns.publish(target.arn, json.dumps(payload))
        elif service == "events" and ":event-bus/" in target.arn:
            self._role_may(target.role_arn, "events:PutEvents", target.arn)
            account.eventbridge.receive(target.arn.rsplit("/", 1)[-1], dict(payload))
        else:
            raise NotEmulated(f"{source_arn} has the target {target.arn}, which is not emulated")

    def dead_letter(self, target: Target, source_arn: str, body: str, attributes: Mapping[str, str]) -> None:
        """Put an event that was given up into the target's queue; raises ServiceError if that is not permitted."""
        queue_arn = target.dead_letter_arn or ""
        self._queue_takes(target, queue_arn, source_arn)
        self._account.queues.send(queue_arn, body, attributes)

    def destination(self, arn: str, function: Function, payload: Any, attributes: Mapping[str, str]) -> None:
        """Send a function's invocation record or dead letter; a refusal loses it, as in AWS."""
        account, service = self._account, arn.split(":")[2]
        action = {"sqs": "sqs:SendMessage", "lambda": "lambda:InvokeFunction", "sns": "sns:Publish"}.get(service)
        if action is None:
            raise NotEmulated(f"{function.logical_id} has the destination {arn}, which is not emulated")
        try:
            self._role_may(function.role_arn, action, arn)
            if service == "sqs":
                account.queues.send(arn, json.dumps(payload), attributes)
            elif service == "lambda":
                account.lambdas.invoke_async(arn, payload)
            else:
                account.sns.publish(arn, json.dumps(payload))
        except ServiceError as refused:
            account.lost.append(f"{function.logical_id} -> {arn}: {refused}")

    def alarm_action(self, arn: str, alarm: Alarm, previous: Mapping[str, Any]) -> None:
        """Do what one alarm action says; a refusal loses it, as in AWS."""
        account, service = self._account, arn.split(":")[2]
        try:
            if service == "lambda":
                name = account.lambdas.function(arn).name
                if account.check_iam and not account.roles.function_accepts(name, ALARM_SERVICE, alarm.arn):
                    raise _denied(ALARM_SERVICE, "lambda:InvokeFunction", arn)
                account.lambdas.invoke_async(arn, account.cloudwatch.alarms.action_payload(alarm, dict(previous)))
            elif service == "sns":
                message = notification(
                    described(alarm),
                    previous["value"],
                    account_id=account.stack.account_id,
                    region=account.stack.region,
                    now_s=account.clock.now_s,
                )
                account.sns.publish(
                    arn, json.dumps(message), f'{alarm.state}: "{alarm.name}" in {account.stack.region}'
                )
            else:
                self.ignored_actions.append((alarm.name, arn))
        except ServiceError as refused:
            account.lost.append(f"{alarm.name} -> {arn}: {refused}")

    def task(self, function: str, payload: Any, on_done: Callable[[TaskResult | TaskError], None]) -> None:
        """Run a Task state's function; `on_done` gets its answer when it comes."""
        account = self._account
        try:
            arn = account.lambdas.function(function).arn
            if account.check_iam and not any(
                account.roles.may(role, Request("lambda:InvokeFunction", arn)) for role in account.machine_roles(arn)
            ):
                raise _denied("the state machine's role", "lambda:InvokeFunction", arn)
            _invoke(account.lambdas, function, payload, on_done)
        except ServiceError as refused:
            named = {"ResourceNotFoundException", "TooManyRequestsException"}
            error = f"Lambda.{refused.code}" if refused.code in named else "Lambda.AWSLambdaException"
            on_done(TaskError(error, refused.message))

    def _queue_takes(self, target: Target, queue_arn: str, source_arn: str) -> None:
        account = self._account
        account.queues.by_arn(queue_arn)
        if not account.check_iam:
            return
        if target.service == "scheduler.amazonaws.com":
            self._role_may(target.role_arn, "sqs:SendMessage", queue_arn)
        elif not account.roles.queue_accepts(queue_arn, target.service, source_arn):
            raise _denied(target.service, "sqs:SendMessage", queue_arn)

    def _role_may(self, role_arn: str | None, action: str, resource: str) -> None:
        account = self._account
        if account.check_iam and not (role_arn and account.roles.may(role_arn, Request(action, resource))):
            raise _denied(role_arn or "no role", action, resource)


def _invoke(lambdas: LambdaService, function: str, payload: Any, on_done: Callable[..., None]) -> None:
    def done(outcome: Outcome) -> None:
        if outcome.error is None:
            on_done(TaskResult(outcome.payload))
        else:
            on_done(TaskError.of_function(outcome.error))

    lambdas.invoke(function, payload, done)


def _denied(who: str, action: str, resource: str) -> ServiceError:
    return ServiceError(
        "AccessDeniedException", f"{who} is not authorized to perform: {action} on resource: {resource}", 403
    )
