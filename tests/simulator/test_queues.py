"""Queues: what is sent can be received once it is visible, and their depth is reported while they are active."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from simulator.aws.queues import QueueService
from simulator.clock import EPOCH_S, VirtualClock
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

MODEL = botocore.session.get_session().get_service_model("sqs")
URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/lost"


class Queues:
    """A QueueService with one queue, every request and answer held against botocore's model."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.depths: list[tuple[float, float]] = []
        self.service = QueueService(self.clock, self._report)
        self.service.create("lost", {"VisibilityTimeout": 60})

    def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        shapes = MODEL.operation_model(operation)
        assert not (report := ParamValidator().validate(params, shapes.input_shape)).has_errors(), (
            report.generate_report()
        )
        answer = self.service.call(operation, params)
        if shapes.output_shape is not None:
            report = ParamValidator().validate(answer, shapes.output_shape)
            assert not report.has_errors(), report.generate_report()
        return answer

    def run_to(self, t: float) -> None:
        self.clock.run_until(EPOCH_S + t)

    def _report(self, namespace: str, metric: str, dimensions: dict, at_s: float, **summary: Any) -> None:
        assert (namespace, metric, dimensions) == (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"QueueName": "lost"},
        )
        self.depths.append((self.clock.now_s - EPOCH_S, summary["maximum"]))


def test_a_received_message_is_hidden_for_its_visibility_time_out_and_gone_once_deleted():
    queues = Queues()
    attribute = {"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}}
    queues.call("SendMessage", QueueUrl=URL, MessageBody="one", MessageAttributes=attribute)
    (message,) = queues.call("ReceiveMessage", QueueUrl=URL)["Messages"]
    assert (message["Body"], message["MessageAttributes"]["ERROR_CODE"]["StringValue"]) == ("one", "NO_PERMISSIONS")
    assert message["MD5OfBody"] == "f97c5d29941bfb1b2fdab0874906ab82"  # md5 of "one"
    assert queues.call("ReceiveMessage", QueueUrl=URL) == {}
    queues.run_to(60)
    (again,) = queues.call("ReceiveMessage", QueueUrl=URL)["Messages"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    queues.call("DeleteMessage", QueueUrl=URL, ReceiptHandle=again["ReceiptHandle"])
    queues.run_to(200)
    assert queues.call("ReceiveMessage", QueueUrl=URL) == {}


def test_attributes_count_visible_and_hidden_messages():
    queues = Queues()
    for n in range(3):
        queues.call("SendMessage", QueueUrl=URL, MessageBody=str(n))
    queues.call("ReceiveMessage", QueueUrl=URL, MaxNumberOfMessages=2)
    found = queues.call("GetQueueAttributes", QueueUrl=URL, AttributeNames=["All"])["Attributes"]
    assert (found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]) == ("1", "2")
    assert found["VisibilityTimeout"] == "60"
    queues.call("PurgeQueue", QueueUrl=URL)
    found = queues.call("GetQueueAttributes", QueueUrl=URL, AttributeNames=["ApproximateNumberOfMessages"])[
        "Attributes"
    ]
    assert found == {"ApproximateNumberOfMessages": "0"}


def test_an_active_queue_reports_its_depth_every_minute_and_is_quiet_six_hours_later():
    queues = Queues()
    queues.service.start_reporting()
    queues.run_to(90)
    assert queues.depths == []
    message = queues.service.send("arn:aws:sqs:eu-west-1:111122223333:lost", "one", {})
    queues.run_to(130)
    queues.call("DeleteMessage", QueueUrl=URL, ReceiptHandle=f"{message.id}/1")
    queues.run_to(7 * 3600)
    assert queues.depths[:2] == [(120, 1.0), (180, 0.0)]
    assert queues.depths[-1][0] == 6 * 3600 + 120


def test_queues_are_found_by_name_and_prefix_and_a_missing_one_is_refused():
    queues = Queues()
    assert queues.call("CreateQueue", QueueName="other")["QueueUrl"].endswith("/other")
    assert queues.call("ListQueues", QueueNamePrefix="lo") == {"QueueUrls": [URL]}
    assert queues.call("GetQueueUrl", QueueName="lost") == {"QueueUrl": URL}
    for refused in (
        lambda: queues.call("GetQueueUrl", QueueName="gone"),
        lambda: queues.call("SendMessage", QueueUrl=URL + "x", MessageBody="a"),
        lambda: queues.service.send("arn:aws:sqs:eu-west-1:111122223333:gone", "a", {}),
    ):
        with pytest.raises(ServiceError, match="QueueDoesNotExist"):
            refused()
    with pytest.raises(NotEmulated):
        queues.call("AddPermission", QueueUrl=URL, Label="l", AWSAccountIds=["1"], Actions=["SendMessage"])
