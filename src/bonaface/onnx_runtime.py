"""Make ONNX Runtime sessions, with the options and errors that Bonaface uses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bonaface.errors import BundleError, one_line


def onnx_session(network: bytes | Path, *, name: object, threads: int | None = 1) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU in f32; `threads=None` uses one thread per core.

    `name` is the name of the network in errors. Raises BundleError where ONNX Runtime cannot load it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    # Threads spin while they wait for each other, but not between runs: decoding and the face detector need the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    given = network if isinstance(network, bytes) else str(network)
    try:
        return ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise BundleError(f"ONNX Runtime cannot load {name}: {one_line(error)}") from None


FATAL = 4
"""Log level: ONNX Runtime raises every error, and would also print it on stderr."""
