"""OnAlarm: an alarm, an endpoint change, a person or a client says "look at this endpoint now"."""

from quickstep import settings as configuration
from quickstep.gateways.registry import Registry
from quickstep.initialization import prepare
from quickstep.usecases.respond import respond

prepare("dynamodb", "sagemaker", "cloudwatch")


def handler(event, context):
    """Look at the endpoint that the event is about; set its copies at once if they fit, else leave it to the loop."""
    settings = configuration.settings()
    _, _, _, region, account, *_ = context.invoked_function_arn.split(":")
    return respond(
        event,
        account=account,
        region=region,
        holder=context.aws_request_id,
        registry=Registry(settings.table_name),
        settings=settings,
    )
