"""How many instances copies need, how long starting takes, and what an endpoint has to do next. Pure, like `policy`."""
