"""What a training changes in its process, put back when it ends; and what Lightning says, kept to what matters."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng

__all__ = ["InSpawnedProcess", "quiet_lightning", "seeded", "single_threaded_opencv"]

_IRRELEVANT = (
    # Their number is a setting of the recipe, and what suits it is measured by benchmarks/loading.py.
    (r"The '\w+' does not have many workers", UserWarning),
    # Lightning reads and writes the structure of a batch through an older spelling of torch's own.
    (r"`?isinstance\(treespec, LeafSpec\)`? is deprecated", FutureWarning),
    (r".*LeafSpec.*is deprecated", FutureWarning),
    # The loader's workers are forked before they start a thread, and use none of the parent's.
    (
        r"This process \(pid=\d+\) is multi-threaded, use of fork\(\) may lead to deadlocks",
        DeprecationWarning,
    ),
)
"""Warnings that no user can or should act upon: how they begin, and why they say nothing here."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator for the time of a block, and leave generators and environment as they were."""
    environment = dict(os.environ)
    with isolate_rng():
        seed_everything(seed % 2**32, workers=True, verbose=False)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environment)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning without greetings, tips and hints; its real warnings and errors pass."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            _ignore_irrelevant_warnings()
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """OpenCV without its thread pool, as forked loader processes must find it.

    A child that sets the number of threads itself hangs, waiting for pool threads that stayed with its parent.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


class InSpawnedProcess(Callback):
    """The same for the processes that Lightning starts for further devices, which begin with nothing of it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's hook, the first that runs there."""
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        _ignore_irrelevant_warnings()
        cv2.setNumThreads(1)


def _ignore_irrelevant_warnings() -> None:
    for message, category in _IRRELEVANT:
        warnings.filterwarnings("ignore", message=message, category=category)
