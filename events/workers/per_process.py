"""Holds an object per process, because a fork copies no threads or connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class PerProcess(Generic[T]):
    """Creates the object at the first get(); a forked child creates its own."""

    def __init__(self, create: Callable[[], T]) -> None:
        self._create = create
        self._lock = threading.Lock()
        self._current: tuple[int, T] | None = None

    def get(self) -> T:
        if self._current is None or self._current[0] != os.getpid():
            with self._lock:
                if self._current is None or self._current[0] != os.getpid():
                    self._current = (os.getpid(), self._create())
        return self._current[1]

    def close(self) -> None:
        """Close the object; the next get() creates another."""
        with self._lock:
            if self._current is not None and self._current[0] == os.getpid():
                self._current[1].close()
            self._current = None
