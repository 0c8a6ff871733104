"""VerifyInstances: compare the instances that SageMaker has with those it was asked for."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.loop import verify

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Return the next word for the state machine: place copies, wait on, or give up on what did not come."""
    settings = configuration.settings()
    return verify(event, holder=context.aws_request_id, registry=Registry(settings.table_name), settings=settings)
