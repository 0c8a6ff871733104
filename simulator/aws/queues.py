"""SQS standard queues, as far as dead letters and their alarms need them.

Messages are kept in a list in the order they came; visibility time-outs run on the virtual clock. Like SQS, an active
queue reports its depth to CloudWatch every minute (`AWS/SQS ApproximateNumberOfMessagesVisible`), and goes quiet six
hours after the last activity. Sources: SQS API reference and "Available CloudWatch metrics for Amazon SQS".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.clock import RANK_METRICS, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

ACTIVE_S = 6 * 3600


@dataclass
class Message:
    """One message; `attributes` are its message attributes as text."""

    id: str
    body: str
    attributes: dict[str, str]
    sent_s: float
    receives: int = 0
    hidden_until_s: float = 0.0


@dataclass
class Queue:
    """One queue; `properties` as the template or CreateQueue gave them."""

    name: str
    arn: str
    url: str
    attributes: dict[str, str]
    messages: list[Message] = field(default_factory=list)
    active_s: float = float("-inf")


class QueueService:
    """The queues of one account and region, by name. `report` publishes a metric (see CloudWatchService.publish)."""

    def __init__(
        self,
        clock: VirtualClock,
        report: Callable[..., None],
        *,
        account_id: str = "111122223333",
        region: str = "eu-west-1",
    ) -> None:
        self._clock, self._report = clock, report
        self._account_id, self._region = account_id, region
        self._sent = 0
        self.queues: dict[str, Queue] = {}

    def start_reporting(self) -> None:
        """Report the depth of every active queue each minute from now on."""
        first_s = (self._clock.now_s // 60 + 1) * 60
        self._clock.every(60, self._report_depths, first_s=first_s, rank=RANK_METRICS, label="queue depths")

    def create(self, name: str, attributes: Mapping[str, Any] | None = None) -> Queue:
        """The queue of that name, made if it is not there."""
        if name not in self.queues:
            self.queues[name] = Queue(
                name,
                f"arn:aws:sqs:{self._region}:{self._account_id}:{name}",
                f"https://sqs.{self._region}.amazonaws.com/{self._account_id}/{name}",
                {key: str(value) for key, value in (attributes or {}).items()},
            )
        return self.queues[name]

    def by_arn(self, arn: str) -> Queue:
        """The queue with that ARN; raises ServiceError QueueDoesNotExist."""
        queue = self.queues.get(arn.rsplit(":", 1)[-1])
        if queue is None or queue.arn != arn:
            raise _missing()
        return queue

    def send(self, arn: str, body: str, attributes: Mapping[str, str]) -> Message:
        """Put a message into the queue with that ARN."""
        queue = self.by_arn(arn)
        self._sent += 1
        message = Message(f"{self._sent:08x}-0000-4000-8000-000000000000", body, dict(attributes), self._clock.now_s)
        queue.messages.append(message)
        queue.active_s = self._clock.now_s
        return message

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one API operation of `sqs`; raises ServiceError for a refusal."""
        method = self._operations.get(operation)
        if method is None:
            raise NotEmulated(f"sqs {operation} is not emulated")
        return method(self, params)

    def _report_depths(self) -> None:
        now_s = self._clock.now_s
        for queue in self.queues.values():
            if queue.messages or now_s - queue.active_s <= ACTIVE_S:
                depth = float(sum(one.hidden_until_s <= now_s for one in queue.messages))
                self._report(
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    {"QueueName": queue.name},
                    now_s - 60,
                    period_s=60,
                    minimum=depth,
                    maximum=depth,
                    total=depth,
                    samples=1.0,
                    unit="Count",
                )

    def _create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"QueueUrl": self.create(params["QueueName"], params.get("Attributes")).url}

    def _url(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if params["QueueName"] not in self.queues:
            raise _missing()
        return {"QueueUrl": self.queues[params["QueueName"]].url}

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        prefix = params.get("QueueNamePrefix", "")
        return {"QueueUrls": [queue.url for name, queue in sorted(self.queues.items()) if name.startswith(prefix)]}

    def _send(self, params: Mapping[str, Any]) -> dict[str, Any]:
        attributes = {
            name: str(value.get("StringValue", value.get("BinaryValue", "")))
            for name, value in params.get("MessageAttributes", {}).items()
        }
        message = self.send(self._queue(params).arn, params["MessageBody"], attributes)
        return {"MessageId": message.id, "MD5OfMessageBody": _md5(message.body)}

    def _receive(self, params: Mapping[str, Any]) -> dict[str, Any]:
        queue, now_s = self._queue(params), self._clock.now_s
        hidden_s = params.get("VisibilityTimeout", int(queue.attributes.get("VisibilityTimeout", 30)))
        found = [one for one in queue.messages if one.hidden_until_s <= now_s][: params.get("MaxNumberOfMessages", 1)]
        answers = []
        for message in found:
            message.receives += 1
            message.hidden_until_s = now_s + hidden_s
            answer: dict[str, Any] = {
                "MessageId": message.id,
                "ReceiptHandle": f"{message.id}/{message.receives}",
                "MD5OfBody": _md5(message.body),
                "Body": message.body,
                "Attributes": {
                    "SentTimestamp": str(int(message.sent_s * 1000)),
                    "ApproximateReceiveCount": str(message.receives),
                },
            }
            if message.attributes:
                answer["MessageAttributes"] = {
                    name: {"StringValue": value, "DataType": "String"} for name, value in message.attributes.items()
                }
            answers.append(answer)
        return {"Messages": answers} if answers else {}

    def _delete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        queue = self._queue(params)
        message_id = params["ReceiptHandle"].split("/")[0]
        queue.messages = [one for one in queue.messages if one.id != message_id]
        queue.active_s = self._clock.now_s
        return {}

    def _purge(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._queue(params).messages.clear()
        return {}

    def _attributes(self, params: Mapping[str, Any]) -> dict[str, Any]:
        queue, now_s = self._queue(params), self._clock.now_s
        hidden = sum(one.hidden_until_s > now_s for one in queue.messages)
        every = {
            **queue.attributes,
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(len(queue.messages) - hidden),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
        }
        wanted = params.get("AttributeNames", [])
        return {"Attributes": {key: value for key, value in every.items() if "All" in wanted or key in wanted}}

    def _queue(self, params: Mapping[str, Any]) -> Queue:
        queue = self.queues.get(params["QueueUrl"].rsplit("/", 1)[-1])
        if queue is None:
            raise _missing()
        return queue

    _operations: Mapping[str, Callable[[QueueService, Mapping[str, Any]], dict[str, Any]]] = {
        "CreateQueue": _create,
        "GetQueueUrl": _url,
        "ListQueues": _list,
        "SendMessage": _send,
        "ReceiveMessage": _receive,
        "DeleteMessage": _delete,
        "PurgeQueue": _purge,
        "GetQueueAttributes": _attributes,
    }


def _missing() -> ServiceError:
    return ServiceError("QueueDoesNotExist", "The specified queue does not exist.")


def _md5(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
