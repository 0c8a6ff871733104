"""ScheduledAction: a scheduled action is due. Change its target's minimum and maximum."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.gateways.registry_control import ControlRegistry
from quickstep.initialization import prepare
from quickstep.usecases.apply_schedule import apply_schedule

prepare("dynamodb")


def handler(event, context):
    """Apply the scheduled action that the schedule names."""
    settings = configuration.settings()
    return apply_schedule(
        event,
        holder=context.aws_request_id,
        records=ControlRegistry(settings.table_name),
        registry=Registry(settings.table_name),
    )
