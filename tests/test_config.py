from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bonaface.config import Recipe, dump_recipe, load_recipe, shipped_recipes
from bonaface.errors import SettingsError


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name: str, tmp_path: Path):
    recipe = load_recipe(name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_recipe(recipe))
    assert load_recipe(copy) == recipe
    assert load_recipe(f"{name}.yaml") == recipe


def test_the_recipes_of_the_readme_are_shipped():
    assert {"baseline", "default", "demo"} <= set(shipped_recipes())


def test_the_baseline_is_the_published_one():
    recipe = load_recipe("baseline")
    assert recipe.model.name == "mobilenetv3_large_100"
    assert (recipe.model.input_size, recipe.model.weights) == (224, "imagenet")
    assert recipe.crop.detector == "whole_frame"
    # Resize 256 and CenterCrop 224; the result is compared with torchvision in tests/model/test_transforms.py.
    assert (recipe.crop.resize, recipe.model.crop_scale) == (256, 224 / 256)
    assert recipe.crop.frames == "all"
    training = recipe.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.weight_decay) == (10, 32, 1e-4, 1e-5)
    assert (training.monitor, training.frame, training.balance) == ("val_loss", "random", "none")
    assert not any(value for value in recipe.augment.model_dump().values())


def test_overrides_apply_in_order_and_reach_every_section():
    recipe = load_recipe("baseline", ["training.epochs=3", "training.epochs=4", "seed=7", "crop.frames=all"])
    assert (recipe.training.epochs, recipe.seed, recipe.crop.frames) == (4, 7, "all")


def test_a_small_number_in_scientific_notation_is_a_number():
    # YAML 1.1 reads 1e-4 as a string.
    assert load_recipe("baseline", ["training.learning_rate=1e-4"]).training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epoch=3", "unknown key training.epoch (did you mean 'epochs'?)"),
        ("trainin.epochs=3", "unknown key trainin (did you mean 'training'?)"),
        ("training.epochs=0", "training.epochs"),
        ("training.epochs=many", "training.epochs"),
        ("crop.detector=mtcnn", "crop.detector"),
        ("crop.frames=some", "crop.frames"),
        ("training.epochs", "expected section.key=value"),
        ("seed.x=1", "seed is a value"),
        ("model.crop_scale=3.5", "model.crop_scale"),
        ("crop.resize=256", "resize works with the detector whole_frame"),
    ],
)
def test_a_bad_override_is_named_in_one_line(override: str, said: str):
    with pytest.raises(SettingsError) as caught:
        load_recipe("default", [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "seed: 1\nsead: 2"])
def test_a_bad_file_is_named(text: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load_recipe(path)


def test_an_unknown_recipe_names_the_shipped_ones():
    with pytest.raises(SettingsError, match="default"):
        load_recipe("defualt")


def test_settings_are_frozen_and_documented():
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1  # type: ignore[misc]
    assert yaml.safe_load(dump_recipe(recipe))["training"]["batch_size"] == 32


@pytest.mark.parametrize("detector", ["yunet", "haar"])
def test_jittered_crops_must_fit_the_stored_square(detector: str):
    wide = ("model.crop_scale=2.6", "augment.scale_jitter=0.15", f"crop.detector={detector}")
    with pytest.raises(
        SettingsError, match=r"reach 2\.99 x the box .* stores 2\.7 x; set crop\.scale to 2\.99 or more"
    ):
        load_recipe("default", wide)
    assert load_recipe("default", (*wide, "crop.scale=2.99")).crop.scale == 2.99


def test_whole_frames_have_no_stored_scale():
    assert load_recipe("baseline", ("augment.scale_jitter=0.5",)).augment.scale_jitter == 0.5


def test_recipes_of_earlier_runs_have_earlier_names(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("training: {average: 2, accumulate: 4}")
    training = load_recipe(tmp_path / "recipe.yaml").training
    assert (training.ema_epochs, training.gradient_accumulation) == (2, 4)
    assert load_recipe("demo", ("training.average=2",)).training.ema_epochs == 2


def test_recipes_of_earlier_runs_may_name_one_device():
    assert load_recipe("demo", ("training.devices=1",)) == load_recipe("demo")
    with pytest.raises(SettingsError, match="torchrun --nproc-per-node"):
        load_recipe("demo", ("training.devices=2",))
