from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from bonaface.config import Recipe, load_recipe
from bonaface.errors import MediaError
from bonaface.training.loader import (
    EpochSampler,
    Key,
    TrainingSet,
    ValidationSet,
    batches_in_order,
    frames_for_training,
    frames_for_validation,
    positive_weight,
)
from tests.training.conftest import SMALL, Stored

LABELS = np.array([True] * 3 + [False] * 9)


def keys(sampler: EpochSampler) -> list[Key]:
    return [key for batch in sampler for key in batch]


def test_an_epoch_has_each_presentation_once_in_another_order():
    sampler = EpochSampler(LABELS, seed=0, batch_size=4)
    first = [key.sample for key in keys(sampler)]
    sampler.epoch = 1
    second = [key.sample for key in keys(sampler)]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_a_balanced_epoch_has_both_classes_as_often():
    drawn = [LABELS[key.sample] for key in keys(EpochSampler(LABELS, seed=0, batch_size=4, balanced=True))]
    assert sum(drawn) == 6


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("min_batch", [1, 2])
@pytest.mark.parametrize(("count", "size"), [(12, 4), (12, 5), (11, 4), (10, 8), (9, 4), (9, 8), (7, 6), (4, 6)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_batches_of_one(count: int, size: int, world: int, min_batch: int, balanced: bool):
    def batches(rank: int = 0, world: int = 1) -> list[list[Key]]:
        sampler = EpochSampler(
            LABELS[:count], seed=0, batch_size=size, balanced=balanced, min_batch=min_batch, rank=rank, world=world
        )
        shares = list(sampler)
        assert len(shares) == len(sampler)
        assert all(len(share) >= min_batch for share in shares)
        return [share[: sampler.real(number)] for number, share in enumerate(shares)]

    whole = batches()
    assert [key.place for key in chain(*whole)] == list(range(count))
    shares = [batches(rank, world) for rank in range(world)]
    for number, batch in enumerate(whole):
        assert sorted(chain(*(share[number] for share in shares))) == sorted(batch)


def test_samples_of_a_window_of_batches_are_counted():
    sampler = EpochSampler(LABELS, seed=0, batch_size=5)
    assert [sampler.samples(batch) for batch in range(3)] == [5, 5, 2]
    assert [sampler.samples(0, 2), sampler.samples(2, 2)] == [10, 2]


@pytest.mark.parametrize(("count", "size", "world"), [(8, 4, 1), (9, 4, 2), (5, 4, 3), (2, 8, 3)])
def test_validation_is_shared_by_equally_long_batches(count: int, size: int, world: int):
    shares = [batches_in_order(count, batch_size=size, rank=rank, world=world) for rank in range(world)]
    assert len({tuple(len(batch) for batch in share) for share in shares}) == 1
    assert {index for share in shares for batch in share for index in batch} == set(range(count))
    assert all(len(batch) <= max(size // world, 1) for share in shares for batch in share)


def test_every_stored_frame_comes_in_its_turn_and_all_presentations_are_there(stored: Stored, recipe: Recipe):
    frames = frames_for_training(stored.manifest.where("train"), stored.crops)
    assert len(frames) == 12
    assert np.diff(frames.start).tolist() == [3] * 12
    assert frames.labels.tolist() == [True, False] * 6
    data = TrainingSet(frames, recipe)
    for key in keys(EpochSampler(frames.labels, seed=0, batch_size=4)):
        batch = data[key]
        assert batch.crops.shape == (64, 64, 3)
        assert batch.samples == key.sample


def test_the_first_frame_alone_where_asked_and_for_validation(stored: Stored):
    first = frames_for_training(stored.manifest.where("train"), stored.crops, first=True)
    assert np.diff(first.start).tolist() == [1] * 12
    crops = stored.crops[~((stored.crops["path"] == "12.mp4") & (stored.crops["frame"] == 0))]
    validation = frames_for_validation(stored.manifest.where("val"), crops)
    assert "12.mp4" not in validation.names
    assert validation.left_out == ("12.mp4",)


def test_attacks_simulated_on_validation_are_the_same_in_every_epoch(stored: Stored):
    frames = frames_for_validation(stored.manifest.where("val"), stored.crops)
    plain = ValidationSet(frames, load_recipe("demo", SMALL))
    more = ValidationSet(frames, load_recipe("demo", (*SMALL, "training.validate_simulated=3")))
    assert len(plain) == 8
    assert len(more) == 8 + 3 * 4
    for index in range(8):
        assert torch.equal(plain[index].crops, more[index].crops)
        assert plain[index].labels == more[index].labels
    made = [more[index] for index in range(8, 20)]
    assert [float(batch.labels) for batch in made] == [0.0] * 12
    assert [int(batch.samples) for batch in made] == list(range(8, 20))
    assert all(torch.equal(batch.crops, more[index].crops) for index, batch in enumerate(made, start=8))
    assert len({batch.crops.numpy().tobytes() for batch in made}) == 12


def test_weights_balance_what_is_expected_after_simulation():
    assert positive_weight(LABELS, balanced=False, simulate=0.0) == pytest.approx(3)
    assert positive_weight(LABELS, balanced=True, simulate=0.0) == pytest.approx(1)
    assert positive_weight(LABELS, balanced=True, simulate=0.5) == pytest.approx(3)


def test_a_file_gone_from_the_store_is_named(stored: Stored):
    crops = stored.crops.assign(file=stored.crops["file"].str.replace(".png", "-gone.png"))
    frames = frames_for_training(stored.manifest.where("train"), crops)
    with pytest.raises(MediaError, match="crop again"):
        frames.load(0)


def test_a_balanced_epoch_has_all_sources_of_a_class_as_often():
    labels = np.array([True] * 8 + [False] * 40)
    sources = np.array([0] * 6 + [1] * 2 + [0] * 10 + [1] * 30)
    sampler = EpochSampler(labels, sources=sources, seed=0, batch_size=4, balanced=True)
    drawn = [key.sample for key in keys(sampler)]
    counts = {(label, source): 0 for label in (True, False) for source in (0, 1)}
    for sample in drawn:
        counts[bool(labels[sample]), int(sources[sample])] += 1
    assert set(counts.values()) == {12}
    assert len(set(drawn)) == 6 + 2 + 10 + 12  # no presentation twice before all have been drawn


def test_a_source_with_one_class_takes_no_share_of_the_other():
    labels = np.array([True] * 4 + [False] * 8)
    sources = np.array([0] * 4 + [0] * 4 + [1] * 4)
    drawn = [key.sample for key in keys(EpochSampler(labels, sources=sources, seed=0, batch_size=4, balanced=True))]
    assert sum(labels[sample] for sample in drawn) == 6
    assert sum(not labels[sample] and sources[sample] == 1 for sample in drawn) == 3


def test_stored_frames_name_their_sources(stored: Stored):
    table = stored.manifest.table
    two = replace(stored.manifest, table=table.assign(dataset=["b", "a"] * (len(table) // 2)))
    frames = frames_for_training(two, stored.crops)
    assert frames.source_names == ("a", "b")
    assert [frames.source_names[source] for source in frames.sources[:3]] == ["b", "a", "b"]
