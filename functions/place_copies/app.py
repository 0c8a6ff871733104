"""PlaceCopies: ask SageMaker for the copies that fit on the instances in service."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.model.loop import NextWord
from quickstep.usecases.loop import act

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Raise the copy counts, all at once, if that is still due."""
    settings = configuration.settings()
    return act(
        event,
        NextWord.PLACE_COPIES,
        holder=context.aws_request_id,
        registry=Registry(settings.table_name),
        settings=settings,
    )
