"""The public benchmark: ours and every peer on the same endpoint, the same traffic and the same delays."""
