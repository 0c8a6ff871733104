"""HandOver: start a successor of this loop before its history is full, or when the code has changed."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.loop import hand_over

prepare("dynamodb", "stepfunctions")


def handler(event, context):
    """Start the next generation of the endpoint's loop."""
    settings = configuration.settings()
    return hand_over(event, registry=Registry(settings.table_name), settings=settings)
