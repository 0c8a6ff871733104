"""What Quickstep does, one file per use case: gather (gateways), decide (policy, capacity), apply (gateways)."""
