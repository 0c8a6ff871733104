"""Amazon SQS: how much waits in a queue. For commands that people run."""

from __future__ import annotations

from quickstep.gateways.aws import client
from quickstep.gateways.refusals import translated


def waiting_messages(queue_url: str) -> int:
    """Messages in the queue, as good as SQS knows. Raises the errors of `refusals`."""
    with translated(f"count the messages of {queue_url}"):
        answer = client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])
