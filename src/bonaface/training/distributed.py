"""The accelerator of a training: its device, precision and processes; what happens when a process is lost or forks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import cv2
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import InitProcessGroupKwargs

from bonaface.config import TrainingSettings
from bonaface.errors import BonafaceError, SettingsError, one_line
from bonaface.training.signals import ignore_sigterm

_PRECISIONS: Mapping[str, str] = {"32": "no", "16-mixed": "fp16", "bf16-mixed": "bf16"}
_WAIT = timedelta(days=1)
"""How long processes wait for each other: the others wait while the first one crops."""


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Return the accelerator that the settings ask for, checked against this machine."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else int(torch.backends.mps.is_available())
    if settings.accelerator == "gpu" and not gpus:
        raise SettingsError("training.accelerator=gpu, but torch finds no GPU here; use cpu or auto")
    on_gpu = settings.accelerator != "cpu" and gpus > 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if on_gpu and here > gpus:
        raise SettingsError(f"torchrun starts {here} processes, but torch finds {gpus} GPU here; start as many")
    if settings.precision == "16-mixed" and not on_gpu:
        raise SettingsError("training.precision=16-mixed needs a GPU; on a CPU use 32, or bf16-mixed")
    # Its state is global, and would fix the first training's precision and device for all later ones.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    with warnings.catch_warnings():
        # torchrun sets OMP_NUM_THREADS where Accelerate expects its own launcher to.
        warnings.filterwarnings("ignore", message="OMP_NUM_THREADS", category=UserWarning)
        return Accelerator(
            cpu=not on_gpu,
            mixed_precision=_PRECISIONS[settings.precision],
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_WAIT)],
        )


@contextmanager
def lost_processes_reported() -> Iterator[None]:
    """Raise a BonafaceError for a RuntimeError in one of several processes: torch has no error of its own for a lost one."""
    try:
        yield
    except RuntimeError as error:
        if os.environ.get("WORLD_SIZE", "1") == "1":
            raise
        ignore_sigterm()
        reason = one_line(error).split(". ")[0]
        raise BonafaceError(
            f"training process {os.environ.get('RANK')} failed, or lost one that failed or was killed; look for that one's "
            f"own message, then continue with --resume (torch reports: {reason})"
        ) from error


@contextmanager
def ready_to_fork() -> Iterator[None]:
    """Switch OpenCV's thread pool off: a forked loader process that sets the number of threads itself hangs."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with warnings.catch_warnings():
            # Loader processes use none of our other threads.
            warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
            yield
    finally:
        cv2.setNumThreads(threads)
