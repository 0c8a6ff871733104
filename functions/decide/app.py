"""Decide: the loop's first state. Looks without writing and says what comes next."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.loop import decide_next

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Return the next word for the state machine."""
    settings = configuration.settings()
    return decide_next(event, holder=context.aws_request_id, registry=Registry(settings.table_name), settings=settings)
