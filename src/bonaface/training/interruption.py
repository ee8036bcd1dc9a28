"""Ctrl-C and SIGTERM end a training between two batches, with everything it kept in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import torch.multiprocessing as mp
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

__all__ = ["Interrupted", "Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Somebody asked the training to end."""


class _Flag(Protocol):
    def is_set(self) -> bool: ...
    def set(self) -> None: ...


class Interruption(Callback):
    """Listens for the signals, and stops every process of the training at the same batch.

    Lightning's own handling exits the process on Ctrl-C, and talks to other processes inside a signal
    handler. With `spawned` the training runs in processes that this one starts.
    """

    def __init__(self, *, spawned: bool = False) -> None:
        self.asked: _Flag = mp.get_context("spawn").Event() if spawned else threading.Event()
        self._spawned = spawned

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over; from another thread than the main one nothing can be taken, or is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the signals back from Lightning, which has just wrapped them; children leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self._spawned:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        else:
            self._listen()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop here if asked to."""
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Stop here if asked to."""
        self._stop_if_asked(trainer)

    def _listen(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, self._heard)

    def _heard(self, _: int, __: FrameType | None) -> None:
        if self.asked.is_set():  # asked twice: now, wherever we are
            raise Interrupted
        self.asked.set()

    def _stop_if_asked(self, trainer: Trainer) -> None:
        stop = self.asked.is_set()
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self.asked.set()
            raise Interrupted
