"""RemoveCopies: ask SageMaker for fewer copies."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.model.loop import NextWord
from quickstep.usecases.loop import act

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Lower the copy counts, if that is still safe."""
    settings = configuration.settings()
    return act(
        event,
        NextWord.REMOVE_COPIES,
        holder=context.aws_request_id,
        registry=Registry(settings.table_name),
        settings=settings,
    )
