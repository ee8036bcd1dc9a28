from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonaface.inference.bundle import Bundle
from tests.networks import pictures, tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Bundle:
    """A bundle of a tiny network whose scores are spread, in memory."""
    folder = Path(tmp_path_factory.mktemp("tiny"))
    return tiny_bundle(folder / "bundle")


@pytest.fixture(scope="session")
def thousand() -> np.ndarray:
    return pictures(1000)
