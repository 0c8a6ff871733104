"""Public traces by name: where they come from, how they get here, and what they are like."""
