"""The wake-and-hold gateway: an OpenAI-shaped front that holds a request while its inference component wakes from zero."""
