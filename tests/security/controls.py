"""The thirty-two controls: what each asks, which of our assertions decide it, and which tools are asked as well.

Read it as a table. A control holds if every assertion and every tool named in its row finds nothing, in both editions of
the template; a rule of a tool that is named in no row belongs to `other`, and fails the command all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.security import permissions as p
from tests.security import repository as q
from tests.security import resources as r
from tests.security.editions import Edition
from tests.security.resources import Looked

OTHER = "other"


@dataclass(frozen=True)
class Control:
    """One row. `own` look at an edition of the template, `beside` at the repository; `tools` are (tool, rule).

    `tests` are pytest node ids whose passing is part of the control.
    """

    id: str
    title: str
    own: tuple[Callable[[Edition], Looked], ...] = ()
    beside: tuple[Callable[[], Looked], ...] = ()
    tools: tuple[tuple[str, str], ...] = field(default=())
    tests: tuple[str, ...] = ()


def _checkov(*numbers: str) -> tuple[tuple[str, str], ...]:
    return tuple(("checkov", f"CKV_AWS_{number}") for number in numbers)


def _guard(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple(("cfn-guard", f"SEC_{name}") for name in names)


def _cfn_lint(*rules: str) -> tuple[tuple[str, str], ...]:
    return tuple(("cfn-lint", rule) for rule in rules)


_EVENTS, _TELEMETRY = "tests/unit/test_events.py::", "tests/unit/test_telemetry.py::"

CONTROLS: tuple[Control, ...] = (
    Control(
        "SEC-01",
        "Nobody from outside may invoke a function or assume a role",
        own=(r.invocation_is_ours,),
        tools=_checkov("364", "60", "61") + _cfn_lint("WS1002", "WS1003") + _guard("01_permissions_name_their_source"),
    ),
    Control(
        "SEC-02",
        "Function URLs ask for an IAM identity",
        own=(r.urls_ask_for_an_identity,),
        tools=_checkov("258") + _guard("02_urls_ask_for_an_identity"),
        tests=("tests/functions/test_control_entries.py::test_a_request_that_is_none_is_answered_and_not_raised",),
    ),
    Control(
        "SEC-03",
        "A supported, new runtime, the same for functions and layer",
        own=(r.runtimes_are_new_and_one,),
        tools=_checkov("363") + _cfn_lint("E2531", "W2531"),
    ),
    Control(
        "SEC-04",
        "Concurrency is reserved for every function (ReservedConcurrencyPerFunction)",
        own=(r.functions_reserve_concurrency,),
        tools=_checkov("115") + _guard("04_functions_reserve_concurrency"),
    ),
    Control(
        "SEC-05",
        "Asynchronous invocations: on-failure queue, age and retries set",
        own=(r.failures_are_kept,),
        tools=_checkov("116") + _cfn_lint("ES1007"),
    ),
    Control(
        "SEC-06",
        "EventBridge targets: dead-letter queue and retry policy",
        own=(r.events_are_kept,),
        tools=_cfn_lint("ES4000") + _guard("06_events_are_kept"),
    ),
    Control(
        "SEC-07",
        "Functions and state machine are traced",
        own=(r.everything_is_traced,),
        tools=_cfn_lint("WS1000", "WS5000") + _guard("07_functions_are_traced", "07_machines_are_traced"),
    ),
    Control(
        "SEC-08",
        "The state machine logs everything but execution data",
        own=(r.the_machine_logs_all_but_data,),
        tools=_guard("08_machines_log_all_but_data"),
    ),
    Control(
        "SEC-09",
        "Log groups are the stack's own, kept for a while, with an own key on request",
        own=(r.logs_are_kept_for_a_while,),
        tools=_checkov("66", "158") + _cfn_lint("WS1004") + _guard("09_logs_are_kept_for_a_while"),
    ),
    Control(
        "SEC-10",
        "No secret in variables, parameters or template; variables with an own key on request",
        own=(r.nothing_secret_is_written_down,),
        tools=_checkov("45", "173"),
    ),
    Control(
        "SEC-11",
        "Table: on demand, restorable, encrypted, expiring; kept on replacement and by KeepData",
        own=(r.tables_are_safe,),
        tools=_checkov("28", "119") + _guard("11_tables_are_safe"),
    ),
    Control(
        "SEC-12",
        "Queue: encrypted, TLS only, 14 days, for one source only",
        own=(r.queues_are_safe,),
        tools=_checkov("27") + _cfn_lint("ES6000") + _guard("12_queues_are_encrypted"),
    ),
    Control(
        "SEC-13",
        "Topics: encrypted, TLS only, for one source only",
        own=(r.topics_are_safe,),
        tools=_checkov("26") + _cfn_lint("ES7000") + _guard("13_topics_are_encrypted"),
    ),
    Control(
        "SEC-14",
        "Keys rotate and are open to nobody; a given key is one ARN, used through services",
        own=(r.keys_are_safe, p.keys_are_used_through_services),
        tools=_checkov("7", "33"),
    ),
    Control(
        "SEC-15",
        "A role per function, and no policy of AWS on any",
        own=(p.policies_are_our_own, p.every_function_has_its_role),
        tools=_guard("15_policies_are_our_own"),
    ),
    Control(
        "SEC-16",
        "No wildcard off the list; every function may do exactly what its code reaches",
        own=(p.wildcards_are_on_the_list, p.actions_are_what_the_code_reaches),
        tools=(
            _checkov("62", "63", "107", "108", "109", "110", "111")
            + _guard("16_no_wildcard_action")
            + (("parliament", "RESOURCE_STAR"), ("parliament", "RESOURCE_POLICY_PRIVILEGE_ESCALATION"))
        ),
    ),
    Control(
        "SEC-17",
        "Every action exists and names the narrowest resource it knows",
        own=(p.resources_are_the_narrowest,),
        tools=(
            *(("parliament", rule) for rule in ("UNKNOWN_ACTION", "RESOURCE_MISMATCH", "INVALID_ARN", "MALFORMED")),
            *(("policy_sentry", rule) for rule in ("unknown action", "access level", "resource type", "ARN")),
            *_cfn_lint("W3037"),
        ),
    ),
    Control(
        "SEC-18",
        "iam:PassRole hands one role to one service",
        own=(p.a_role_is_handed_to_one_service,),
        tools=_guard("18_passing_a_role_names_the_service"),
    ),
    Control(
        "SEC-19",
        "Only holders of the write lease change SageMaker, bound to name and tag",
        own=(p.only_holders_of_the_lease_change_sagemaker,),
    ),
    Control(
        "SEC-20",
        "Events are put on the account's own bus, of one source and kind",
        own=(p.events_are_of_one_kind,),
    ),
    Control(
        "SEC-21",
        "Event patterns pin source, kind, account and the stack's alarms",
        own=(r.patterns_match_only_ours,),
        tools=_guard("21_patterns_name_source_kind_and_account"),
    ),
    Control("SEC-22", "Event buses are not open", own=(r.buses_are_closed,)),
    Control(
        "SEC-23",
        "Every parameter is constrained and described",
        own=(r.parameters_are_constrained,),
        tools=_cfn_lint("W2001", "E2015"),
    ),
    Control(
        "SEC-24",
        "No partition, region or account is written out",
        own=(r.nothing_is_hard_coded,),
        tools=_cfn_lint("I3042"),
    ),
    Control(
        "SEC-25",
        "No page of any origin is let in (CORS)",
        own=(r.no_origin_is_let_in,),
        tools=(("checkov", "CKV2_AWS_75"),),
    ),
    Control(
        "SEC-26",
        "Alarms are heard and their actions enabled",
        own=(r.alarms_are_heard,),
        tools=_guard("26_alarms_have_their_actions_enabled"),
    ),
    Control(
        "SEC-27",
        "What runs or keeps something carries the tag; stacks are deployed with tags",
        own=(r.everything_is_tagged,),
        beside=(q.the_stack_is_tagged,),
    ),
    Control(
        "SEC-28",
        "Dependencies pinned with hashes, bill of materials, no finding in the code",
        beside=(q.everything_is_pinned,),
        tools=(("cyclonedx", "bill of materials"), ("bandit", "B101"), ("bandit", "B310")),
    ),
    Control("SEC-29", "Suppressions carry a reason, expire, and are needed"),
    Control(
        "SEC-30",
        "No VPC by default, and why; all functions in one on request",
        own=(r.a_vpc_is_a_choice,),
        beside=(q.a_vpc_is_explained,),
        tools=_checkov("117"),
    ),
    Control(
        "SEC-31",
        "No prompt, completion or authorization reaches a log",
        beside=(q.logs_take_nothing_whole,),
        tests=(
            _TELEMETRY + "test_nothing_that_a_client_sent_reaches_a_line",
            _TELEMETRY + "test_a_hidden_key_is_hidden_at_any_depth_beside_anything",
            _EVENTS + "test_a_refusal_never_quotes_a_body",
        ),
    ),
    Control(
        "SEC-32",
        "Events of another account, region or source are refused, and what is too big",
        own=(q.events_pass_the_gate,),
        tests=(
            _EVENTS + "test_every_kind_of_event_from_elsewhere_is_foreign",
            _EVENTS + "test_only_alarms_of_this_stack_are_ours",
            _EVENTS + "test_an_alarms_arn_must_agree_with_the_rest_of_the_event",
            "tests/functions/test_control_entries.py::test_a_body_that_is_too_big_is_refused_before_it_is_read",
        ),
    ),
)


def control_of(tool: str, rule: str) -> str:
    """The control whose row names that rule of that tool; `other` if none does. All of bandit is about the code."""
    if tool == "bandit":
        return "SEC-28"
    return next((one.id for one in CONTROLS if (tool, rule) in one.tools), OTHER)
