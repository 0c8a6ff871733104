"""The steps of `make e2e`, in order: each returns one line about what it found, or raises Wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from account import COMPONENT, ENDPOINT, Account
from load import Load
from progress import Progress, expect
from removed_permissions import SAMPLE, failures, is_logged, without
from sam import STACK, Sam, leftovers, resources

CLIENTS = 16
"""Requests in flight: three times the target of one copy, and enough for the first step of the template's table."""
ALARM_LIMIT_S, ASK_LIMIT_S, OUT_LIMIT_S, HAND_OVER_LIMIT_S, IN_LIMIT_S, RELEASE_LIMIT_S = 60, 45, 120, 60, 180, 330
MACHINE = "ScalingLoop"
FUNCTION_OF_EVENT = {"loop_payload.json": "DecideFunction", "schedule_tick.json": "ReconcileFunction"}
"""Every other event is for OnAlarm."""
WISH = "manual_wish.json"
"""Would scale out by itself, so it is not sent before the load has."""
AT_ONCE = 3
"""`sam remote invoke` spends most of its time on starting."""
SET_COPIES = "sagemaker:UpdateInferenceComponentRuntimeConfig"
NEXT_VERSION = "0.1.0-e2e"


class Story:
    """One stack in one account, from its first deployment to its end."""

    def __init__(self, account: Account, events: Path, progress: Progress) -> None:
        self.account, self.events, self.progress = account, events, progress
        self.sam = Sam(account)
        self._load: Load | None = None
        self._resources: dict[str, tuple[str, str]] = {}
        self._executions_before: set[str] = set()

    # --- deploy and invoke

    def deploy(self) -> str:
        """Every resource that the built template declares without a condition exists afterwards."""
        self.sam.deploy()
        self._resources = resources(self.account)
        declared = _declared(self.account.template)
        # The layer's logical id gets a suffix from its content.
        missing = sorted(one for one in declared if not any(name.startswith(one) for name in self._resources))
        expect(not missing, f"the template declares {', '.join(missing)}, and the stack has none of them")
        self._expect_no_denials("the deployment")
        return f"{len(self._resources)} resources of {len({one[0] for one in self._resources.values()})} types"

    def invoke_events(self) -> str:
        """Each file goes to the function that would get it, and none is refused by code or by IAM."""
        names = sorted(one.name for one in self.events.glob("*.json") if one.name != WISH)
        functions = [FUNCTION_OF_EVENT.get(name, "OnAlarmFunction") for name in names]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(
                pool.map(
                    lambda one: self.sam.remote_invoke(one[0], self.events / one[1]), zip(functions, names, strict=True)
                )
            )
        for function, name, answer in zip(functions, names, answers, strict=True):
            failed = isinstance(answer, dict) and "errorMessage" in answer
            expect(not failed, f"{function} answered {name} with {json.dumps(answer)[:400]}")
        self._expect_no_denials("the events")
        expect(self.account.copies() == (1, 1), f"no event asks for copies, and there are {self.account.copies()}")
        return (
            f"{len(names)} files to {len({FUNCTION_OF_EVENT.get(one, 'OnAlarmFunction') for one in names})} functions"
        )

    def ask_control(self) -> str:
        """The default target is registered, with the template's bounds."""
        request = self.events.parent / "describe_targets.json"
        question = {"operation": "DescribeScalableTargets", "parameters": {"ServiceNamespace": "sagemaker"}}
        request.write_text(json.dumps(question), encoding="utf-8")
        targets = self.sam.remote_invoke("ControlFunction", request)["ScalableTargets"]
        found = [(one["ResourceId"], one["MinCapacity"], one["MaxCapacity"]) for one in targets]
        expected = [(f"inference-component/{COMPONENT}", 1, 2)]
        expect(found == expected, f"the targets are {found}; expected {expected}")
        return f"{found[0][0]}, minimum {found[0][1]}, maximum {found[0][2]}"

    # --- out

    def load_until_alarm(self) -> str:
        """Real requests, held by the emulated copy, make the metric that makes the alarm."""
        self._executions_before = set(self._executions())
        began_s = time.monotonic()
        self._load = Load(ENDPOINT, COMPONENT, CLIENTS)
        self.progress.wait(f"{STACK}--high", ALARM_LIMIT_S, lambda: _is("ALARM", self.account.alarm(f"{STACK}--high")))
        return f"{CLIENTS} requests in flight, ALARM after {time.monotonic() - began_s:.0f} s"

    def wait_for_the_ask(self) -> str:
        """One copy fills an instance, so the first write asks for an instance."""
        self.progress.wait("endpoint", ASK_LIMIT_S, lambda: _holds(self.account.endpoint(), lambda seen: seen[1] == 2))
        writes = self.account.writes()
        expect(
            [one["operation"] for one in writes] == ["UpdateEndpointWeightsAndCapacities"],
            f"the writes are {[one['operation'] for one in writes]}; expected one ask for instances",
        )
        return "UpdateEndpointWeightsAndCapacities, 2 instances"

    def update(self) -> str:
        """Another code version, deployed as a user would: functions change, data and the loop stay."""
        table = self._resources["RegistryTable"]
        expect(self.account.copies() == (1, 1), f"the update is to begin before the copies: {self.account.copies()}")
        with _next_version(self.account.template) as template:
            self.sam.deploy(template)
        after = resources(self.account)
        expect(
            after["RegistryTable"] == table, f"the update replaced the table {table[1]} by {after['RegistryTable'][1]}"
        )
        expect(after.keys() == self._resources.keys(), "the update added or removed resources")
        function = after["DecideFunction"][1]
        variables = self.account.client("lambda").get_function_configuration(FunctionName=function)["Environment"]
        version = variables["Variables"]["CODE_VERSION"]
        expect(version == NEXT_VERSION, f"the deployed code version is {version}; expected {NEXT_VERSION}")
        self._resources = after
        status, wanted, current = self.account.endpoint()
        return f"CODE_VERSION {version}; endpoint {status}, {current} of {wanted} instances, copies {self.account.copies()}"

    def wait_for_scale_out(self) -> str:
        """Two copies serve; every ask was made once; no request was lost; the old loop handed over to a new one."""
        self.progress.wait("copies", OUT_LIMIT_S, lambda: _holds(self.account.copies(), lambda seen: seen == (2, 2)))
        self.progress.wait(
            "component", 30, lambda: _is("InService", self.account.component()["InferenceComponentStatus"])
        )
        asks = [one for one in self.account.writes() if one["outcome"] == "ok"]
        operations = [one["operation"] for one in asks]
        expected = ["UpdateEndpointWeightsAndCapacities", "UpdateInferenceComponentRuntimeConfig"]
        expect(operations == expected, f"SageMaker was asked for {operations}; expected {expected}, once each")
        assert self._load is not None
        lost = self._load.errors
        expect(not lost, f"{len(lost)} of {len(self._load.requests)} requests were lost: {lost[:1]}")
        handed = self.progress.wait(
            "loop that handed over", HAND_OVER_LIMIT_S, lambda: _holds(self._handed_over(), bool)
        )
        loops = self._loops()
        failed = sorted(name for name, status in loops.items() if status not in ("RUNNING", "SUCCEEDED"))
        expect(not failed, f"these loops ended badly: {', '.join(failed)}")
        expect(len(loops) >= 2, f"{handed} handed over and no successor began: {loops}")
        self._expect_no_denials("scaling out")
        return f"{len(self._load.requests)} requests answered, none lost; {handed} handed over to {max(loops)}"

    def read_logs(self) -> str:
        """`sam logs` finds the decision that scaled out."""
        text = self.sam.run("logs", "--stack-name", STACK, "--name", "OnAlarmFunction")
        for word in ('"decision"', f"inference-component/{COMPONENT}"):
            expect(word in text.replace("\\", ""), f"sam logs printed {len(text)} characters and no {word}")
        return f"{len(text.splitlines())} lines"

    # --- in

    def wait_for_scale_in(self) -> str:
        """The load ends; after the low alarm and the hold one copy is enough."""
        self.stop_load()
        began_s = time.monotonic()
        low, high = f"{STACK}--low", f"{STACK}--high"

        def look() -> tuple[bool, Any]:
            copies = self.account.copies()
            return copies == (1, 1), (
                f"copies {copies}",
                f"high {self.account.alarm(high)}",
                f"low {self.account.alarm(low)}",
            )

        self.progress.wait("scale-in", IN_LIMIT_S, look)
        assert self._load is not None
        expect(not self._load.errors, f"requests were lost: {self._load.errors[:1]}")
        self._expect_no_denials("scaling in")
        return f"1 copy {time.monotonic() - began_s:.0f} s after the load"

    def wait_for_release(self) -> str:
        """The second instance is empty and is given back after its hold."""
        began_s = time.monotonic()
        self.progress.wait(
            "endpoint", RELEASE_LIMIT_S, lambda: _holds(self.account.endpoint(), lambda seen: seen[1:] == (1, 1))
        )
        return f"1 instance after {time.monotonic() - began_s:.0f} s more"

    # --- permissions

    def remove_permissions(self) -> str:
        """Every case of the sample fails as it must."""
        found = [line for case in SAMPLE for line in failures(self.account, self._resources, self.events, case)]
        expect(not found, "; ".join(found))
        return f"{len(SAMPLE)} permissions of {len({case.role for case in SAMPLE})} roles, one at a time"

    def remove_write(self) -> str:
        """A wish that fits the instances in service is carried out by OnAlarm itself, if its role may."""
        began_s, role = time.time(), self._resources["OnAlarmRole"][1]
        with without(self.account, role, SET_COPIES):
            self.sam.remote_invoke("OnAlarmFunction", self.events / WISH)
        refused = [one for one in self.account.records("denials") if one["action"] == SET_COPIES]
        expect(bool(refused), f"{SET_COPIES} was taken from OnAlarmRole and nothing was refused")
        expect(self.account.copies()[0] == 1, f"copies without the permission: {self.account.copies()}")
        expect(is_logged(self.account, self._resources, SET_COPIES, began_s), f"no log names {SET_COPIES}")
        return f"{SET_COPIES} refused {len(refused)} time(s), and logged"

    # --- the end

    def delete(self) -> str:
        """Nothing that the stack had can be listed any more; before, everything could."""
        before, _ = leftovers(self.account, self._resources)
        listed = {line.split(" ", 1)[0] for line in before}
        self.sam.run("delete", "--no-prompts", "--stack-name", STACK)
        left, unknown = leftovers(self.account, self._resources)
        expect(not left, f"left behind: {'; '.join(left)}")
        stacks = self.account.client("cloudformation").describe_stacks()["Stacks"]
        names = sorted(one["StackName"] for one in stacks if one["StackStatus"] != "DELETE_COMPLETE")
        expect(STACK not in names, f"the stack {STACK} is still there")
        expect(len(listed) > 40, f"only {len(listed)} resources could be listed before, so this check proves nothing")
        self.progress.say(f"gone with the function, rule or queue they belong to, not listed: {', '.join(unknown)}")
        self.progress.say(f"not part of the stack, and still there: {', '.join([*names, *self._tags_left()])}")
        return f"{len(listed)} resources and artifacts looked for, none is left"

    def stop_load(self) -> None:
        """End the clients, if there are any."""
        if self._load is not None:
            self._load.stop()

    # --- below: how

    def _expect_no_denials(self, during: str) -> None:
        denied = self.account.records("denials")
        expect(not denied, f"during {during} IAM refused {denied[:3]}")

    def _tags_left(self) -> list[str]:
        sagemaker = self.account.client("sagemaker")
        arns = [
            sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointArn"],
            self.account.component()["InferenceComponentArn"],
        ]
        found = [(arn.rsplit(":", 1)[-1], tag) for arn in arns for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]]
        return [f"tag {tag['Key']}={tag['Value']} of {name}" for name, tag in found]

    def _executions(self) -> dict[str, str]:
        client, arn = self.account.client("stepfunctions"), self._resources[MACHINE][1]
        return {one["name"]: one["status"] for one in client.list_executions(stateMachineArn=arn)["executions"]}

    def _loops(self) -> dict[str, str]:
        """Status of every execution that began after the load did."""
        return {name: status for name, status in self._executions().items() if name not in self._executions_before}

    def _handed_over(self) -> str:
        """Name of the first loop that ended by handing over to a successor; empty if none has."""
        client, machine = self.account.client("stepfunctions"), self._resources[MACHINE][1]
        for name in sorted(self._loops()):
            arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
            events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
            if any(one.get("stateEnteredEventDetails", {}).get("name") == "HandedOver" for one in events):
                return name
        return ""


def _declared(template: Path) -> set[str]:
    """Logical ids of the resources that the template declares without a condition."""
    block = re.split(r"(?m)^Resources:\n", template.read_text(encoding="utf-8"))[1]
    block = re.split(r"(?m)^\S", block)[0]
    parts = re.split(r"(?m)^  (\w+):\n", block)[1:]
    return {
        name for name, body in zip(parts[::2], parts[1::2], strict=True) if not re.search(r"(?m)^    Condition:", body)
    }


@contextmanager
def _next_version(built: Path) -> Iterator[Path]:
    """The built template with another code version, as after an upgrade; beside it, because its paths are relative."""
    text, changed = re.subn(r"(?m)^( *CODE_VERSION: ).*$", rf"\g<1>'{NEXT_VERSION}'", built.read_text(encoding="utf-8"))
    expect(changed == 1, f"the built template names CODE_VERSION {changed} times; expected once, under Globals")
    template = built.with_name("template-e2e.yaml")
    template.write_text(text, encoding="utf-8")
    try:
        yield template
    finally:
        template.unlink()


def _is(wanted: str, seen: str) -> tuple[bool, str]:
    return seen == wanted, seen


def _holds(seen: Any, test: Any) -> tuple[bool, Any]:
    return test(seen), seen
