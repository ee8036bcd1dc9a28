"""Validation widened by simulated cameras and attacks."""

from __future__ import annotations

import numpy as np
import torch

from bonaface.config import Recipe
from bonaface.data.cropping import crop_face
from bonaface.evaluation.scores import presentations
from bonaface.models.network import LivenessNet, build_network
from bonaface.training.loader import frames_for_training
from bonaface.training.widened_validation import ATTACK, CAMERA, PLAIN, score_widened_validation
from bonaface.workflows.operating_points import choose_operating_points
from tests.training.conftest import Stored


def network_of(recipe: Recipe) -> LivenessNet:
    torch.manual_seed(0)
    return build_network(recipe.model)


def test_each_presentation_occurs_as_it_is_by_another_camera_and_as_an_attack(stored: Stored, recipe: Recipe):
    val = stored.manifest.where("val")
    table = score_widened_validation(network_of(recipe), val, stored.crops, recipe)
    fused = table[table["frame"].isna()]
    counts = fused.groupby(["widened", "label"]).size().to_dict()
    assert counts == {
        (PLAIN, "attack"): 4,
        (PLAIN, "bona_fide"): 4,
        (CAMERA, "attack"): 4,
        (CAMERA, "bona_fide"): 4,
        (ATTACK, "attack"): 4,
    }
    assert set(fused.loc[fused["widened"] == ATTACK, "species"]) <= {"simulated_print", "simulated_replay"}
    assert fused["presentation"].is_unique
    assert set(fused["subject"]) == set(val.table["subject"])


def test_plain_rows_are_what_scoring_gives(stored: Stored, recipe: Recipe):
    val, network = stored.manifest.where("val"), network_of(recipe)
    table = score_widened_validation(network, val, stored.crops, recipe)
    frames = frames_for_training(val, stored.crops)
    square, box = frames.load(0)
    crop = crop_face(square, box, scale=recipe.model.crop_scale, size=recipe.model.input_size)
    with torch.no_grad():
        logit = float(network(torch.from_numpy(crop[None]))[0])
    first = table[(table["presentation"] == frames.names[0]) & (table["frame"] == 0)]
    assert np.isclose(first["logit"].iloc[0], logit, atol=1e-5)


def test_a_second_network_sees_the_same_faces_and_is_added(stored: Stored, recipe: Recipe):
    val, network = stored.manifest.where("val"), network_of(recipe)
    seen: list[tuple[int, ...]] = []

    def second(faces):
        for picture, box in faces:
            assert picture.shape[0] == picture.shape[1]
            assert 0 <= box.x < box.x + box.w <= len(picture) + 1
            seen.append(picture.shape)
        return np.full(len(faces), 3.0)

    alone = score_widened_validation(network, val, stored.crops, recipe)
    both = score_widened_validation(network, val, stored.crops, recipe, second=second)
    assert np.allclose(both["logit"], alone["logit"] + 3)
    assert len(seen) == both["frame"].notna().sum()
    size = recipe.model.input_size
    simulated = (both["widened"] != PLAIN) & both["frame"].notna()
    assert sum(shape == (size, size, 3) for shape in seen) == simulated.sum()  # the others are the stored squares


def test_the_same_seed_gives_the_same_pictures(stored: Stored, recipe: Recipe):
    val, network = stored.manifest.where("val"), network_of(recipe)
    one = score_widened_validation(network, val, stored.crops, recipe)
    assert one.equals(score_widened_validation(network, val, stored.crops, recipe))
    other = score_widened_validation(network, val, stored.crops, recipe.model_copy(update={"seed": 1}))
    changed = one["widened"] != PLAIN
    assert not np.allclose(one["logit"][changed], other["logit"][changed])
    assert np.allclose(one["logit"][~changed], other["logit"][~changed])


def test_widened_validation_chooses_thresholds(stored: Stored, recipe: Recipe):
    table = score_widened_validation(network_of(recipe), stored.manifest.where("val"), stored.crops, recipe)
    plain, widened = (
        table[which].reset_index(drop=True) for which in (table["widened"] == PLAIN, table["widened"] != PLAIN)
    )
    points = choose_operating_points(plain, criterion="eer", frames=3, fusion="mean", widened=widened)
    found = points["video"].chosen_on
    assert found["presentations"] == 8
    assert found["widened"]["presentations"] == 12
    of_both = presentations(table)
    accepted = of_both["logit"] >= points["video"].logit_threshold
    bona_fide = of_both["label"] == "bona_fide"
    apart = abs(accepted[~bona_fide].mean() - (~accepted)[bona_fide].mean())
    assert apart <= min(
        abs((of_both["logit"] >= t)[~bona_fide].mean() - (of_both["logit"] < t)[bona_fide].mean())
        for t in of_both["logit"]
    )
