"""Which operations a training step is made of, how long they take, and which make the host wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm")
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero")
"""Operations that wait for a value on the device; the first is `.item()`."""


class Watch(TorchDispatchMode):
    """Count and time each operation below autograd, with the clock of this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        start = time.thread_time()
        result = func(*args, **(kwargs or {}))
        self.seconds[name] += time.thread_time() - start
        self.calls[name] += 1
        return result


def watch(work: Callable[[], object]) -> dict[str, Any]:
    """Watch three steps that `work` makes; return the waits of one and what its operations take.

    Milliseconds are the least of the three. To watch operations makes them a little longer.
    """
    watches = []
    for _ in range(3):
        with Watch() as one:
            work()
        watches.append(one)
    calls = watches[0].calls
    least = {name: min(each.seconds[name] for each in watches) for name in calls}
    products = sum(least.get(name, 0.0) for name in PRODUCTS)
    others = {name: value for name, value in least.items() if name not in PRODUCTS}
    kinds = {"products": products, "other operations": sum(others.values())}
    longest = sorted(others, key=lambda name: -others[name])[:8]
    return {
        # The loss is read after the step, once a second: that is one wait, and not a step's own.
        "waits": sum(calls[name] for name in WAITS) - 1,
        "operations": sum(calls.values()),
        "milliseconds": {name: round(1000 * value, 1) for name, value in kinds.items()},
        "longest": {name: [calls[name], round(1000 * others[name], 1)] for name in longest},
    }
