from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bonaface.config import Recipe, load_recipe
from bonaface.errors import MediaError
from bonaface.training.loader import (
    EpochSampler,
    TrainingSet,
    ValidationSet,
    frames_for_training,
    frames_for_validation,
    positive_weight,
)
from tests.training.conftest import SMALL, Stored

LABELS = np.array([True] * 3 + [False] * 9)


def test_an_epoch_has_each_presentation_once_in_another_order():
    sampler = EpochSampler(LABELS, seed=0, batch_size=4)
    first = [key.sample for key in sampler]
    sampler.epoch = 1
    second = [key.sample for key in sampler]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_a_balanced_epoch_has_both_classes_as_often():
    drawn = [LABELS[key.sample] for key in EpochSampler(LABELS, seed=0, batch_size=4, balanced=True)]
    assert sum(drawn) == 6


@pytest.mark.parametrize("balanced", [False, True])
def test_devices_share_an_epoch_without_overlap(balanced: bool):
    whole = {key.place: key.sample for key in EpochSampler(LABELS, seed=0, batch_size=4, balanced=balanced)}
    parts = [
        {k.place: k.sample for k in EpochSampler(LABELS, seed=0, batch_size=2, balanced=balanced, rank=r, world=2)}
        for r in range(2)
    ]
    assert {**parts[0], **parts[1]} == whole
    assert not parts[0].keys() & parts[1].keys()


@pytest.mark.parametrize(("count", "world", "size"), [(12, 2, 3), (11, 2, 3), (10, 4, 2), (9, 2, 2), (7, 3, 2)])
def test_repeated_samples_are_known(count: int, world: int, size: int):
    seen = []
    for rank in range(world):
        sampler = EpochSampler(LABELS[:count], seed=0, batch_size=size, rank=rank, world=world)
        keys = list(sampler)
        for batch in range(-(-len(keys) // size)):
            seen += [key.sample for key in keys[batch * size : (batch + 1) * size][: sampler.real(batch)]]
    assert len(seen) == len(set(seen)) == min(count, world * len(sampler))


def test_a_last_batch_of_one_is_left_out():
    assert len(EpochSampler(LABELS[:9], seed=0, batch_size=4)) == 8
    assert len(EpochSampler(LABELS[:1], seed=0, batch_size=4)) == 1


def test_every_stored_frame_comes_in_its_turn_and_all_presentations_are_there(stored: Stored, recipe: Recipe):
    frames = frames_for_training(stored.manifest.where("train"), stored.crops)
    assert len(frames) == 12
    assert np.diff(frames.start).tolist() == [3] * 12
    assert frames.labels.tolist() == [True, False] * 6
    data = TrainingSet(frames, recipe)
    for key in EpochSampler(frames.labels, seed=0, batch_size=4):
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
    drawn = [key.sample for key in sampler]
    counts = {(label, source): 0 for label in (True, False) for source in (0, 1)}
    for sample in drawn:
        counts[bool(labels[sample]), int(sources[sample])] += 1
    assert set(counts.values()) == {12}
    assert len(set(drawn)) == 6 + 2 + 10 + 12  # no presentation twice before all have been drawn


def test_a_source_with_one_class_takes_no_share_of_the_other():
    labels = np.array([True] * 4 + [False] * 8)
    sources = np.array([0] * 4 + [0] * 4 + [1] * 4)
    drawn = [key.sample for key in EpochSampler(labels, sources=sources, seed=0, batch_size=4, balanced=True)]
    assert sum(labels[sample] for sample in drawn) == 6
    assert sum(not labels[sample] and sources[sample] == 1 for sample in drawn) == 3


def test_stored_frames_name_their_sources(stored: Stored):
    table = stored.manifest.table
    two = replace(stored.manifest, table=table.assign(dataset=["b", "a"] * (len(table) // 2)))
    frames = frames_for_training(two, stored.crops)
    assert frames.source_names == ("a", "b")
    assert [frames.source_names[source] for source in frames.sources[:3]] == ["b", "a", "b"]
