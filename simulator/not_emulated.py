"""What the emulated account cannot do is an error of the run, never an answer of AWS."""

from __future__ import annotations


class NotEmulated(BaseException):
    """Something asked for a part of AWS that the emulated account does not have.

    Not an `Exception`: code that handles AWS refusing a call, however broadly, must not mistake a gap here for an answer.
    """


class EmulationFailed(BaseException):
    """The emulated account itself broke; the cause is the exception it comes from.

    Not an `Exception`, for the same reason: a handler would take it for its own failure and the run would go on.
    """
