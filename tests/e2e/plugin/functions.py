"""Updating a function in MiniStack as Lambda does it: what runs is left to end, and nobody waits for it.

MiniStack kills the processes of a function that is updated, in the middle of an invocation too, and deletes their
unpacked layers on the event loop, where everything else stands still meanwhile. In Lambda an invocation that has begun
ends on the code that it began with.
"""

from __future__ import annotations

import threading
from typing import Any

from ministack.core import lambda_runtime


def let_invocations_end() -> None:
    """A process that MiniStack has taken out of its pool is ended when its invocation is over, in the background."""
    kill = lambda_runtime.kill_workers

    def end(worker: Any) -> None:
        # Held for the whole of an invocation.
        with worker._lock:
            kill([worker])

    def kill_workers(workers: Any) -> None:
        for worker in workers:
            if worker is not None:
                threading.Thread(target=end, args=(worker,), daemon=True).start()

    lambda_runtime.kill_workers = kill_workers
