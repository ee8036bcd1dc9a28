from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch.nn import SyncBatchNorm

from bonaface.config import TrainingSettings, load_recipe
from bonaface.errors import SettingsError
from bonaface.training.normalisation import min_batch_per_process
from bonaface.training.trainer import Trainer
from tests.training.conftest import SMALL, Stored


@pytest.mark.parametrize(
    ("batch_size", "processes", "own_norm", "expected"),
    [(2, 1, True, 2), (1, 1, False, 1), (4, 2, True, 2), (3, 3, False, 1)],
)
def test_crops_of_each_process_suffice_for_its_norm(batch_size: int, processes: int, own_norm: bool, expected: int):
    assert min_batch_per_process(TrainingSettings(batch_size=batch_size), processes, own_norm=own_norm) == expected


@pytest.mark.parametrize(
    ("batch_size", "processes", "own_norm", "way_out"),
    [(1, 1, True, "freeze_norm=true"), (3, 2, True, "freeze_norm=true"), (2, 3, False, "start fewer processes")],
)
def test_too_few_crops_for_the_processes_are_refused(batch_size: int, processes: int, own_norm: bool, way_out: str):
    with pytest.raises(
        SettingsError, match=f"batch_size={batch_size} leaves less than .* {processes} processes.*{way_out}"
    ):
        min_batch_per_process(TrainingSettings(batch_size=batch_size), processes, own_norm=own_norm)


def test_norm_over_all_processes_is_plain_norm_in_one(stored: Stored, tmp_path: Path):
    recipe = load_recipe("demo", (*SMALL, "training.epochs=2", "training.ema_epochs=0.5"))
    kept = []
    for synchronised in (False, True):
        trainer = Trainer(recipe)
        trainer._synchronised = synchronised  # as on several GPUs
        kept.append(load_file(trainer.fit(*stored, tmp_path / str(synchronised)).best_weights))
        assert not any(isinstance(module, SyncBatchNorm) for module in trainer.network.modules())
    assert kept[0].keys() == kept[1].keys()
    for name, value in kept[0].items():
        np.testing.assert_array_equal(value, kept[1][name], err_msg=name)
