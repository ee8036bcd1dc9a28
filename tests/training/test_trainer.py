from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from bonaface.config import Recipe, load_recipe
from bonaface.errors import InputError, MediaError, OutputError, SettingsError
from bonaface.evaluation.thresholds import choose_threshold
from bonaface.models.network import load_network
from bonaface.training import checkpoints
from bonaface.training.loader import ValidationSet, frames_for_validation
from bonaface.training.trainer import Trainer, TrainingResult
from bonaface.training.validation import validation_measures
from bonaface.types import probability
from tests.networks import pictures
from tests.training.conftest import SMALL, Stored


class AtEpoch:
    """A progress that sends this process a signal at the end of an epoch."""

    def __init__(self, epoch: int, number: int = signal.SIGINT) -> None:
        self.lines: list[str] = []
        self._epoch, self._number = epoch, number

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        assert 0 < done <= total

    def epoch(self, line: str, figures: Mapping[str, float], /) -> None:
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
    assert result.best_epoch == result.history["val_loss"].argmin() + 1
    assert (tmp_path / "logs" / "metrics.csv").is_file()
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))


def test_training_without_tensorboard_writes_no_log_of_it(
    stored: Stored, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkpoints, "find_spec", lambda name: None)
    fit(recipe, *stored, tmp_path)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["metrics.csv"]


def test_simulated_attacks_count_in_the_validation_loss_alone(stored: Stored, tmp_path: Path):
    plain = fit(small("training.epochs=1"), *stored, tmp_path / "plain").history
    more = fit(small("training.epochs=1", "training.validate_simulated=2"), *stored, tmp_path / "more").history
    assert "val_simulated_far" not in plain
    assert 0 <= more["val_simulated_far"][0] <= 1
    assert more["val_loss"][0] != plain["val_loss"][0]
    for measure in ("train_loss", "val_accuracy", "val_far", "val_frr", "val_hter"):
        assert more[measure][0] == plain[measure][0]


def test_simulated_attacks_join_the_real_ones_and_each_class_weighs_half_of_the_loss():
    labels, simulated = np.array([True, False, False, False]), np.array([False, False, True, True])
    found = validation_measures(np.array([3.0, -1.0, 2.0, -2.0]), labels, simulated=simulated)
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


def test_more_epochs_may_follow(stored: Stored, recipe: Recipe, tmp_path: Path):
    fit(recipe, *stored, tmp_path)
    assert len(fit(small("training.epochs=3"), *stored, tmp_path, resume=True).history) == 3


def test_a_used_folder_is_refused(stored: Stored, recipe: Recipe, tmp_path: Path):
    fit(recipe, *stored, tmp_path)
    with pytest.raises(OutputError, match="resume"):
        fit(recipe, *stored, tmp_path)


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
    with pytest.raises(SettingsError, match="batch_size=1 leaves less than 2"):
        fit(small(*tiny), *stored, tmp_path / "learning")
    assert fit(small(*tiny, "training.freeze_norm=true"), *stored, tmp_path / "frozen").stopped == "finished"


def test_last_batch_of_one_crop_counts(stored: Stored, tmp_path: Path):
    crops = stored.crops[stored.crops["path"] != "00.mp4"]  # 11 presentations: the last batch has one
    learning = fit(small("training.epochs=1", "training.batch_size=5"), stored.manifest, crops, tmp_path / "learning")
    assert learning.stopped == "finished"
    frozen = ("training.epochs=1", "training.freeze_norm=true", "training.learning_rate=1e-12")
    parts = fit(small(*frozen, "training.batch_size=5"), stored.manifest, crops, tmp_path / "frozen parts")
    whole = fit(small(*frozen, "training.batch_size=11"), stored.manifest, crops, tmp_path / "frozen whole")
    assert parts.history["train_loss"][0] == pytest.approx(whole.history["train_loss"][0], rel=1e-5)


def test_half_precision_without_a_gpu_is_refused(stored: Stored, tmp_path: Path):
    with pytest.raises(SettingsError, match="needs a GPU"):
        fit(small("training.precision=16-mixed"), *stored, tmp_path)


def test_each_epoch_is_reported_on_a_line(stored: Stored, recipe: Recipe, tmp_path: Path):
    progress = AtEpoch(0)
    fit(recipe, *stored, tmp_path, progress=progress)
    assert len(progress.lines) == 2
    assert re.fullmatch(
        r"epoch 1/2  train \d+\.\d{3}  val \d+\.\d{3}  HTER \d+\.\d %  best \*  \d+ s", progress.lines[0]
    )


def test_sigterm_after_the_last_epoch_interrupts(stored: Stored, recipe: Recipe, tmp_path: Path):
    assert fit(recipe, *stored, tmp_path, progress=AtEpoch(2, signal.SIGTERM)).stopped == "interrupted"
    assert fit(recipe, *stored, tmp_path, resume=True).stopped == "finished"


def test_accumulated_batches_equal_one_large_batch(stored: Stored, tmp_path: Path):
    same = ("training.epochs=2", "training.freeze_norm=true")
    whole = fit(small(*same, "training.batch_size=8"), *stored, tmp_path / "whole").history
    # 12 presentations: windows of 8 and 4, so the last one is not full.
    parts = fit(
        small(*same, "training.batch_size=2", "training.gradient_accumulation=4"), *stored, tmp_path / "parts"
    ).history
    np.testing.assert_allclose(parts["val_loss"], whole["val_loss"], rtol=1e-4)
    np.testing.assert_allclose(parts["train_loss"], whole["train_loss"], rtol=1e-4)


def test_precision_may_differ_from_an_earlier_training(stored: Stored, tmp_path: Path):
    full = fit(small("training.epochs=1"), *stored, tmp_path / "full").history
    done = Trainer(small("training.epochs=1", "training.precision=bf16-mixed"))
    half = done.fit(*stored, tmp_path / "half").history
    assert half["val_loss"][0] != full["val_loss"][0]
    assert half["val_loss"][0] == pytest.approx(full["val_loss"][0], rel=0.2)
    # The network is handed on as it was built, without the wrapper that computes in half precision.
    best = tmp_path / "half" / "checkpoints" / "best.safetensors"
    crops = torch.from_numpy(pictures(4))
    with torch.inference_mode():
        again = load_network(best, done.recipe.model)(crops)
        assert torch.equal(done.network(crops)[0], again[0])


def test_network_ends_with_the_best_weights(stored: Stored, tmp_path: Path):
    done = Trainer(small("training.epochs=3", "training.learning_rate=0.03"))
    result = done.fit(*stored, tmp_path)
    kept = load_file(result.best_weights)
    assert not done.network.training
    for name, tensor in done.network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), kept[name], err_msg=name)


@pytest.mark.parametrize("workers", [0, 1])
def test_missing_crop_is_named_from_every_process(stored: Stored, tmp_path: Path, workers: int):
    crops = stored.crops.assign(file=stored.crops["file"].str.replace("-0.png", "-gone.png"))
    with pytest.raises(MediaError, match=r"-gone\.png of the crop store cannot be read .*; crop again") as caught:
        fit(small("training.epochs=1", f"training.workers={workers}"), stored.manifest, crops, tmp_path)
    assert "\n" not in str(caught.value)


def test_hter_is_that_of_the_eer_threshold():
    rng = np.random.default_rng(0)
    for size in (2, 3, 5, 20, 50):
        for _ in range(20):
            labels = np.arange(size) < rng.integers(1, size)
            logits = np.round(rng.normal(labels * rng.uniform(0, 3), 1), int(rng.integers(0, 3)))  # with ties
            table = pd.DataFrame(
                {
                    "presentation": [str(i) for i in range(size)],
                    "label": np.where(labels, "bona_fide", "attack"),
                    "status": "ok",
                    "logit": logits,
                    "score": probability(logits),
                }
            )
            chosen = choose_threshold(table, "eer").chosen_on
            assert validation_measures(logits, labels)["val_hter"] == (chosen["far"] + chosen["frr"]) / 2


def test_classes_and_sources_weigh_alike_in_validation():
    logits = np.array([2.0, -1.0, -3.0, 1.0, 1.0, -2.0, 5.0])
    labels = np.array([True, False, False, True, False, False, False])
    sources = np.array([0, 0, 0, 1, 1, 1, 2])
    found = validation_measures(logits, labels, sources=sources, source_names=("easy", "hard", "attacks"))
    losses = np.log1p(np.exp(np.where(labels, -logits, logits)))
    bona_fide = np.mean([losses[0], losses[3]])
    attacks = np.mean([losses[1:3].mean(), losses[4:6].mean(), losses[6]])
    assert found["val_loss"] == pytest.approx((bona_fide + attacks) / 2)
    assert found["val_loss/easy"] == pytest.approx((losses[0] + losses[1:3].mean()) / 2)
    assert found["val_loss/attacks"] == pytest.approx(losses[6])
    assert found["val_hter"] == pytest.approx((found["val_hter/easy"] + found["val_hter/hard"]) / 2)


def test_a_source_with_one_class_has_no_hter_of_its_own():
    labels = np.array([True, False, True])
    found = validation_measures(
        np.array([1.0, -1.0, -9.0]), labels, sources=np.array([0, 0, 1]), source_names=("a", "b")
    )
    assert found["val_hter"] == found["val_hter/a"] == 0.0
    assert "val_hter/b" not in found
    assert found["val_loss/b"] > 9


def test_averaged_weights_are_kept_and_resumed_exactly(stored: Stored, tmp_path: Path):
    recipe = small("training.epochs=4", "training.ema_epochs=1")
    whole = fit(recipe, *stored, tmp_path / "whole")
    broken = fit(recipe, *stored, tmp_path / "broken", progress=AtEpoch(2))
    assert broken.stopped == "interrupted"
    resumed = fit(recipe, *stored, tmp_path / "broken", resume=True)
    assert same_weights(whole.best_weights, resumed.best_weights)
    assert not same_weights(
        whole.best_weights, fit(small("training.epochs=4"), *stored, tmp_path / "last").best_weights
    )


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_the_weights_that_are_kept_are_those_that_were_validated(stored: Stored, tmp_path: Path, precision: str):
    recipe = small("training.epochs=3", "training.ema_epochs=1", f"training.precision={precision}")
    result = fit(recipe, *stored, tmp_path)
    data = ValidationSet(frames_for_validation(stored.manifest.where("val"), stored.crops), recipe)
    crops = torch.stack([data[index].crops for index in range(len(data))])
    with torch.no_grad():
        logits, _ = load_network(result.best_weights, recipe.model)(crops)
    measured = validation_measures(logits.double().numpy(), data.labels, simulated=data.simulated)
    assert measured["val_loss"] == pytest.approx(result.history["val_loss"][result.best_epoch - 1], rel=1e-4)


def test_averaging_over_less_than_a_step_changes_nothing(stored: Stored, recipe: Recipe, tmp_path: Path):
    averaged = fit(small("training.epochs=2", "training.ema_epochs=0.0001"), *stored, tmp_path / "averaged")
    assert same_weights(averaged.best_weights, fit(recipe, *stored, tmp_path / "plain").best_weights)
