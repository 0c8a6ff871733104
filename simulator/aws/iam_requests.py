"""Which IAM permissions an API call needs: action, resource and condition keys.

From the Service Authorization Reference. A resource of "*" means that the action cannot be scoped, so only a statement
whose Resource is "*" allows it. A call that is not listed here is a gap of the emulation and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulator.aws.iam_policy import Request
from simulator.not_emulated import NotEmulated

Params = Mapping[str, Any]

FREE = {("sts", "GetCallerIdentity")}
"""Calls that need no permission."""


class Permissions:
    """What the calls of one account and region need."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id, self._region = account_id, region

    def needed(self, service: str, operation: str, params: Params) -> list[Request]:
        """Every permission that the call needs; all must be allowed. `service` is botocore's name."""
        if (service, operation) in FREE:
            return []
        derive = _SERVICES.get(service)
        if derive is None:
            raise NotEmulated(f"IAM: what {service} {operation} needs is not known; see simulator/aws/iam_requests.py")
        return list(derive(self, operation, params))

    def arn(self, service: str, path: str) -> str:
        return f"arn:aws:{service}:{self._region}:{self._account_id}:{path}"

    # One method per service, in alphabetical order.

    def _application_autoscaling(self, operation: str, params: Params) -> Iterable[Request]:
        resource = "*" if operation.startswith("Describe") else self.arn("application-autoscaling", "scalable-target/*")
        yield Request(f"application-autoscaling:{operation}", resource)

    def _cloudformation(self, operation: str, params: Params) -> Iterable[Request]:
        name = params.get("StackName")
        yield Request(f"cloudformation:{operation}", self.arn("cloudformation", f"stack/{name}/*") if name else "*")

    def _cloudwatch(self, operation: str, params: Params) -> Iterable[Request]:
        action = f"cloudwatch:{operation}"
        if operation == "PutMetricData":
            yield Request(action, "*", {"cloudwatch:namespace": (params["Namespace"],)})
        elif operation in ("GetMetricData", "GetMetricStatistics", "ListMetrics", "GetMetricWidgetImage"):
            yield Request(action, "*")
        elif operation in ("TagResource", "UntagResource", "ListTagsForResource"):
            yield Request(action, params["ResourceARN"], _tag_keys(params))
        elif operation in ("DescribeAlarms", "DescribeAlarmHistory") and "AlarmName" not in params:
            yield Request(action, self.arn("cloudwatch", "alarm:*"))
        else:
            names = params.get("AlarmNames") or [params["AlarmName"]]
            for name in names:
                yield Request(action, self.arn("cloudwatch", f"alarm:{name}"), _tag_keys(params))
            if params.get("Tags"):
                yield Request("cloudwatch:TagResource", self.arn("cloudwatch", f"alarm:{names[0]}"), _tag_keys(params))

    def _dynamodb(self, operation: str, params: Params) -> Iterable[Request]:
        if operation == "ListTables":
            yield Request("dynamodb:ListTables", "*")
        elif operation in ("TransactWriteItems", "TransactGetItems"):
            actions = {
                "Put": "PutItem",
                "Update": "UpdateItem",
                "Delete": "DeleteItem",
                "ConditionCheck": "ConditionCheckItem",
            }
            for item in params["TransactItems"]:
                for kind, body in item.items():
                    yield Request(f"dynamodb:{actions.get(kind, 'GetItem')}", self._table(body["TableName"]))
        elif operation in ("BatchGetItem", "BatchWriteItem"):
            for table in params["RequestItems"]:
                yield Request(f"dynamodb:{operation}", self._table(table))
        else:
            index = f"/index/{params['IndexName']}" if params.get("IndexName") else ""
            yield Request(f"dynamodb:{operation}", self._table(params["TableName"]) + index)

    def _events(self, operation: str, params: Params) -> Iterable[Request]:
        if operation == "PutEvents":
            for entry in params["Entries"]:
                bus = entry.get("EventBusName", "default").rsplit("/", 1)[-1]
                keys = {
                    "events:source": (entry.get("Source", ""),),
                    "events:detail-type": (entry.get("DetailType", ""),),
                }
                yield Request("events:PutEvents", self.arn("events", f"event-bus/{bus}"), keys)
            return
        if operation in ("ListRules", "ListEventBuses", "TestEventPattern"):
            yield Request(f"events:{operation}", "*" if operation != "ListRules" else self.arn("events", "rule/*"))
            return
        bus = params.get("EventBusName", "default").rsplit("/", 1)[-1]
        if operation == "DescribeEventBus":
            yield Request("events:DescribeEventBus", self.arn("events", f"event-bus/{params.get('Name', 'default')}"))
            return
        name = params.get("Rule", params.get("Name"))
        prefix = "" if bus == "default" else f"{bus}/"
        yield Request(f"events:{operation}", self.arn("events", f"rule/{prefix}{name}"), _tag_keys(params))
        for role_arn in sorted({one["RoleArn"] for one in params.get("Targets", []) if "RoleArn" in one}):
            yield Request("iam:PassRole", role_arn, {"iam:passedtoservice": ("events.amazonaws.com",)})

    def _lambda(self, operation: str, params: Params) -> Iterable[Request]:
        action = "InvokeFunction" if operation == "Invoke" else operation
        if "FunctionName" not in params:
            yield Request(f"lambda:{action}", "*")
            return
        name = str(params["FunctionName"])
        resource = (
            name if name.startswith("arn:") else self.arn("lambda", f"function:{name.rsplit('function:', 1)[-1]}")
        )
        yield Request(f"lambda:{action}", resource)

    def _logs(self, operation: str, params: Params) -> Iterable[Request]:
        group = params.get("logGroupName")
        yield Request(f"logs:{operation}", self.arn("logs", f"log-group:{group}:*") if group else "*")

    def _sagemaker(self, operation: str, params: Params) -> Iterable[Request]:
        action = f"sagemaker:{operation}"
        if operation in ("AddTags", "DeleteTags", "ListTags"):
            yield Request(action, params["ResourceArn"], _tag_keys(params))
            return
        if operation.startswith("List"):
            yield Request(action, "*")
            return
        kinds = {
            "InferenceComponentName": "inference-component",
            "EndpointName": "endpoint",
            "EndpointConfigName": "endpoint-config",
            "ModelName": "model",
        }
        # UpdateEndpoint and CreateEndpoint name an endpoint and a config and need both; a component only itself.
        named = [name for name in kinds if name in params]
        if "InferenceComponentName" in named:
            named = ["InferenceComponentName"]
        for name in named:
            # SageMaker's ARNs carry the name in lower case.
            yield Request(action, self.arn("sagemaker", f"{kinds[name]}/{params[name].lower()}"), _tag_keys(params))

    def _sagemaker_runtime(self, operation: str, params: Params) -> Iterable[Request]:
        yield Request(f"sagemaker:{operation}", self.arn("sagemaker", f"endpoint/{params['EndpointName'].lower()}"))
        component = params.get("InferenceComponentName")
        if component:
            yield Request(f"sagemaker:{operation}", self.arn("sagemaker", f"inference-component/{component.lower()}"))

    def _scheduler(self, operation: str, params: Params) -> Iterable[Request]:
        if operation.startswith("List"):
            yield Request(f"scheduler:{operation}", "*")
            return
        if operation.endswith("ScheduleGroup"):
            yield Request(f"scheduler:{operation}", self.arn("scheduler", f"schedule-group/{params['Name']}"))
            return
        path = f"schedule/{params.get('GroupName', 'default')}/{params['Name']}"
        yield Request(f"scheduler:{operation}", self.arn("scheduler", path))
        role_arn = params.get("Target", {}).get("RoleArn")
        if role_arn:
            yield Request("iam:PassRole", role_arn, {"iam:passedtoservice": ("scheduler.amazonaws.com",)})

    def _service_quotas(self, operation: str, params: Params) -> Iterable[Request]:
        code = params.get("QuotaCode")
        path = f"{params.get('ServiceCode')}/{code}"
        yield Request(f"servicequotas:{operation}", self.arn("servicequotas", path) if code else "*")

    def _sns(self, operation: str, params: Params) -> Iterable[Request]:
        yield Request(f"sns:{operation}", params.get("TopicArn") or params.get("TargetArn") or "*")

    def _sqs(self, operation: str, params: Params) -> Iterable[Request]:
        name = params["QueueUrl"].rsplit("/", 1)[-1] if "QueueUrl" in params else params.get("QueueName")
        yield Request(f"sqs:{operation}", self.arn("sqs", name) if name else "*")

    def _ssm(self, operation: str, params: Params) -> Iterable[Request]:
        names = params.get("Names") or [params.get("Name") or params.get("Path") or "*"]
        for name in names:
            yield Request(f"ssm:{operation}", self.arn("ssm", f"parameter/{name.lstrip('/')}"))

    def _states(self, operation: str, params: Params) -> Iterable[Request]:
        arn = params.get("executionArn") or params.get("stateMachineArn") or "*"
        yield Request(f"states:{operation}", arn)

    def _xray(self, operation: str, params: Params) -> Iterable[Request]:
        yield Request(f"xray:{operation}", "*")

    def _table(self, name: str) -> str:
        return name if name.startswith("arn:") else self.arn("dynamodb", f"table/{name}")


_SERVICES: dict[str, Callable[[Permissions, str, Params], Iterable[Request]]] = {
    "application-autoscaling": Permissions._application_autoscaling,
    "cloudformation": Permissions._cloudformation,
    "cloudwatch": Permissions._cloudwatch,
    "dynamodb": Permissions._dynamodb,
    "events": Permissions._events,
    "lambda": Permissions._lambda,
    "logs": Permissions._logs,
    "sagemaker": Permissions._sagemaker,
    "sagemaker-runtime": Permissions._sagemaker_runtime,
    "scheduler": Permissions._scheduler,
    "service-quotas": Permissions._service_quotas,
    "sns": Permissions._sns,
    "sqs": Permissions._sqs,
    "ssm": Permissions._ssm,
    "stepfunctions": Permissions._states,
    "xray": Permissions._xray,
}


def _tag_keys(params: Params) -> dict[str, tuple[str, ...]]:
    """`aws:RequestTag/…` and `aws:TagKeys` of a request that brings tags."""
    tags = params.get("Tags") or []
    keys = {f"aws:requesttag/{tag['Key'].lower()}": (tag["Value"],) for tag in tags}
    names = tuple(tag["Key"] for tag in tags) or tuple(params.get("TagKeys", []))
    return keys | ({"aws:tagkeys": names} if names else {})
