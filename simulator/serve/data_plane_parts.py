"""Where the pieces of a streamed answer are cut.

SageMaker passes on what comes from the container's connection, so a part can hold several events, half of one, or half of a
character. How a stream is cut here depends on its bytes and a seed alone, not on when they come.
"""

from __future__ import annotations

from typing import Literal

from simulator.physics.routing import unit_draw

PartsMode = Literal["seeded", "aligned"]

_WHOLE, _TWO_PARTS, _TAIL_KEPT = 0.45, 0.75, 0.90
"""Upper ends of the shares: one part per chunk, one chunk in two parts, the end of the chunk kept for the next part; the
rest is kept whole."""


class PartCutter:
    """Cuts the chunks that a container writes into parts. `part_bytes`: parts of exactly this size, whatever the mode.

    seeded: anywhere, in half of the cases inside a character if the chunk has one of several bytes. aligned: one part
    per chunk. What is kept for the next part is at most one chunk (or part).
    """

    def __init__(self, seed: int, mode: PartsMode = "seeded", part_bytes: int | None = None) -> None:
        self._seed, self._mode, self._part_bytes = seed, mode, part_bytes
        self._kept = b""
        self._draws = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The parts that can go out now that `chunk` has come; together with what is kept they are what came in."""
        if self._part_bytes is not None:
            return self._by_size(chunk)
        if self._mode == "aligned":
            return [chunk] if chunk else []
        data, had_kept, self._kept = self._kept + chunk, bool(self._kept), b""
        u = self._draw()
        if u < _WHOLE or len(data) < 2:
            return [data] if data else []
        if u >= _TAIL_KEPT and not had_kept:
            self._kept = data
            return []
        at = self._cut(data)
        if u < _TWO_PARTS:
            return [data[:at], data[at:]]
        self._kept = data[at:]
        return [data[:at]]

    def flush(self) -> list[bytes]:
        """The last part, at the end of the stream."""
        kept, self._kept = self._kept, b""
        return [kept] if kept else []

    def _by_size(self, chunk: bytes) -> list[bytes]:
        assert self._part_bytes is not None
        data, size = self._kept + chunk, self._part_bytes
        whole = len(data) - len(data) % size
        self._kept = data[whole:]
        return [data[at : at + size] for at in range(0, whole, size)]

    def _cut(self, data: bytes) -> int:
        """Where to cut: 1 … len - 1; a byte 10xxxxxx is not the first of its character."""
        if self._draw() < 0.5 and (inside := [at for at in range(1, len(data)) if data[at] & 0xC0 == 0x80]):
            return inside[int(self._draw() * len(inside))]
        return 1 + int(self._draw() * (len(data) - 1))

    def _draw(self) -> float:
        self._draws += 1
        return unit_draw(self._seed, self._draws - 1)
