"""AWS Step Functions (standard workflows): state machines, executions, histories, status-change events.

`StepFunctionsService.call(operation, params)` answers in the shape of boto3's `stepfunctions` client and refuses with
ServiceError. Rules and texts: API reference of Step Functions, botocore's model for shapes and limits, and
`asl_history`/`asl_states` for the quotas. Not emulated: express workflows, versions and aliases, activities and task
tokens, redrive, distributed maps.
"""

from __future__ import annotations

import base64
import binascii
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from simulator.aws.asl import RUNNING, Execution, Identity, InvokeTask
from simulator.aws.asl_definition import parse_machine
from simulator.aws.asl_history import as_date
from simulator.aws.asl_path import MAX_PAYLOAD_BYTES, compact
from simulator.aws.asl_states import Machine
from simulator.clock import VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

EmitEvent = Callable[[str, str, dict[str, Any], list[str]], None]
"""(source, detail type, detail, resources): how a status change reaches EventBridge."""

KEPT_S: Final = 90 * 86_400
"""A closed execution is forgotten, and its name free again, after 90 days (service quota)."""

MAX_EVENT_PAYLOAD_BYTES: Final = 248 * 1024
"""Input and output of an execution that are larger together are left out of its status-change events."""


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A state machine as it stands now; an update makes a new one, and running executions keep theirs."""

    arn: str
    name: str
    machine: Machine
    role_arn: str
    created_s: float
    updated_s: float
    revision_id: str


class StepFunctionsService:
    """All state machines and executions of one account and region.

    `invoke_task` is described in `simulator.aws.asl`. `emit_event` gets a "Step Functions Execution Status Change" for
    every start and every end. `seed` decides the jitter of retries, and the names of executions that were given none.
    """

    def __init__(self, clock: VirtualClock, invoke_task: InvokeTask, emit_event: EmitEvent, seed: int = 0) -> None:
        self._clock = clock
        self._invoke_task = invoke_task
        self._emit_event = emit_event
        self._seed = seed
        self._rng = random.Random(f"{seed}:stepfunctions")
        self._machines: dict[str, StateMachine] = {}
        self._executions: dict[str, _Record] = {}
        self._by_machine: dict[str, list[_Record]] = {}
        self._closed_transitions = 0
        self.executions_started = 0

    @property
    def transitions(self) -> int:
        """State transitions since the service was made: what AWS bills for standard workflows."""
        live = sum(record.execution.transitions for record in self._executions.values())
        return self._closed_transitions + live

    def create_state_machine(
        self, arn: str, name: str, definition: str | Mapping[str, Any], role_arn: str
    ) -> StateMachine:
        """Create a standard state machine.

        Raises InvalidName, InvalidArn, InvalidDefinition, StateMachineAlreadyExists; NotEmulated as `parse_machine`.
        """
        _check_name(name)
        if not _MACHINE_ARN.fullmatch(arn):
            raise ServiceError("InvalidArn", f"Invalid Arn: '{arn}'")
        if arn in self._machines:
            raise ServiceError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        machine = parse_machine(definition)
        now_s = self._clock.now_s
        self._machines[arn] = StateMachine(arn, name, machine, role_arn, now_s, now_s, "INITIAL")
        self._by_machine[arn] = []
        return self._machines[arn]

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one API operation; raises ServiceError with the codes that the API reference lists for it, and
        NotEmulated for an operation that is not here."""
        if operation not in _OPERATIONS:
            raise NotEmulated(f"stepfunctions {operation}; emulated are {', '.join(sorted(_OPERATIONS))}")
        return _OPERATIONS[operation](self, params)

    def execution(self, arn: str) -> Execution:
        """The execution itself, for reports and tests; raises ExecutionDoesNotExist."""
        return self._found(arn).execution

    # --- executions ---

    def _start_execution(self, params: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine(params)
        name = params["name"] if "name" in params else self._drawn_name()
        _check_name(name)
        text = params.get("input", "{}")
        if len(text.encode()) > MAX_PAYLOAD_BYTES:
            what = f"Member must have length less than or equal to {MAX_PAYLOAD_BYTES}"
            raise _validation(f"Value at 'input' failed to satisfy constraint: {what}")
        try:
            data = json.loads(text)
        except json.JSONDecodeError as problem:
            raise ServiceError(
                "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{problem}'"
            ) from problem
        arn = f"{machine.arn.replace(':stateMachine:', ':execution:')}:{name}"
        known = self._lookup(arn)
        if known is not None:
            if known.execution.status == RUNNING and known.input_text == text:
                return {"executionArn": arn, "startDate": as_date(known.execution.start_s)}
            raise ServiceError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        identity = Identity(arn, name, machine.arn, machine.name, machine.role_arn)
        execution = Execution(
            machine.machine,
            identity,
            data,
            clock=self._clock,
            invoke_task=self._invoke_task,
            seed=self._seed,
            on_end=lambda ended: self._announce(arn),
        )
        record = _Record(execution, text, machine)
        self._executions[arn] = record
        self._by_machine[machine.arn].append(record)
        self.executions_started += 1
        execution.start()
        self._announce(arn)
        return {"executionArn": arn, "startDate": as_date(execution.start_s)}

    def _stop_execution(self, params: Mapping[str, Any]) -> dict[str, Any]:
        execution = self._found(_execution_arn(params)).execution
        execution.abort(params.get("error"), params.get("cause"))
        return {"stopDate": as_date(execution.stop_s if execution.stop_s is not None else self._clock.now_s)}

    def _describe_execution(self, params: Mapping[str, Any]) -> dict[str, Any]:
        record = self._found(_execution_arn(params))
        execution = record.execution
        answer = {**_listed(execution), "redriveCount": 0}
        if execution.status == RUNNING:
            answer |= {
                "redriveStatus": "NOT_REDRIVABLE",
                "redriveStatusReason": "Execution is RUNNING and cannot be redriven",
            }
        if params.get("includedData") == "METADATA_ONLY":
            return answer
        answer |= {"input": record.input_text, "inputDetails": {"included": True}}
        if execution.status == "SUCCEEDED":
            answer |= {"output": compact(execution.output), "outputDetails": {"included": True}}
        answer |= {key: value for key, value in _why(execution).items() if value is not None}
        return answer

    def _get_execution_history(self, params: Mapping[str, Any]) -> dict[str, Any]:
        arn = _execution_arn(params)
        history = self._found(arn).execution.history
        newest_first = bool(params.get("reverseOrder", False))
        scope = f"history:{arn}:{newest_first}"
        first, count = _page(params, scope)
        with_data = bool(params.get("includeExecutionData", True))
        answer: dict[str, Any] = {"events": history.read(first, count, newest_first=newest_first, with_data=with_data)}
        return _with_token(answer, scope, first + count, len(history))

    def _list_executions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        machine, wanted = self._machine(params), params.get("statusFilter")
        if wanted is not None and wanted not in _STATUSES:
            values = ", ".join(_STATUSES)
            raise _validation(f"Value '{wanted}' at 'statusFilter' failed to satisfy constraint: one of [{values}]")
        self._forget(machine.arn)
        # Newest first; executions that started at the same instant in the order they came, last first.
        found = [r.execution for r in reversed(self._by_machine[machine.arn]) if wanted in (None, r.execution.status)]
        scope = f"executions:{machine.arn}:{wanted}"
        first, count = _page(params, scope)
        answer = {"executions": [_listed(execution) for execution in found[first : first + count]]}
        return _with_token(answer, scope, first + count, len(found))

    # --- state machines ---

    def _describe_state_machine(self, params: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine(params)
        answer = {**_described(machine), "status": "ACTIVE", "type": "STANDARD"}
        answer["creationDate"] = as_date(machine.created_s)
        return answer

    def _describe_state_machine_for_execution(self, params: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._found(_execution_arn(params)).machine
        return {**_described(machine), "updateDate": as_date(machine.updated_s)}

    def _update_state_machine(self, params: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine(params)
        if "definition" not in params and "roleArn" not in params:
            what = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration"
            raise ServiceError("MissingRequiredParameter", f"{what} must be specified")
        parsed = parse_machine(params["definition"]) if "definition" in params else machine.machine
        revision_id = self._drawn_name()
        role_arn = params.get("roleArn", machine.role_arn)
        now_s = self._clock.now_s
        self._machines[machine.arn] = replace(
            machine, machine=parsed, role_arn=role_arn, updated_s=now_s, revision_id=revision_id
        )
        return {"updateDate": as_date(now_s), "revisionId": revision_id}

    def _list_state_machines(self, params: Mapping[str, Any]) -> dict[str, Any]:
        first, count = _page(params, "machines")
        machines = sorted(self._machines.values(), key=lambda machine: machine.arn)
        listed = [
            {
                "stateMachineArn": machine.arn,
                "name": machine.name,
                "type": "STANDARD",
                "creationDate": as_date(machine.created_s),
            }
            for machine in machines[first : first + count]
        ]
        return _with_token({"stateMachines": listed}, "machines", first + count, len(machines))

    # --- what the operations share ---

    def _machine(self, params: Mapping[str, Any]) -> StateMachine:
        arn = params.get("stateMachineArn", "")
        if not _MACHINE_ARN.fullmatch(arn):
            raise ServiceError("InvalidArn", f"Invalid Arn: '{arn}'")
        if arn not in self._machines:
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self._machines[arn]

    def _found(self, arn: str) -> _Record:
        record = self._lookup(arn)
        if record is None:
            raise ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return record

    def _lookup(self, arn: str) -> _Record | None:
        record = self._executions.get(arn)
        if record is not None and self._is_old(record):
            self._forget(record.machine.arn)
            return None
        return record

    def _is_old(self, record: _Record) -> bool:
        stop_s = record.execution.stop_s
        return stop_s is not None and self._clock.now_s - stop_s >= KEPT_S

    def _forget(self, machine_arn: str) -> None:
        records = self._by_machine[machine_arn]
        old = [record for record in records if self._is_old(record)]
        if not old:
            return
        for record in old:
            self._closed_transitions += record.execution.transitions
            del self._executions[record.execution.identity.execution_arn]
        self._by_machine[machine_arn] = [record for record in records if not self._is_old(record)]

    def _drawn_name(self) -> str:
        """An identifier in the form of a UUID, from the seed: AWS draws one, and two runs must be the same."""
        bits = f"{self._rng.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"

    def _announce(self, arn: str) -> None:
        record = self._executions[arn]
        detail = _detail(record.execution, record.input_text)
        self._emit_event("aws.states", "Step Functions Execution Status Change", detail, [arn])


@dataclass(frozen=True, slots=True)
class _Record:
    execution: Execution
    input_text: str
    machine: StateMachine


_MACHINE_ARN: Final = re.compile(r"arn:aws[\w-]*:states:[a-z0-9-]+:\d{12}:stateMachine:[^\s:]{1,80}")
_EXECUTION_ARN: Final = re.compile(r"arn:aws[\w-]*:states:[a-z0-9-]+:\d{12}:execution:[^\s:]{1,80}:[^\s:]{1,80}")
_STATUSES: Final = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE")

_BAD_IN_NAME: Final = re.compile(r"""[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]""")
"""Characters that a name may not have (API reference, StartExecution, `name`)."""


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= 80 or _BAD_IN_NAME.search(name):
        raise ServiceError("InvalidName", f"Invalid Name: '{name}'")


def _execution_arn(params: Mapping[str, Any]) -> str:
    arn = params.get("executionArn", "")
    if not _EXECUTION_ARN.fullmatch(arn):
        raise ServiceError("InvalidArn", f"Invalid Arn: '{arn}'")
    return arn


def _validation(what: str) -> ServiceError:
    return ServiceError("ValidationException", f"1 validation error detected: {what}")


def _page(params: Mapping[str, Any], scope: str) -> tuple[int, int]:
    """Offset and page size; 0 and absence mean 100. A token belongs to one call with its arguments unchanged."""
    asked = params.get("maxResults", 0)
    if not 0 <= asked <= 1_000:
        what = (
            f"Value '{asked}' at 'maxResults' failed to satisfy constraint: Member must have value between 0 and 1000"
        )
        raise _validation(what)
    count = asked or 100
    if "nextToken" not in params:
        return 0, count
    try:
        token = json.loads(base64.urlsafe_b64decode(params["nextToken"].encode()))
    except (binascii.Error, ValueError) as problem:
        raise ServiceError("InvalidToken", "Invalid Token: 'Invalid token'") from problem
    if not isinstance(token, dict) or token.get("scope") != scope:
        raise ServiceError("InvalidToken", "Invalid Token: 'Invalid token'")
    return token["first"], count


def _with_token(answer: dict[str, Any], scope: str, first: int, total: int) -> dict[str, Any]:
    if first < total:
        token = json.dumps({"first": first, "scope": scope}, sort_keys=True)
        answer["nextToken"] = base64.urlsafe_b64encode(token.encode()).decode()
    return answer


def _listed(execution: Execution) -> dict[str, Any]:
    who = execution.identity
    item: dict[str, Any] = {
        "executionArn": who.execution_arn,
        "stateMachineArn": who.machine_arn,
        "name": who.name,
        "status": execution.status,
        "startDate": as_date(execution.start_s),
    }
    if execution.stop_s is not None:
        item["stopDate"] = as_date(execution.stop_s)
    return item


def _described(machine: StateMachine) -> dict[str, Any]:
    return {
        "stateMachineArn": machine.arn,
        "name": machine.name,
        "definition": machine.machine.text,
        "roleArn": machine.role_arn,
        "loggingConfiguration": {"level": "OFF", "includeExecutionData": False},
        "tracingConfiguration": {"enabled": False},
        "revisionId": machine.revision_id,
    }


def _why(execution: Execution) -> dict[str, str | None]:
    return {"error": execution.error, "cause": execution.cause}


def _detail(execution: Execution, input_text: str) -> dict[str, Any]:
    """The `detail` of a status-change event; times are milliseconds since the epoch (developer guide, EventBridge)."""
    who = execution.identity
    output = compact(execution.output) if execution.status == "SUCCEEDED" else None
    included = len(input_text.encode()) + len((output or "").encode()) <= MAX_EVENT_PAYLOAD_BYTES
    return {
        "executionArn": who.execution_arn,
        "stateMachineArn": who.machine_arn,
        "name": who.name,
        "status": execution.status,
        "startDate": round(execution.start_s * 1000),
        "stopDate": None if execution.stop_s is None else round(execution.stop_s * 1000),
        "input": input_text if included else None,
        "inputDetails": {"included": included},
        "output": output if included else None,
        "outputDetails": None if output is None else {"included": included},
        **_why(execution),
    }


_OPERATIONS: Final[dict[str, Callable[[StepFunctionsService, Mapping[str, Any]], dict[str, Any]]]] = {
    "DescribeExecution": StepFunctionsService._describe_execution,
    "DescribeStateMachine": StepFunctionsService._describe_state_machine,
    "DescribeStateMachineForExecution": StepFunctionsService._describe_state_machine_for_execution,
    "GetExecutionHistory": StepFunctionsService._get_execution_history,
    "ListExecutions": StepFunctionsService._list_executions,
    "ListStateMachines": StepFunctionsService._list_state_machines,
    "StartExecution": StepFunctionsService._start_execution,
    "StopExecution": StepFunctionsService._stop_execution,
    "UpdateStateMachine": StepFunctionsService._update_state_machine,
}
