"""Own assertions about the stack's resources. Each check yields (what was looked at, what is wrong or None)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.security.editions import Edition, strings, text, texts

Looked = Iterator[tuple[str, str | None]]
"""One entry for everything that a check has looked at: its name, and what is wrong with it; None = nothing."""

RUNTIMES = ("python3.13", "python3.14")
"""Newest first-class Python runtimes of Lambda; the layer and every function must agree on one."""

QUEUE_DAYS = 14
TAGGED = (
    "AWS::DynamoDB::Table",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::StepFunctions::StateMachine",
)
"""What runs or keeps something carries the tag itself, however it is deployed; the rest gets it from the stack's tags."""

_SECRET_NAME = re.compile(r"(?i)(secret|passw|token|api_?key|private_?key|credential)")
_SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bghp_\w{36}\b|\bsk-\w{20,}"
)


# -- functions -------------------------------------------------------------------------------------------------------------


def invocation_is_ours(edition: Edition) -> Looked:
    """SEC-01: who may invoke names itself and its rule, and a role is assumed by one service."""
    for name, one in edition.of_type("AWS::Lambda::Permission"):
        principal = text(one["Principal"])
        if "*" in principal:
            yield name, f"lets {principal} invoke"
        elif one.get("FunctionUrlAuthType") == "NONE":
            yield name, "lets anybody use the function URL"
        else:
            bound = "SourceArn" in one or "SourceAccount" in one
            yield (
                name,
                None if bound else f"lets {principal} invoke for anybody: it has neither SourceArn nor SourceAccount",
            )
    for name, role in edition.of_type("AWS::IAM::Role"):
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            yield name, _trust(statement)


def _trust(statement: Mapping[str, Any]) -> str | None:
    principal = statement["Principal"]
    service = principal.get("Service") if isinstance(principal, Mapping) and set(principal) == {"Service"} else None
    if not isinstance(service, str):
        return f"may be assumed by {text(principal)}; one service of AWS is enough"
    # Lambda assumes a role with no source in its request; the other services name theirs.
    source = (statement.get("Condition") or {}).get("StringEquals", {}).get("aws:SourceAccount")
    if service != "lambda.amazonaws.com" and source != {"Ref": "AWS::AccountId"}:
        return f"{service} may assume it for another account: there is no condition on aws:SourceAccount"
    return None


def urls_ask_for_an_identity(edition: Edition) -> Looked:
    """SEC-02."""
    for name, one in edition.of_type("AWS::Lambda::Url"):
        kind = one.get("AuthType")
        yield name, None if kind == "AWS_IAM" else f"has AuthType {kind}; only AWS_IAM knows who calls"


def runtimes_are_new_and_one(edition: Edition) -> Looked:
    """SEC-03."""
    layers = {r for _, one in edition.of_type("AWS::Lambda::LayerVersion") for r in one.get("CompatibleRuntimes", [])}
    for name, one in edition.of_type("AWS::Lambda::Function"):
        runtime = one.get("Runtime")
        if runtime not in RUNTIMES:
            yield name, f"runs {runtime}; expected {' or '.join(RUNTIMES)}"
        else:
            yield name, None if layers == {runtime} else f"runs {runtime}, its layer {', '.join(sorted(layers))}"


def functions_reserve_concurrency(edition: Edition) -> Looked:
    """SEC-04."""
    for name, one in edition.of_type("AWS::Lambda::Function"):
        there = "ReservedConcurrentExecutions" in one
        yield name, None if there else "has no reserved concurrency, so others may leave none for it"


def asynchronous_functions(edition: Edition) -> set[str]:
    """Functions that EventBridge, Scheduler or CloudFormation invoke, which wait for no answer."""
    functions = dict(edition.of_type("AWS::Lambda::Function"))
    by_text = {f"${{{name}.Arn}}": name for name in functions}
    for name, one in functions.items():
        if "FunctionName" in one:
            arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
            by_text[arn + text(one["FunctionName"])] = name
    called = [text(t["Arn"]) for _, rule in edition.of_type("AWS::Events::Rule") for t in rule["Targets"]]
    for _, role in edition.of_type("AWS::IAM::Role"):
        if "scheduler.amazonaws.com" in set(strings(role["AssumeRolePolicyDocument"])):
            policies = [s for p in role.get("Policies", []) for s in p["PolicyDocument"]["Statement"]]
            called += [one for s in policies for one in texts(s["Resource"])]
    called += [text(o["Value"]) for n, o in edition.template.get("Outputs", {}).items() if n.endswith("ServiceToken")]
    return {by_text[one] for one in called if one in by_text}


def failures_are_kept(edition: Edition) -> Looked:
    """SEC-05."""
    configured = {text(one["FunctionName"]): one for _, one in edition.of_type("AWS::Lambda::EventInvokeConfig")}
    for name in sorted(asynchronous_functions(edition)):
        config = configured.get(f"${{{name}}}", {})
        destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        missing = [key for key in ("MaximumEventAgeInSeconds", "MaximumRetryAttempts") if key not in config]
        if edition.type_of(text(destination).removeprefix("${").removesuffix(".Arn}")) != "AWS::SQS::Queue":
            yield name, "is invoked asynchronously and its failures go to no queue of the stack"
        else:
            yield name, f"leaves {' and '.join(missing)} to Lambda" if missing else None


def events_are_kept(edition: Edition) -> Looked:
    """SEC-06."""
    for name, rule in edition.of_type("AWS::Events::Rule"):
        for target in rule["Targets"]:
            queue = text(target.get("DeadLetterConfig", {}).get("Arn")).removeprefix("${").removesuffix(".Arn}")
            retry = target.get("RetryPolicy", {})
            if edition.type_of(queue) != "AWS::SQS::Queue":
                yield name, "loses what it cannot deliver: it has no dead-letter queue of the stack"
            else:
                whole = {"MaximumEventAgeInSeconds", "MaximumRetryAttempts"} <= set(retry)
                yield name, None if whole else "has no explicit RetryPolicy"


def everything_is_traced(edition: Edition) -> Looked:
    """SEC-07."""
    for name, one in edition.of_type("AWS::Lambda::Function"):
        yield name, None if one.get("TracingConfig", {}).get("Mode") == "Active" else "is not traced"
    for name, one in edition.of_type("AWS::StepFunctions::StateMachine"):
        yield name, None if one.get("TracingConfiguration", {}).get("Enabled") is True else "is not traced"


def the_machine_logs_all_but_data(edition: Edition) -> Looked:
    """SEC-08."""
    for name, one in edition.of_type("AWS::StepFunctions::StateMachine"):
        logging = one.get("LoggingConfiguration", {})
        if logging.get("Level") != "ALL" or not logging.get("Destinations"):
            yield name, f"logs {logging.get('Level', 'nothing')}; expected ALL, to a log group"
        else:
            kept_out = logging.get("IncludeExecutionData") is False
            yield name, None if kept_out else "writes the data of its executions into the log"


def logs_are_kept_for_a_while(edition: Edition) -> Looked:
    """SEC-09."""
    groups = dict(edition.of_type("AWS::Logs::LogGroup"))
    for name, one in groups.items():
        if "RetentionInDays" not in one:
            yield name, "is kept for ever: it has no RetentionInDays"
        else:
            plain = edition.hardened and "KmsKeyId" not in one
            yield name, "is not encrypted with the key that was given" if plain else None
    for name, one in edition.of_type("AWS::Lambda::Function"):
        where = text(one.get("LoggingConfig", {}).get("LogGroup")).strip("${}")
        yield name, None if where in groups else "writes to a log group that Lambda makes and that is kept for ever"


def nothing_secret_is_written_down(edition: Edition) -> Looked:
    """SEC-10."""
    for name, one in edition.of_type("AWS::Lambda::Function"):
        variables = one.get("Environment", {}).get("Variables", {})
        named = sorted(key for key in variables if _SECRET_NAME.search(key))
        if named:
            yield name, f"has a secret among its variables: {', '.join(named)}"
        else:
            plain = edition.hardened and "KmsKeyArn" not in one
            yield name, "does not encrypt its variables with the key that was given" if plain else None
    for name in edition.source["Parameters"]:
        yield (
            name,
            "asks for a secret; take the name of one in Secrets Manager instead" if _SECRET_NAME.search(name) else None,
        )
    for found in sorted({s for s in strings(edition.template) if _SECRET_VALUE.search(s)}):
        yield "template.yaml", f"contains what looks like a secret: {found[:12]}…"


# -- what keeps something ----------------------------------------------------------------------------------------------------


def tables_are_safe(edition: Edition) -> Looked:
    """SEC-11."""
    for name, one in edition.of_type("AWS::DynamoDB::Table"):
        encryption = one.get("SSESpecification", {})
        wrong = []
        if one.get("BillingMode") != "PAY_PER_REQUEST":
            wrong.append("is not on demand")
        if one.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
            wrong.append("cannot be restored to a point in time")
        if encryption.get("SSEEnabled") is not True:
            wrong.append("is not encrypted with a key of KMS")
        elif edition.hardened and "KMSMasterKeyId" not in encryption:
            wrong.append("is not encrypted with the key that was given")
        if one.get("TimeToLiveSpecification", {}).get("Enabled") is not True:
            wrong.append("forgets nothing")
        if edition.hardened and one.get("DeletionProtectionEnabled") is not True:
            wrong.append("may be deleted although KeepData is Yes")
        if edition.resources[name].get("UpdateReplacePolicy") != "Retain":
            wrong.append("is lost when an update replaces it")
        yield name, "; ".join(wrong) or None


def queues_are_safe(edition: Edition) -> Looked:
    """SEC-12."""
    policies = edition.of_type("AWS::SQS::QueuePolicy")
    for name, one in edition.of_type("AWS::SQS::Queue"):
        statements = [
            s for _, p in policies if f"${{{name}}}" in texts(p["Queues"]) for s in p["PolicyDocument"]["Statement"]
        ]
        wrong = []
        if edition.hardened and "KmsMasterKeyId" not in one:
            wrong.append("is not encrypted with the key that was given")
        if one.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in one:
            wrong.append("is not encrypted")
        if one.get("MessageRetentionPeriod") != QUEUE_DAYS * 86_400:
            wrong.append(f"does not keep for {QUEUE_DAYS} days")
        if not any(_only_over_tls(s, "sqs:*") for s in statements):
            wrong.append("takes messages that were not sent over TLS")
        for statement in statements:
            if statement["Effect"] == "Allow" and not _bound_to_a_source(statement):
                wrong.append(f"lets {text(statement['Principal'])} in for anybody ({statement.get('Sid')})")
        yield name, "; ".join(wrong) or None


def topics_are_safe(edition: Edition) -> Looked:
    """SEC-13. SNS's own key lets no CloudWatch alarm publish, so a topic is encrypted with a given key or not at all."""
    policies = edition.of_type("AWS::SNS::TopicPolicy")
    for name, one in edition.of_type("AWS::SNS::Topic"):
        statements = [
            s for _, p in policies if f"${{{name}}}" in texts(p["Topics"]) for s in p["PolicyDocument"]["Statement"]
        ]
        wrong = []
        key = text(one.get("KmsMasterKeyId", ""))
        if edition.hardened and not key:
            wrong.append("is not encrypted with the key that was given")
        if key.endswith("alias/aws/sns"):
            wrong.append("is encrypted with SNS's own key, with which no alarm can publish")
        if not any(_only_over_tls(s, "sns:Publish") for s in statements):
            wrong.append("takes messages that were not sent over TLS")
        for statement in statements:
            if statement["Effect"] == "Allow" and not _bound_to_a_source(statement):
                wrong.append(f"lets {text(statement['Principal'])} publish for anybody ({statement.get('Sid')})")
        yield name, "; ".join(wrong) or None


def keys_are_safe(edition: Edition) -> Looked:
    """SEC-14: keys of the stack rotate and belong to nobody else; a key that is given is named by its ARN."""
    for name, one in edition.of_type("AWS::KMS::Key"):
        wrong = [] if one.get("EnableKeyRotation") is True else ["does not rotate"]
        for statement in one.get("KeyPolicy", {}).get("Statement", []):
            principal = statement.get("Principal")
            anybody = principal == "*" or (isinstance(principal, Mapping) and "*" in texts(principal.get("AWS")))
            if statement["Effect"] == "Allow" and anybody and not statement.get("Condition"):
                wrong.append(f"lets anybody use it ({statement.get('Sid')})")
        yield name, "; ".join(wrong) or None
    parameter = edition.source["Parameters"].get("KmsKeyArn", {})
    pattern = re.compile(parameter.get("AllowedPattern", ".*"))
    admits = [bad for bad in ("*", "alias/aws/sqs", "arn:aws:kms:*:*:key/*") if pattern.fullmatch(bad)]
    yield "KmsKeyArn", f"admits {', '.join(admits)}" if admits else None


def _only_over_tls(statement: Mapping[str, Any], action: str) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    anybody = statement["Principal"] in ("*", {"AWS": "*"})
    return (
        statement["Effect"] == "Deny"
        and anybody
        and str(condition).lower() == "false"
        and bool({action, f"{action.split(':')[0]}:*"} & set(texts(statement["Action"])))
    )


def _bound_to_a_source(statement: Mapping[str, Any]) -> bool:
    """The principal is one service, for this account and one source."""
    principal = statement["Principal"]
    keys = {key for operator in statement.get("Condition", {}).values() for key in operator}
    one_service = isinstance(principal, Mapping) and isinstance(principal.get("Service"), str)
    return one_service and {"aws:SourceAccount", "aws:SourceArn"} <= keys


# -- events, alarms, parameters ------------------------------------------------------------------------------------------------


def patterns_match_only_ours(edition: Edition) -> Looked:
    """SEC-21."""
    prefix = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}--"
    for name, rule in edition.of_type("AWS::Events::Rule"):
        pattern = rule.get("EventPattern")
        if pattern is None:
            continue
        missing = [key for key in ("source", "detail-type", "account") if not pattern.get(key)]
        if missing:
            yield name, f"does not say which {', '.join(missing)}"
        elif texts(pattern["account"]) != ["${AWS::AccountId}"]:
            yield name, f"takes events of account {texts(pattern['account'])}"
        elif any("*" in text(s) or isinstance(s, Mapping) for s in pattern["source"]):
            yield name, f"takes events of {texts(pattern['source'])}"
        elif pattern["source"] == ["aws.cloudwatch"]:
            ours = [text(one["prefix"]) for one in pattern.get("resources", []) if set(one) == {"prefix"}] == [prefix]
            yield name, None if ours else "takes alarms of others: `resources` is not the prefix <stack>--"
        else:
            yield name, None


def buses_are_closed(edition: Edition) -> Looked:
    """SEC-22: a bus of the stack has a policy that is not open; the account's own bus is not opened by this stack."""
    policies = edition.of_type("AWS::Events::EventBusPolicy")
    for name, _ in edition.of_type("AWS::Events::EventBus"):
        its = [one for _, one in policies if name in text(one.get("EventBusName", ""))]
        yield name, None if its else "is a bus without a resource policy"
    for name, one in policies:
        principals = [text(one.get("Principal", "")), *(text(s.get("Principal")) for s in [one.get("Statement") or {}])]
        opened = any("*" in principal for principal in principals) and not one.get("Condition")
        yield name, "lets anybody put events" if opened else None
    for name, rule in edition.of_type("AWS::Events::Rule"):
        bus = text(rule.get("EventBusName", "default"))
        known = bus == "default" or edition.type_of(bus.strip("${}").split(".")[0]) == "AWS::Events::EventBus"
        yield name, None if known else f"listens to the bus {bus}, which is not this account's own"


def parameters_are_constrained(edition: Edition) -> Looked:
    """SEC-23."""
    for name, one in edition.source["Parameters"].items():
        free = not ({"AllowedPattern", "AllowedValues"} & set(one) or {"MinValue", "MaxValue"} <= set(one))
        wrong = ["takes anything"] if free else []
        pattern = one.get("AllowedPattern")
        # CloudFormation matches the whole value, so a pattern that admits blanks and quotes admits anything.
        if pattern and re.fullmatch(pattern, "x' ; ${AWS::StackName}\n"):
            wrong.append("has a pattern that admits anything")
        if not one.get("Description"):
            wrong.append("is not described")
        yield name, "; ".join(wrong) or None


def nothing_is_hard_coded(edition: Edition) -> Looked:
    """SEC-24. Names of AWS's services (`lambda.amazonaws.com`) are the same in every partition."""
    found = re.compile(r"arn:aws(-cn|-us-gov)?:|\b\d{12}\b|\b(us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-\d\b")
    written = {k: v for k, v in edition.source.items() if k not in ("Metadata", "Description")}
    for section, content in written.items():
        for where, value in content.items() if isinstance(content, Mapping) else ():
            if section == "Parameters":
                value = value.get("Default", "")
            hits = sorted({m.group() for s in strings(value) for m in found.finditer(s)})
            yield f"{section}.{where}", f"is written for {', '.join(hits)} only" if hits else None


def no_origin_is_let_in(edition: Edition) -> Looked:
    """SEC-25."""
    for kind in ("AWS::Lambda::Url", "AWS::ApiGatewayV2::Api"):
        for name, one in edition.of_type(kind):
            cors = one.get("Cors") or one.get("CorsConfiguration") or {}
            everybody = "*" in texts(cors.get("AllowOrigins"))
            yield name, "lets pages of any origin call (CORS *)" if everybody else None


def alarms_are_heard(edition: Edition) -> Looked:
    """SEC-26: an alarm has an action, or the rule of OnAlarm hears it by its name."""
    for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
        for name, one in edition.of_type(kind):
            if one.get("ActionsEnabled", True) is not True:
                yield name, "has its actions switched off"
            else:
                heard = text(one.get("AlarmName", "")).startswith("${AWS::StackName}--")
                yield name, None if heard or one.get("AlarmActions") else "rings where nobody hears it"


def everything_is_tagged(edition: Edition) -> Looked:
    """SEC-27: what runs or keeps something carries the tag itself."""
    for kind in TAGGED:
        for name, one in edition.of_type(kind):
            tags = one.get("Tags", [])
            keys = set(tags) if isinstance(tags, Mapping) else {tag["Key"] for tag in tags}
            yield name, None if "application" in keys else "does not carry the tag application"


def a_vpc_is_a_choice(edition: Edition) -> Looked:
    """SEC-30: no function is in a VPC unless its subnets were given, and then every one is."""
    for name, one in edition.of_type("AWS::Lambda::Function"):
        if edition.hardened:
            yield name, None if one.get("VpcConfig", {}).get("SubnetIds") else "is not in the subnets that were given"
        else:
            yield name, "is in a VPC although no subnets were given" if "VpcConfig" in one else None
