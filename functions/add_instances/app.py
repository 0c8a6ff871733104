"""AddInstances: ask SageMaker for the instances that the wished copies need."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.model.loop import NextWord
from quickstep.usecases.loop import act

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Raise the variant's instance count once, to the packed need, if that is still due."""
    settings = configuration.settings()
    return act(
        event,
        NextWord.ADD_INSTANCES,
        holder=context.aws_request_id,
        registry=Registry(settings.table_name),
        settings=settings,
    )
