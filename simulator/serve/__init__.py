"""`quickstep serve`: the emulated account behind a port, in real time, for real AWS clients."""
