"""RecordFailure: a state of the loop failed for good. Say so, and let Reconcile begin a new loop."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.loop import record_failure

prepare("dynamodb")


def handler(event, context):
    """Free the loop and leave a trace of what went wrong."""
    settings = configuration.settings()
    return record_failure(event, registry=Registry(settings.table_name))
