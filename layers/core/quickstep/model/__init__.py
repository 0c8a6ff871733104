"""Values that everything else speaks in: frozen, no I/O, times in seconds since the epoch."""
