"""Heaps of the compiled engine: one per slot, in rows of two arrays, of (V at completion, request).

Equal V are told apart by the request's number, as tuples are. V is counted in tokens.
"""

from __future__ import annotations

from simulator.bench.compiler import compiled


@compiled
def push(heap_v, heap_i, c, size, v, i):
    j = size
    while j > 0:
        p = (j - 1) >> 1
        if heap_v[c, p] < v or (heap_v[c, p] == v and heap_i[c, p] < i):
            break
        heap_v[c, j], heap_i[c, j] = heap_v[c, p], heap_i[c, p]
        j = p
    heap_v[c, j], heap_i[c, j] = v, i


@compiled
def pop(heap_v, heap_i, c, size):
    """Remove the root of a heap that has `size` entries."""
    _sink(heap_v, heap_i, c, size - 1, 0, heap_v[c, size - 1], heap_i[c, size - 1])


@compiled
def remove(heap_v, heap_i, c, size, place):
    """Remove the entry at `place` of a heap that has `size` entries."""
    last = size - 1
    if place == last:
        return
    v, i = heap_v[c, last], heap_i[c, last]
    p = (place - 1) >> 1
    if place > 0 and (v < heap_v[c, p] or (v == heap_v[c, p] and i < heap_i[c, p])):
        push(heap_v, heap_i, c, place, v, i)
    else:
        _sink(heap_v, heap_i, c, last, place, v, i)


@compiled
def _sink(heap_v, heap_i, c, size, j, v, i):
    while True:
        k = 2 * j + 1
        if k >= size:
            break
        if k + 1 < size and (
            heap_v[c, k + 1] < heap_v[c, k] or (heap_v[c, k + 1] == heap_v[c, k] and heap_i[c, k + 1] < heap_i[c, k])
        ):
            k += 1
        if v < heap_v[c, k] or (v == heap_v[c, k] and i < heap_i[c, k]):
            break
        heap_v[c, j], heap_i[c, j] = heap_v[c, k], heap_i[c, k]
        j = k
    heap_v[c, j], heap_i[c, j] = v, i
