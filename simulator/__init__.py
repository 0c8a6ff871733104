"""The emulated AWS account: the deployed template, handlers and state machine on a virtual clock."""
