"""Gateway: an OpenAI-shaped front that wakes a sleeping component and holds the request meanwhile."""

from quickstep.front.entry import answer_url, prepare

__all__ = ["handler", "prepare"]


def handler(event, context):
    """Answer one request to the function URL; streamed, if the runtime can stream."""
    return answer_url(event, context)
