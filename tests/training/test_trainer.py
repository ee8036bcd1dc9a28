from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bonaface.config import Recipe, load_recipe
from bonaface.errors import InputError, OutputError, SettingsError
from bonaface.training.measures import validation_measures
from bonaface.training.trainer import Trainer, TrainingResult
from tests.training.conftest import SMALL, Stored


class AtEpoch:
    """A progress that sends this process a signal at the end of an epoch."""

    def __init__(self, epoch: int, number: int = signal.SIGINT) -> None:
        self.lines: list[str] = []
        self._epoch, self._number = epoch, number

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        assert 0 < done <= total

    def epoch(self, line: str, /) -> None:
        self.lines.append(line)
        if len(self.lines) == self._epoch:
            os.kill(os.getpid(), self._number)


def fit(recipe: Recipe, manifest, crops, run: Path, **options) -> TrainingResult:
    return Trainer(recipe).fit(manifest, crops, run, **options)


def small(*overrides: str) -> Recipe:
    return load_recipe("demo", (*SMALL, *overrides))


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_the_same_seed_gives_the_same_weights(stored: Stored, recipe: Recipe, tmp_path: Path):
    one = fit(recipe, *stored, tmp_path / "one")
    two = fit(recipe, *stored, tmp_path / "two")
    assert same_weights(one.best_weights, two.best_weights)
    other = fit(recipe.model_copy(update={"seed": 1}), *stored, tmp_path / "other")
    assert not same_weights(one.best_weights, other.best_weights)


def test_loader_processes_change_nothing(stored: Stored, tmp_path: Path):
    alone = fit(small("training.epochs=1"), *stored, tmp_path / "alone")
    helped = fit(small("training.epochs=1", "training.workers=2"), *stored, tmp_path / "helped")
    assert same_weights(alone.best_weights, helped.best_weights)


def test_a_history_has_a_row_an_epoch(stored: Stored, recipe: Recipe, tmp_path: Path):
    result = fit(recipe, *stored, tmp_path)
    assert result.history["epoch"].tolist() == [1, 2]
    assert result.stopped == "finished"
    assert result.best_value == result.history["val_loss"].min()
    assert result.best_epoch == result.history["val_loss"].argmin() + 1
    assert (tmp_path / "logs" / "metrics.csv").is_file()
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))


def test_simulated_attacks_count_in_the_validation_loss_alone(stored: Stored, tmp_path: Path):
    plain = fit(small("training.epochs=1"), *stored, tmp_path / "plain").history
    more = fit(small("training.epochs=1", "training.validate_simulated=2"), *stored, tmp_path / "more").history
    assert "val_simulated_far" not in plain
    assert 0 <= more["val_simulated_far"][0] <= 1
    assert more["val_loss"][0] != plain["val_loss"][0]
    for measure in ("train_loss", "val_accuracy", "val_far", "val_frr", "val_hter"):
        assert more[measure][0] == plain[measure][0]


def test_simulated_attacks_join_the_real_ones_and_each_class_weighs_half_of_the_loss():
    found = validation_measures(np.array([3.0, -1.0]), np.array([True, False]), simulated=np.array([2.0, -2.0]))
    attacks = np.log1p(np.exp([-1.0, 2.0, -2.0]))
    assert found["val_loss"] == pytest.approx((np.log1p(np.exp(-3.0)) + attacks.mean()) / 2)
    assert found["val_simulated_far"] == 0.5
    assert (found["val_accuracy"], found["val_far"], found["val_hter"]) == (1.0, 0.0, 0.0)


def test_an_interrupted_training_goes_on_to_the_very_same_weights(stored: Stored, tmp_path: Path):
    recipe = small("training.epochs=4", "model.drop_rate=0.2")
    whole = fit(recipe, *stored, tmp_path / "whole")
    broken = fit(recipe, *stored, tmp_path / "broken", progress=AtEpoch(2))
    assert broken.stopped == "interrupted"
    assert len(broken.history) == 2
    resumed = fit(recipe, *stored, tmp_path / "broken", resume=True)
    assert resumed.stopped == "finished"
    assert same_weights(whole.best_weights, resumed.best_weights)
    columns = [name for name in whole.history if name != "seconds"]
    assert whole.history[columns].equals(resumed.history[columns])


def test_ctrl_c_is_the_callers_again_afterwards(stored: Stored, recipe: Recipe, tmp_path: Path):
    before = signal.getsignal(signal.SIGINT)
    fit(recipe, *stored, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_resuming_with_other_settings_is_refused_by_their_names(stored: Stored, recipe: Recipe, tmp_path: Path):
    fit(recipe, *stored, tmp_path)
    with pytest.raises(InputError, match="learning_rate"):
        fit(small("training.learning_rate=0.1"), *stored, tmp_path, resume=True)


def test_more_epochs_may_follow(stored: Stored, recipe: Recipe, tmp_path: Path):
    fit(recipe, *stored, tmp_path)
    assert len(fit(small("training.epochs=3"), *stored, tmp_path, resume=True).history) == 3


def test_a_used_folder_is_refused(stored: Stored, recipe: Recipe, tmp_path: Path):
    fit(recipe, *stored, tmp_path)
    with pytest.raises(OutputError, match="resume"):
        fit(recipe, *stored, tmp_path)


def test_a_damaged_checkpoint_is_one_line(stored: Stored, recipe: Recipe, tmp_path: Path):
    result = fit(recipe, *stored, tmp_path)
    result.last_checkpoint.write_bytes(result.last_checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged") as caught:
        fit(recipe, *stored, tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_one_class_alone_is_refused(stored: Stored, recipe: Recipe, tmp_path: Path):
    table = stored.manifest.table
    attacks = stored.manifest.select((table["label"] == "attack").to_numpy())
    with pytest.raises(InputError, match="'train' has 0 bona fide"):
        fit(recipe, attacks, stored.crops, tmp_path)


def test_presentations_without_a_frame_are_named(stored: Stored, recipe: Recipe, tmp_path: Path):
    crops = stored.crops[~((stored.crops["path"] == "13.mp4") & (stored.crops["frame"] == 0))]
    crops = crops[crops["path"] != "02.mp4"]
    result = fit(recipe, stored.manifest, crops, tmp_path)
    assert result.left_out == {"train": ("02.mp4",), "val": ("13.mp4",)}


def test_training_ends_early_when_nothing_gets_better(stored: Stored, tmp_path: Path):
    recipe = small("training.epochs=30", "training.early_stopping=1", "training.learning_rate=0.03")
    result = fit(recipe, *stored, tmp_path)
    assert result.stopped == "early"
    assert len(result.history) == result.best_epoch + 1


def test_frozen_statistics_stay(stored: Stored, tmp_path: Path):
    result = fit(small("training.epochs=1", "training.freeze_norm=true"), *stored, tmp_path)
    tensors = load_file(result.best_weights)
    means = [value for name, value in tensors.items() if name.endswith("running_mean")]
    assert means
    assert all((value == 0).all() for value in means)


def test_a_lost_loss_says_what_to_lower(stored: Stored, tmp_path: Path):
    with pytest.raises(InputError, match="learning_rate"):
        fit(small("training.epochs=2", "training.learning_rate=1e30"), *stored, tmp_path)


def test_a_batch_of_one_on_a_map_of_one_says_what_to_raise(stored: Stored, tmp_path: Path):
    tiny = ("model.input_size=32", "training.batch_size=1", "training.epochs=1")
    with pytest.raises(SettingsError, match="batch_size=1 leaves one crop per process"):
        fit(small(*tiny), *stored, tmp_path / "learning")
    assert fit(small(*tiny, "training.freeze_norm=true"), *stored, tmp_path / "frozen").stopped == "finished"


def test_half_precision_without_a_gpu_is_refused(stored: Stored, tmp_path: Path):
    with pytest.raises(SettingsError, match="needs a GPU"):
        fit(small("training.precision=16-mixed"), *stored, tmp_path)
