"""Traffic for the emulated account: recorded traces, traces drawn from published rates, patterns, generated days."""
