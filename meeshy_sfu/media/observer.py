"""Signals: callbacks that are called when something happens to an object.

Knows nothing of the values it passes on; the events of the native core are in events.py.
"""

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")

logger = logging.getLogger(__name__)


class Signal(Generic[P]):
    """Something that others are notified of.

    Callbacks run at once, in the order of subscription, on the event loop. One that raises is logged and
    does not keep the others from being notified. Costs two words without subscribers.

    Example:
        ```python
        received: list[int] = []
        signal: Signal[[int]] = Signal()
        forget = signal.subscribe(received.append)
        signal.emit(7)
        forget()
        signal.emit(8)
        assert received == [7]
        ```
    """

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[P, object], ...] = ()

    def subscribe(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Have a callback called on each emission; gives the function that ends it, which may be repeated."""
        self._callbacks = (*self._callbacks, callback)

        def unsubscribe() -> None:
            self._callbacks = tuple(item for item in self._callbacks if item is not callback)

        return unsubscribe

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Notify all present subscribers."""
        for callback in self._callbacks:
            try:
                callback(*args, **kwargs)
            except Exception:
                logger.exception("a callback failed: %r", callback)
