"""The decision, one file per stage; `pipeline.STAGES` is the list. Pure: no I/O, no clock, no randomness, no logging."""
