"""Control: Application Auto Scaling's API for SageMaker, by direct invoke, by URL and as CloudFormation resources."""

from quickstep import settings as configuration
from quickstep.control import entries
from quickstep.control.context import ControlContext
from quickstep.control.custom_resources import answer_custom_resource
from quickstep.gateways.cloudformation import respond
from quickstep.initialization import prepare

prepare("dynamodb")


def handler(event, context):
    """Answer one request, whichever way it came in."""

    def surroundings(owner=None):
        return ControlContext.of(configuration.settings(), context.aws_request_id, owner=owner)

    if entries.is_custom_resource(event):
        remaining_s = context.get_remaining_time_in_millis() / 1000
        return answer_custom_resource(event, surroundings, respond, remaining_s=remaining_s)
    if entries.is_http(event):
        return entries.answer_http(event, surroundings, request_id=context.aws_request_id)
    return entries.answer_direct(event, surroundings)
