"""The real SAM CLI, as a user types it, and what it is asked to leave behind: nothing."""

from __future__ import annotations

import itertools
import json
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from account import COMPONENT, ENDPOINT, ROOT, Account

STACK = "quickstep"
COMMAND_LIMIT_S = 240
PARAMETERS = {
    "EndpointName": ENDPOINT,
    "InferenceComponentName": COMPONENT,
    "MaxCapacity": "2",
    "InstanceUsdPerHour": "4.20",
    # The shortest that the template allows: this run is in real time.
    "LowAlarmEvaluationPeriods": "6",
    "ScaleInHoldSeconds": "60",
    "DrainBudgetSeconds": "30",
    "Architecture": "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64",
}


class SamFailed(Exception):
    """A command of the SAM CLI failed; the message has its last lines and where the rest is."""


class Sam:
    """`sam` in .venv-sam; every command's output is kept in the run's folder."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._numbers = itertools.count(1)

    def run(self, *arguments: str) -> str:
        """Run one command in the project's root, so that samconfig.toml counts; its standard output."""
        name = "-".join(one for one in arguments[:2] if not one.startswith("-"))
        log = self._account.work / f"sam-{next(self._numbers):02d}-{name}.log"
        try:
            done = subprocess.run(
                [".venv-sam/bin/sam", *arguments],
                cwd=ROOT,
                env=self._account.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_LIMIT_S,
            )
        except subprocess.TimeoutExpired as problem:
            raise SamFailed(f"sam {' '.join(arguments[:3])} was not done after {COMMAND_LIMIT_S} s") from problem
        printed, said = (one.decode(errors="replace") for one in (done.stdout, done.stderr))
        log.write_text(f"{said}\n--- standard output\n{printed}", encoding="utf-8")
        if done.returncode != 0:
            last = "\n".join((printed + said).strip().splitlines()[-12:])
            raise SamFailed(f"sam {' '.join(arguments[:3])} ended with {done.returncode}; {log} ends with:\n{last}")
        return printed

    def deploy(self, template: Path | None = None) -> None:
        """`sam deploy` of the built template (or another one) with samconfig.toml and PARAMETERS."""
        # Beside another template SAM would look for another samconfig.toml.
        where = ["--template-file", str(template), "--config-file", str(ROOT / "samconfig.toml")] if template else []
        overrides = [f"{name}={value}" for name, value in PARAMETERS.items()]
        self.run("deploy", "--no-confirm-changeset", *where, "--parameter-overrides", *overrides)

    def remote_invoke(self, function: str, event_file: Path) -> Any:
        """`sam remote invoke`; the function's answer."""
        text = self.run("remote", "invoke", function, "--stack-name", STACK, "--event-file", str(event_file))
        for line in reversed(text.strip().splitlines()):
            try:
                return json.loads(line)
            except json.JSONDecodeError:
                continue
        raise SamFailed(f"sam remote invoke {function} printed no answer:\n{text[-1500:]}")


def resources(account: Account) -> dict[str, tuple[str, str]]:
    """Logical id -> (type, physical id) of the stack as CloudFormation lists it."""
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    found = [one for page in pages for one in page["StackResourceSummaries"]]
    return {one["LogicalResourceId"]: (one["ResourceType"], one["PhysicalResourceId"]) for one in found}


def leftovers(account: Account, before: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[str]]:
    """(what of `before` is still there, types that this check cannot list)."""
    left, unknown = [], set()
    listed: dict[str, set[str]] = {}
    for logical_id, (kind, physical_id) in sorted(before.items()):
        if kind not in _LISTERS:
            unknown.add(kind)
            continue
        if kind not in listed:
            listed[kind] = set(_LISTERS[kind](account))
        if physical_id in listed[kind]:
            left.append(f"{logical_id} ({kind} {physical_id})")
    for bucket in account.client("s3").list_buckets()["Buckets"]:
        kept = account.client("s3").list_objects_v2(Bucket=bucket["Name"], Prefix=f"{STACK}/").get("Contents", [])
        left += [f"s3://{bucket['Name']}/{one['Key']}" for one in kept]
    return left, sorted(unknown)


def _all(service: str, operation: str, key: str, name: str | None) -> Callable[[Account], list[str]]:
    def names(account: Account) -> list[str]:
        client = account.client(service)
        if client.can_paginate(operation):
            found = [one for page in client.get_paginator(operation).paginate() for one in page.get(key, [])]
        else:
            found = getattr(client, operation)().get(key, [])
        return [one if name is None else one[name] for one in found]

    return names


def _layer_versions(account: Account) -> list[str]:
    client = account.client("lambda")
    layers = [one["LayerName"] for one in client.list_layers()["Layers"]]
    versions = [client.list_layer_versions(LayerName=one)["LayerVersions"] for one in layers]
    return [one["LayerVersionArn"] for found in versions for one in found]


_LISTERS: dict[str, Callable[[Account], list[str]]] = {
    "AWS::CloudWatch::Alarm": _all("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _all("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "AWS::DynamoDB::Table": _all("dynamodb", "list_tables", "TableNames", None),
    "AWS::Events::Rule": _all("events", "list_rules", "Rules", "Name"),
    "AWS::IAM::ManagedPolicy": _all("iam", "list_policies", "Policies", "Arn"),
    "AWS::IAM::Role": _all("iam", "list_roles", "Roles", "RoleName"),
    "AWS::Lambda::Function": _all("lambda", "list_functions", "Functions", "FunctionName"),
    "AWS::Lambda::LayerVersion": _layer_versions,
    "AWS::Logs::LogGroup": _all("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "AWS::SNS::Topic": _all("sns", "list_topics", "Topics", "TopicArn"),
    "AWS::SQS::Queue": _all("sqs", "list_queues", "QueueUrls", None),
    "AWS::Scheduler::ScheduleGroup": _all("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
    "AWS::StepFunctions::StateMachine": _all(
        "stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"
    ),
}
"""How to list what of a type exists, by the same name as CloudFormation's physical id."""
