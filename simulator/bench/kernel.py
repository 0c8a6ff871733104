"""The compiled twin of `simulator.physics.fleet`: same rules, same digits, a hundred times as fast, open loop only.

numba is a development-only extra. Importing this module without it raises `CompilerMissing`; everything that can do
without imports it late. The rules are written at the top of `fleet.py` and are not repeated here; a test holds both
engines against each other to 1e-9 s. Times are seconds since the fleet's start, 64-bit floats throughout: single
precision would lose 0.03 s of a week, so only token counts (whole numbers below 2^24) and links are 32 bits wide.

Memory: 37 bytes a request beside the 16 of its trace, so 30 million requests take 1.6 GB.
"""

from __future__ import annotations

import math

from simulator.bench.compiler import compiled, numba
from simulator.bench.kernel_heap import pop, push, remove

OFF = 1 << 40
"""Added to the load of a slot that takes nothing new, so that the least load is that of a serving copy."""

# Rows of `ints` (whole numbers by slot) and `floats` (seconds or tokens by slot).
COUNT, WAITING, HEAD, TAIL, STATE = range(5)
CLOCK, STALL, LAST = range(3)
FREE, SERVING, DRAINING = range(3)
# Entries of `n`: whole numbers of the fleet.
(ARRIVED, OLDEST, AGAIN_HEAD, AGAIN_TAIL, AGAIN_NEXT, DUE, IN_FLIGHT, QUEUED, COPIES, USED, DRAWS, ROWS, WINDOW) = (
    range(13)
)
(HIGH, NEW, ACCEPTED, DONE, REFUSED, LEFT, BROKEN, SPACED) = range(13, 21)
N_SIZE = 21
# Entries of `x`: floats of the fleet. What follows NOW is of the window that is open.
(NOW, AREA, WAIT_AREA, COPY_AREA, LOAD_AREA, LOAD_MAX, SERVED_S, LATENCY, TTFT, ITL) = range(10)
X_SIZE = 10
# Columns of a window's row.
(
    W_IN_FLIGHT_MEAN,
    W_IN_FLIGHT_MAX,
    W_COPIES_MEAN,
    W_PER_COPY_MEAN,
    W_PER_COPY_MAX,
    W_SERVED_S,
    W_WAITING_MEAN,
    W_ARRIVALS,
    W_COMPLETIONS,
    W_LATENCY_SUM_S,
    W_REFUSED,
    W_TIMEOUTS,
    W_TTFT_SUM_S,
    W_ITL_SUM_S,
    W_ITL_COUNT,
    W_ACCEPTED,
    W_BROKEN,
) = range(17)
W_SIZE = 17
# Entries of `par`.
P_PREFILL, P_PREFILL_PER_TOKEN, P_TIMEOUT, P_RETRY, P_WINDOW, P_RANDOM, P_SEED = range(7)

OPEN, SERVED, LOST_TIMEOUT, LOST_NO_CAPACITY, LOST_BROKEN = range(5)


@compiled
def advance(until, whole, trace, requests, slots, tau, par, n, x, rows):
    """Everything due up to `until` (of what is due at `until` itself only the completions, unless `whole`).

    trace = (at, tokens_in, tokens_out); requests = (first, e2e, status, slot, link); slots = (load, next_done, ints,
    floats, heap_v, heap_i). Windows that end on the way are written to `rows`, from row n[ROWS] on.
    """
    at, tokens_in, tokens_out = trace
    first, e2e, status, slot_of, link = requests
    load, next_done, ints, floats, heap_v, heap_i = slots
    g, d, timeout, retry = par[P_PREFILL], par[P_PREFILL_PER_TOKEN], par[P_TIMEOUT], par[P_RETRY]
    window_s, random, most, total = par[P_WINDOW], par[P_RANDOM] != 0.0, heap_v.shape[1], len(at)
    arrived, oldest, in_flight, queued, due = n[ARRIVED], n[OLDEST], n[IN_FLIGHT], n[QUEUED], n[DUE]
    used, copies, high = n[USED], n[COPIES], n[IN_FLIGHT]
    last = x[NOW]
    t_done, c_done = _soonest(next_done, used)
    while True:
        end = (n[WINDOW] + 1) * window_s
        stop = until if until < end else end
        all_of_it = whole or stop < until
        begun, area, wait_area = last, 0.0, 0.0
        while True:
            t_leave = math.inf
            if timeout < math.inf:
                while oldest < arrived and (status[oldest] != OPEN or first[oldest] <= at[oldest] + timeout):
                    oldest += 1
                if oldest < arrived:
                    t_leave = at[oldest] + timeout
            t_again = e2e[n[AGAIN_NEXT]] if n[AGAIN_NEXT] >= 0 else math.inf
            t_new = last if due > 0 else (at[arrived] if arrived < total else math.inf)
            t = min(t_done, t_leave, t_again, t_new)
            if t > stop or t == math.inf or (t == stop and not all_of_it and t_done > t):
                break
            area += in_flight * (t - last)
            wait_area += queued * (t - last)
            last = t
            if t_done <= t:
                c = c_done
                i = heap_i[c, 0]
                running, v = ints[COUNT, c], heap_v[c, 0]
                pop(heap_v, heap_i, c, running)
                status[i] = SERVED
                e2e[i] = taken = t - at[i]
                n[DONE] += 1
                x[LATENCY] += taken
                x[TTFT] += first[i] - at[i]
                if tokens_out[i] > 1:
                    n[SPACED] += 1
                    x[ITL] += (t - first[i]) / (tokens_out[i] - 1)
                in_flight -= 1
                load[c] -= 1
                floats[LAST, c], floats[STALL, c], floats[CLOCK, c] = t, 0.0, v
                if ints[WAITING, c] > 0:
                    i = _take(ints, link, status, c)
                    queued -= 1
                    floats[STALL, c] = s = g + d * tokens_in[i]
                    first[i] = t + s + tau[running]
                    push(heap_v, heap_i, c, running - 1, v + tokens_out[i], i)
                    next_done[c] = t + s + (heap_v[c, 0] - v) * tau[running]
                else:
                    ints[COUNT, c] = running = running - 1
                    if running > 0:
                        next_done[c] = t + (heap_v[c, 0] - v) * tau[running]
                    else:
                        floats[CLOCK, c] = 0.0
                        next_done[c] = math.inf
                        if load[c] == OFF:
                            ints[STATE, c] = FREE
                t_done, c_done = _soonest(next_done, used)
            elif t_leave <= t:
                while oldest < arrived and at[oldest] + timeout <= t:
                    if status[oldest] == OPEN and not first[oldest] <= at[oldest] + timeout:
                        status[oldest] = LOST_TIMEOUT
                        queued -= _take_away(oldest, t, trace, requests, slots, tau, g, d)
                        n[LEFT] += 1
                        in_flight -= 1
                    oldest += 1
                t_done, c_done = _soonest(next_done, used)
            elif t_again <= t:
                while n[AGAIN_NEXT] >= 0 and e2e[n[AGAIN_NEXT]] <= t:
                    due += 1
                    n[AGAIN_NEXT] = link[n[AGAIN_NEXT]]
            else:
                if due > 0:
                    i = n[AGAIN_HEAD]
                    n[AGAIN_HEAD] = link[i]
                    if link[i] < 0:
                        n[AGAIN_TAIL] = -1
                    e2e[i] = math.nan
                    due -= 1
                else:
                    i = arrived
                    arrived += 1
                    n[NEW] += 1
                if copies == 0:
                    n[REFUSED] += 1
                    if t + retry < at[i] + timeout:
                        # Until its next try a request's end-to-end time holds when that is.
                        e2e[i], link[i] = t + retry, -1
                        if n[AGAIN_TAIL] >= 0:
                            link[n[AGAIN_TAIL]] = i
                        else:
                            n[AGAIN_HEAD] = i
                        n[AGAIN_TAIL] = i
                        if n[AGAIN_NEXT] < 0:
                            n[AGAIN_NEXT] = i
                    else:
                        status[i] = LOST_NO_CAPACITY
                    continue
                if random:
                    c = _kth_serving(ints, used, int(_unit_draw(par[P_SEED], n[DRAWS]) * copies))
                    n[DRAWS] += 1
                else:
                    c = 0
                    for k in range(1, used):
                        if load[k] < load[c]:
                            c = k
                passed = t - floats[LAST, c]
                floats[LAST, c] = t
                load[c] += 1
                in_flight += 1
                if in_flight > high:
                    high = in_flight
                slot_of[i] = c
                n[ACCEPTED] += 1
                running, s = ints[COUNT, c], floats[STALL, c]
                if s > passed:
                    s -= passed
                else:
                    if running > 0:
                        floats[CLOCK, c] += (passed - s) / tau[running]
                    s = 0.0
                if running < most:
                    s += g + d * tokens_in[i]
                    push(heap_v, heap_i, c, running, floats[CLOCK, c] + tokens_out[i], i)
                    ints[COUNT, c] = running = running + 1
                    first[i] = t + s + tau[running]
                    t_next = t + s + (heap_v[c, 0] - floats[CLOCK, c]) * tau[running]
                    next_done[c] = t_next = t_next if t_next > t else t
                    if c == c_done or t_next <= t_done:
                        t_done, c_done = _soonest(next_done, used)
                else:
                    link[i] = -1
                    if ints[HEAD, c] >= 0:
                        link[ints[TAIL, c]] = i
                    else:
                        ints[HEAD, c] = i
                    ints[TAIL, c] = i
                    ints[WAITING, c] += 1
                    queued += 1
                floats[STALL, c] = s
        area += in_flight * (stop - last)
        wait_area += queued * (stop - last)
        last = stop
        _account(x, n, copies, stop - begun, area, wait_area, high)
        high = in_flight
        if stop == end and all_of_it:
            _close(x, n, rows, window_s)
            n[HIGH] = in_flight
        if stop >= until:
            break
    n[ARRIVED], n[OLDEST], n[IN_FLIGHT], n[QUEUED], n[DUE] = arrived, oldest, in_flight, queued, due
    x[NOW] = last


@compiled
def occupy(now, slots, n):
    """A new, empty copy in the lowest free slot, which is returned; -1 if there is none."""
    load, next_done, ints, floats, _, _ = slots
    for c in range(len(load)):
        if ints[STATE, c] == FREE:
            load[c], next_done[c] = 0, math.inf
            ints[COUNT, c], ints[WAITING, c], ints[HEAD, c], ints[TAIL, c] = 0, 0, -1, -1
            ints[STATE, c] = SERVING
            floats[CLOCK, c], floats[STALL, c], floats[LAST, c] = 0.0, 0.0, now
            n[COPIES] += 1
            n[USED] = max(n[USED], c + 1)
            return c
    return -1


@compiled
def vacate(c, drain, requests, slots, tau, n, x):
    """Take the copy in slot `c` off the traffic; without `drain` everything on it breaks."""
    first, _, status, _, link = requests
    load, next_done, ints, floats, _, heap_i = slots
    now = x[NOW]
    if ints[STATE, c] == SERVING:
        _settle(c, now, slots, tau)
        ints[STATE, c] = DRAINING
        load[c] += OFF
        n[COPIES] -= 1
    if not drain:
        lost = 0
        for k in range(ints[COUNT, c]):
            i = heap_i[c, k]
            status[i] = LOST_BROKEN
            if not first[i] <= now:
                first[i] = math.nan
            lost += 1
        i = ints[HEAD, c]
        while i >= 0:
            if status[i] == OPEN:
                status[i] = LOST_BROKEN
                lost += 1
                n[QUEUED] -= 1
            i = link[i]
        load[c] -= lost
        ints[COUNT, c], ints[WAITING, c], ints[HEAD, c], ints[TAIL, c] = 0, 0, -1, -1
        floats[CLOCK, c], floats[STALL, c], floats[LAST, c] = 0.0, 0.0, now
        next_done[c] = math.inf
        n[BROKEN] += lost
        n[IN_FLIGHT] -= lost
    if load[c] == OFF:
        ints[STATE, c] = FREE
    while n[USED] > 1 and ints[STATE, n[USED] - 1] == FREE:
        n[USED] -= 1


@compiled
def judge(at, tokens_in, tokens_out, first, e2e, status, g, d, slo_s, ttft_slo_s, prefills, now):
    """(good, late, lost) by the benchmark's SLO; an open request is late once a limit has passed, else not known."""
    good, late, lost = 0, 0, 0
    for i in range(len(first)):
        ttft_limit = ttft_slo_s + prefills * (g + d * tokens_in[i])
        e2e_limit = ttft_limit + slo_s * tokens_out[i]
        ttft = first[i] - at[i] if first[i] <= now else math.nan
        if status[i] == SERVED:
            if ttft <= ttft_limit and e2e[i] <= e2e_limit:
                good += 1
            else:
                late += 1
        elif status[i] == OPEN:
            age = now - at[i]
            if (math.isnan(ttft) and age > ttft_limit) or ttft > ttft_limit or age > e2e_limit:
                late += 1
        else:
            lost += 1
    return good, late, lost


# -- inside -----------------------------------------------------------------------------------------------------------


@compiled
def _soonest(next_done, used):
    t, c = next_done[0], 0
    for k in range(1, used):
        if next_done[k] < t:
            t, c = next_done[k], k
    return t, c


@compiled
def _take(ints, link, status, c):
    """The next waiting request whose client is still there, out of the queue."""
    i = ints[HEAD, c]
    while status[i] != OPEN:
        i = link[i]
    ints[HEAD, c] = link[i]
    ints[WAITING, c] -= 1
    return i


@compiled
def _settle(c, now, slots, tau):
    _, _, ints, floats, _, _ = slots
    passed, s, running = now - floats[LAST, c], floats[STALL, c], ints[COUNT, c]
    floats[LAST, c] = now
    if s > passed:
        floats[STALL, c] = s - passed
        return
    floats[STALL, c] = 0.0
    if running > 0:
        floats[CLOCK, c] += (passed - s) / tau[running]


@compiled
def _take_away(i, now, trace, requests, slots, tau, g, d):
    """The client of request `i` has left its copy. Returns by how many the queues have become shorter."""
    _, tokens_in, tokens_out = trace
    first, _, status, slot_of, link = requests
    load, next_done, ints, floats, heap_v, heap_i = slots
    c = slot_of[i]
    _settle(c, now, slots, tau)
    load[c] -= 1
    if math.isnan(first[i]):
        ints[WAITING, c] -= 1
        if load[c] == OFF:
            ints[STATE, c] = FREE
        return 1
    running = ints[COUNT, c]
    own, behind_s = g + d * tokens_in[i], 0.0
    for k in range(running):
        other = heap_i[c, k]
        if first[other] > first[i]:
            behind_s += g + d * tokens_in[other]
    dropped = min(own, max(0.0, floats[STALL, c] - behind_s))
    floats[STALL, c] -= dropped
    place = 0
    for k in range(running):
        other = heap_i[c, k]
        if first[other] > first[i]:
            first[other] -= dropped
        if other == i:
            place = k
    first[i] = math.nan
    remove(heap_v, heap_i, c, running, place)
    running -= 1
    taken = 0
    while ints[WAITING, c] > 0 and running < heap_v.shape[1]:
        k = _take(ints, link, status, c)
        running += 1
        floats[STALL, c] += g + d * tokens_in[k]
        first[k] = now + floats[STALL, c] + tau[running]
        push(heap_v, heap_i, c, running - 1, floats[CLOCK, c] + tokens_out[k], k)
        taken += 1
    ints[COUNT, c] = running
    if running > 0:
        next_done[c] = max(now, now + floats[STALL, c] + (heap_v[c, 0] - floats[CLOCK, c]) * tau[running])
    else:
        floats[CLOCK, c] = 0.0
        next_done[c] = math.inf
        if load[c] == OFF:
            ints[STATE, c] = FREE
    return taken


@compiled
def _account(x, n, copies, seconds, area, wait_area, high):
    """Add a stretch of time in which the same copies served to the open window."""
    x[AREA] += area
    x[WAIT_AREA] += wait_area
    n[HIGH] = max(n[HIGH], high)
    if copies > 0 and seconds > 0.0:
        x[COPY_AREA] += copies * seconds
        x[LOAD_AREA] += area / copies
        x[LOAD_MAX] = max(x[LOAD_MAX], high / copies)
        x[SERVED_S] += seconds


@compiled
def _close(x, n, rows, window_s):
    row = rows[n[ROWS]]
    row[W_IN_FLIGHT_MEAN], row[W_IN_FLIGHT_MAX] = x[AREA] / window_s, n[HIGH]
    row[W_COPIES_MEAN], row[W_SERVED_S] = x[COPY_AREA] / window_s, x[SERVED_S]
    row[W_PER_COPY_MEAN] = x[LOAD_AREA] / x[SERVED_S] if x[SERVED_S] > 0.0 else math.nan
    row[W_PER_COPY_MAX] = x[LOAD_MAX] if x[SERVED_S] > 0.0 else math.nan
    row[W_WAITING_MEAN], row[W_ARRIVALS], row[W_COMPLETIONS] = x[WAIT_AREA] / window_s, n[NEW], n[DONE]
    row[W_LATENCY_SUM_S], row[W_REFUSED], row[W_TIMEOUTS] = x[LATENCY], n[REFUSED], n[LEFT]
    row[W_TTFT_SUM_S], row[W_ITL_SUM_S], row[W_ITL_COUNT] = x[TTFT], x[ITL], n[SPACED]
    row[W_ACCEPTED], row[W_BROKEN] = n[ACCEPTED], n[BROKEN]
    n[ROWS] += 1
    n[WINDOW] += 1
    x[AREA:] = 0.0
    n[NEW:] = 0


@compiled
def _kth_serving(ints, used, k):
    for c in range(used):
        if ints[STATE, c] == SERVING:
            if k == 0:
                return c
            k -= 1
    return 0


@compiled
def _unit_draw(seed, k):
    """`simulator.physics.routing.unit_draw`: the upper 53 bits of splitmix64."""
    golden, mixed = numba.uint64(0x9E3779B97F4A7C15), numba.uint64(0xD1342543DE82EF95)
    z = numba.uint64(seed) * mixed + numba.uint64(k + 1) * golden
    z = (z ^ (z >> numba.uint64(30))) * numba.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numba.uint64(27))) * numba.uint64(0x94D049BB133111EB)
    z = z ^ (z >> numba.uint64(31))
    return float(z >> numba.uint64(11)) / 9007199254740992.0
