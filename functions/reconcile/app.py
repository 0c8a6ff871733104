"""Reconcile: once a minute, find what needs a look although no event came."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.reconcile import reconcile

prepare("dynamodb", "cloudwatch", "sagemaker")


def handler(event, context):
    """See that a loop runs for every endpoint that is due, changed or fell silent."""
    settings = configuration.settings()
    return reconcile(registry=Registry(settings.table_name), settings=settings)
