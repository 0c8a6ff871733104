"""Create-time check of an Amazon States Language definition, and its translation into compiled states.

Everything wrong is reported at once, in the form AWS uses (`CODE: what at /States/X`). What AWS would accept but this
interpreter does not run (JSONata, variables, distributed maps, activities, other service integrations …) ends the run
here with NotEmulated, so that nothing is ever skipped silently while a simulation runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.aws.asl_choice import compile_rule, parse_timestamp
from simulator.aws.asl_fields import (
    FIELDS,
    FUNCTION_ARN,
    INVOKE_ARN,
    INVOKE_FIELDS,
    MAX_DEFINITION_BYTES,
    MAX_INLINE_CONCURRENCY,
    MAX_NAME_CHARS,
    MAX_SECONDS,
    NEWER_FIELDS,
)
from simulator.aws.asl_graph import graph_problems
from simulator.aws.asl_intrinsics import parse_expression
from simulator.aws.asl_path import (
    NOTHING,
    WHOLE,
    Gap,
    NotAllowed,
    Path,
    Template,
    compact,
    compile_template,
    parse_path,
    parse_result_path,
)
from simulator.aws.asl_states import (
    LAMBDA_INVOKE,
    Block,
    Catcher,
    ChoiceState,
    FailState,
    Machine,
    MapState,
    ParallelState,
    PassState,
    Retrier,
    State,
    TaskState,
    WaitState,
)
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated


def parse_machine(definition: str | Mapping[str, Any]) -> Machine:
    """Check `definition` (JSON text, or the object it stands for) and return the compiled machine.

    Raises ServiceError InvalidDefinition for what AWS refuses, NotEmulated for what only this interpreter cannot run;
    the message lists every problem with its place.
    """
    if isinstance(definition, str):
        try:
            source = json.loads(definition)
        except json.JSONDecodeError as problem:
            raise _invalid([f"INVALID_JSON_DESCRIPTION: Could not read the definition as JSON: {problem}"]) from problem
    else:
        source = definition
    text = definition if isinstance(definition, str) else compact(source)
    if len(text.encode()) > MAX_DEFINITION_BYTES:
        raise _invalid([f"SCHEMA_VALIDATION_FAILED: The definition is larger than {MAX_DEFINITION_BYTES} bytes"])
    reader = _Reader()
    machine = reader.machine(source, text)
    if reader.gaps:
        raise NotEmulated(f"the state machine uses what is not emulated: {', '.join(reader.gaps)}")
    if reader.problems or machine is None:
        raise _invalid(reader.problems)
    return machine


def _invalid(problems: list[str]) -> ServiceError:
    return ServiceError("InvalidDefinition", f"Invalid State Machine Definition: '{', '.join(problems)}'")


class _Reader:
    """Reads one definition and collects what is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.gaps: list[str] = []
        self._names: set[str] = set()

    def machine(self, source: Any, text: str) -> Machine | None:
        if not isinstance(source, Mapping):
            self._say("SCHEMA_VALIDATION_FAILED", "The definition must be an object", "/")
            return None
        self._only(source, {"Comment", "Version", "QueryLanguage", "TimeoutSeconds", "StartAt", "States"}, "")
        if source.get("Version", "1.0") != "1.0":
            self._say("SCHEMA_VALIDATION_FAILED", "Version must be '1.0'", "")
        block = self._block(source, "")
        timeout_s = self._whole(source, "TimeoutSeconds", "", 1, MAX_SECONDS) if "TimeoutSeconds" in source else None
        return Machine(block, timeout_s, text)

    def _block(self, source: Mapping[str, Any], place: str) -> Block:
        raw_states, start_at = source.get("States"), source.get("StartAt")
        if not isinstance(raw_states, Mapping) or not raw_states:
            self._say("SCHEMA_VALIDATION_FAILED", "States must be an object with at least one state", place)
            return Block("", {})
        states: dict[str, State] = {}
        for name, raw in raw_states.items():
            where = f"{place}/States/{name}"
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
                self._say("SCHEMA_VALIDATION_FAILED", f"A state name has 1 to {MAX_NAME_CHARS} characters", where)
            if name in self._names:
                self._say("DUPLICATE_STATE_NAME", f"Duplicate state name: {name}", where)
            self._names.add(name)
            state = self._state(name, raw, where)
            if state is not None:
                states[name] = state
        for code, what, where in graph_problems(start_at, raw_states):
            self._say(code, what, place + where)
        return Block(str(start_at), states)

    def _state(self, name: str, raw: Any, where: str) -> State | None:
        if not isinstance(raw, Mapping) or raw.get("Type") not in FIELDS:
            kind = raw.get("Type") if isinstance(raw, Mapping) else raw
            self._say("SCHEMA_VALIDATION_FAILED", f"Type {kind!r} is none of {', '.join(FIELDS)}", where)
            return None
        kind = raw["Type"]
        self._only(raw, FIELDS[kind], where)
        found_before = len(self.problems)
        if "Next" in FIELDS[kind] and ("Next" in raw) == (raw.get("End") is True):
            self._say("SCHEMA_VALIDATION_FAILED", "Exactly one of Next and End: true is needed", where)
        common = {
            "name": name,
            "kind": kind,
            "next_name": raw.get("Next"),
            "input_path": self._io_path(raw, "InputPath", where),
            "output_path": self._io_path(raw, "OutputPath", where),
        }
        state = _KINDS[kind](self, raw, common, where)
        return state if len(self.problems) == found_before else None

    # --- one reader per type of state ---

    def _task(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        resource = raw.get("Resource")
        integration = None
        if isinstance(resource, str) and INVOKE_ARN.fullmatch(resource):
            integration = LAMBDA_INVOKE
            self._invoke_parameters(raw.get("Parameters"), where)
        elif not isinstance(resource, str) or not resource.startswith("arn:"):
            self._say("SCHEMA_VALIDATION_FAILED", f"Resource {resource!r} is not a valid resource ARN", where)
        elif FUNCTION_ARN.fullmatch(resource) is None:
            self._gap(f"Resource {resource!r} (emulated are a Lambda function ARN and lambda:invoke)", where)
        if "TimeoutSeconds" in raw and "TimeoutSecondsPath" in raw:
            self._say("SCHEMA_VALIDATION_FAILED", "TimeoutSeconds and TimeoutSecondsPath exclude each other", where)
        timeout = self._whole(raw, "TimeoutSeconds", where, 1, MAX_SECONDS) if "TimeoutSeconds" in raw else None
        return TaskState(
            **common,
            **self._work(raw, where),
            resource=str(resource),
            integration=integration,
            timeout_s=timeout,
            timeout_path=self._path(raw, "TimeoutSecondsPath", where),
        )

    def _invoke_parameters(self, parameters: Any, where: str) -> None:
        if not isinstance(parameters, Mapping):
            self._say("SCHEMA_VALIDATION_FAILED", "lambda:invoke needs Parameters with a FunctionName", where)
            return
        names = {key.removesuffix(".$") for key in parameters}
        if "FunctionName" not in names:
            self._say("SCHEMA_VALIDATION_FAILED", "The field 'FunctionName' is required", f"{where}/Parameters")
        for name in sorted(names - INVOKE_FIELDS):
            self._gap(f"Parameter {name} of lambda:invoke", f"{where}/Parameters")
        if parameters.get("InvocationType", "RequestResponse") != "RequestResponse" or "InvocationType.$" in parameters:
            self._gap("InvocationType other than RequestResponse", f"{where}/Parameters")

    def _parallel(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        branches = raw.get("Branches")
        if not isinstance(branches, list) or not branches:
            self._say("SCHEMA_VALIDATION_FAILED", "Branches must be a list of at least one branch", where)
            branches = []
        blocks = []
        for index, branch in enumerate(branches):
            place = f"{where}/Branches[{index}]"
            if not isinstance(branch, Mapping):
                self._say("SCHEMA_VALIDATION_FAILED", "A branch must be an object", place)
                continue
            self._only(branch, {"Comment", "StartAt", "States"}, place)
            blocks.append(self._block(branch, place))
        return ParallelState(**common, **self._work(raw, where), branches=tuple(blocks))

    def _map(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        processor = raw.get("ItemProcessor", raw.get("Iterator"))
        if not isinstance(processor, Mapping) or ("ItemProcessor" in raw) == ("Iterator" in raw):
            self._say("SCHEMA_VALIDATION_FAILED", "Exactly one of ItemProcessor and Iterator is needed", where)
            processor = {}
        place = f"{where}/ItemProcessor"
        self._only(processor, {"Comment", "StartAt", "States", "ProcessorConfig"}, place)
        if processor.get("ProcessorConfig", {}).get("Mode", "INLINE") != "INLINE":
            self._gap("Map in DISTRIBUTED mode", place)
        if "Parameters" in raw and "ItemSelector" in raw:
            self._say("SCHEMA_VALIDATION_FAILED", "Parameters is the old name of ItemSelector; give one", where)
        work = self._work(raw, where)
        if "ItemSelector" in raw:
            work["parameters"] = self._template(raw, "ItemSelector", where)
        asked = self._whole(raw, "MaxConcurrency", where, 0, 10_000) if "MaxConcurrency" in raw else 0
        return MapState(
            **common,
            **work,
            items_path=self._path(raw, "ItemsPath", where) or WHOLE,
            processor=self._block(processor, place),
            max_concurrency=min(asked or MAX_INLINE_CONCURRENCY, MAX_INLINE_CONCURRENCY),
        )

    def _pass(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        return PassState(
            **common,
            parameters=self._template(raw, "Parameters", where),
            result=raw.get("Result"),
            has_result="Result" in raw,
            result_path=self._try(where, parse_result_path, raw.get("ResultPath", "$")),
        )

    def _choice(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        choices = raw.get("Choices")
        if not isinstance(choices, list) or not choices:
            self._say("SCHEMA_VALIDATION_FAILED", "Choices must be a list of at least one rule", where)
            choices = []
        rules = []
        for index, rule in enumerate(choices):
            place = f"{where}/Choices[{index}]"
            if not isinstance(rule, Mapping) or not isinstance(rule.get("Next"), str):
                self._say("SCHEMA_VALIDATION_FAILED", "A choice needs a Next", place)
                continue
            rules.append((self._try(place, compile_rule, rule), rule["Next"]))
        return ChoiceState(**common, rules=tuple(rules), default=raw.get("Default"))

    def _wait(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        given = sorted({"Seconds", "SecondsPath", "Timestamp", "TimestampPath"} & set(raw))
        if len(given) != 1:
            what = "Exactly one of Seconds, SecondsPath, Timestamp and TimestampPath is needed"
            self._say("SCHEMA_VALIDATION_FAILED", what, where)
        until = parse_timestamp(raw.get("Timestamp"))
        if "Timestamp" in raw and until is None:
            self._say("SCHEMA_VALIDATION_FAILED", f"Timestamp {raw['Timestamp']!r} is not an RFC 3339 time", where)
        return WaitState(
            **common,
            seconds=self._whole(raw, "Seconds", where, 0, MAX_SECONDS) if "Seconds" in raw else None,
            seconds_path=self._path(raw, "SecondsPath", where),
            until_s=until.timestamp() if until else None,
            timestamp_path=self._path(raw, "TimestampPath", where),
        )

    def _succeed(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        return State(**common)

    def _fail(self, raw: Mapping[str, Any], common: dict[str, Any], where: str) -> State:
        for literal, path in (("Error", "ErrorPath"), ("Cause", "CausePath")):
            if literal in raw and path in raw:
                self._say("SCHEMA_VALIDATION_FAILED", f"{literal} and {path} exclude each other", where)
            if not isinstance(raw.get(literal, ""), str):
                self._say("SCHEMA_VALIDATION_FAILED", f"{literal} must be a string", where)
        return FailState(
            **common,
            error=raw.get("Error"),
            cause=raw.get("Cause"),
            error_path=self._path(raw, "ErrorPath", where),
            cause_path=self._path(raw, "CausePath", where),
        )

    # --- parts that several types share ---

    def _work(self, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {
            "parameters": self._template(raw, "Parameters", where),
            "result_selector": self._template(raw, "ResultSelector", where),
            "result_path": self._try(where, parse_result_path, raw.get("ResultPath", "$")),
            "retriers": tuple(self._retrier(entry, place) for entry, place in self._entries(raw, "Retry", where)),
            "catchers": tuple(self._catcher(entry, place) for entry, place in self._entries(raw, "Catch", where)),
        }

    def _entries(self, raw: Mapping[str, Any], field: str, where: str) -> list[tuple[Mapping[str, Any], str]]:
        entries = raw.get(field, [])
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            self._say("SCHEMA_VALIDATION_FAILED", f"{field} must be a list of objects", where)
            return []
        placed = [(entry, f"{where}/{field}[{index}]") for index, entry in enumerate(entries)]
        for index, (entry, place) in enumerate(placed):
            errors = entry.get("ErrorEquals")
            if not isinstance(errors, list) or not errors or not all(isinstance(name, str) for name in errors):
                self._say("SCHEMA_VALIDATION_FAILED", "ErrorEquals must be a list of error names", place)
            elif "States.ALL" in errors and (len(errors) > 1 or index < len(placed) - 1):
                self._say("SCHEMA_VALIDATION_FAILED", "States.ALL must stand alone and in the last entry", place)
        return placed

    def _retrier(self, raw: Mapping[str, Any], place: str) -> Retrier:
        known = {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy"}
        self._only(raw, known | {"Comment"}, place)
        rate, jitter = raw.get("BackoffRate", 2.0), raw.get("JitterStrategy", "NONE")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or rate < 1:
            self._say("SCHEMA_VALIDATION_FAILED", f"BackoffRate {rate!r} must be a number of 1.0 or more", place)
        if jitter not in ("FULL", "NONE"):
            self._say("SCHEMA_VALIDATION_FAILED", f"JitterStrategy {jitter!r} is none of FULL, NONE", place)
        interval = self._whole(raw, "IntervalSeconds", place, 1, MAX_SECONDS, default=1)
        longest = self._whole(raw, "MaxDelaySeconds", place, 1, 31_622_399) if "MaxDelaySeconds" in raw else None
        if longest is not None and longest <= interval:
            self._say("SCHEMA_VALIDATION_FAILED", "MaxDelaySeconds must be greater than IntervalSeconds", place)
        return Retrier(
            errors=_names(raw),
            interval_s=interval,
            backoff_rate=rate,
            max_attempts=self._whole(raw, "MaxAttempts", place, 0, MAX_SECONDS, default=3),
            max_delay_s=longest,
            full_jitter=jitter == "FULL",
        )

    def _catcher(self, raw: Mapping[str, Any], place: str) -> Catcher:
        self._only(raw, {"ErrorEquals", "ResultPath", "Next", "Comment"}, place)
        if not isinstance(raw.get("Next"), str):
            self._say("SCHEMA_VALIDATION_FAILED", "A catcher needs a Next", place)
        result_path = self._try(place, parse_result_path, raw.get("ResultPath", "$"))
        return Catcher(_names(raw), result_path, str(raw.get("Next")))

    def _template(self, raw: Mapping[str, Any], field: str, where: str) -> Template | None:
        if field not in raw:
            return None
        if field == "ResultSelector" and not isinstance(raw[field], Mapping):
            self._say("SCHEMA_VALIDATION_FAILED", "ResultSelector must be an object", where)
        return self._try(f"{where}/{field}", lambda source: compile_template(source, parse_expression), raw[field])

    def _io_path(self, raw: Mapping[str, Any], field: str, where: str) -> Any:
        if field not in raw:
            return WHOLE
        return NOTHING if raw[field] is None else self._try(where, parse_path, raw[field])

    def _path(self, raw: Mapping[str, Any], field: str, where: str) -> Path | None:
        return self._try(where, parse_path, raw[field]) if field in raw else None

    def _whole(self, raw: Mapping[str, Any], field: str, where: str, least: int, most: int, *, default: int = 0) -> int:
        value = raw.get(field, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            what = f"{field} {value!r} must be a whole number from {least} to {most}"
            self._say("SCHEMA_VALIDATION_FAILED", what, where)
            return least
        return value

    def _only(self, raw: Mapping[str, Any], known: set[str], where: str) -> None:
        for field in raw:
            if field in NEWER_FIELDS:
                self._gap(f"Field {field!r}", where)
            elif field not in known:
                self._say("SCHEMA_VALIDATION_FAILED", f"Field {field!r} is not supported", where)
        if raw.get("QueryLanguage", "JSONPath") != "JSONPath":
            self._gap(f"QueryLanguage {raw['QueryLanguage']!r}, only JSONPath", where)

    def _try(self, where: str, parse: Callable[[Any], Any], source: Any) -> Any:
        try:
            return parse(source)
        except NotAllowed as problem:
            self._say("SCHEMA_VALIDATION_FAILED", str(problem), where)
        except Gap as problem:
            self._gap(str(problem), where)
        return None

    def _gap(self, what: str, where: str) -> None:
        self.gaps.append(f"{what} at {where or '/'}")

    def _say(self, code: str, what: str, where: str) -> None:
        self.problems.append(f"{code}: {what} at {where or '/'}")


def _names(raw: Mapping[str, Any]) -> tuple[str, ...]:
    errors = raw.get("ErrorEquals")
    return tuple(errors) if isinstance(errors, list) else ()


_KINDS: Final[dict[str, Callable[[_Reader, Mapping[str, Any], dict[str, Any], str], State]]] = {
    "Task": _Reader._task,
    "Parallel": _Reader._parallel,
    "Map": _Reader._map,
    "Pass": _Reader._pass,
    "Choice": _Reader._choice,
    "Wait": _Reader._wait,
    "Succeed": _Reader._succeed,
    "Fail": _Reader._fail,
}
