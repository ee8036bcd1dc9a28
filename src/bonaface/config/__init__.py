"""Recipes: their settings, how they are read, and what each setting means."""

from bonaface.config.describe import Setting, recipe_settings, recipe_summary
from bonaface.config.recipe import (
    AugmentSettings,
    CropSettings,
    DataSettings,
    ModelSettings,
    Recipe,
    ScoringSettings,
    Settings,
    TrainingSettings,
    dump_recipe,
    load_recipe,
    shipped_recipes,
)

__all__ = [
    "AugmentSettings",
    "CropSettings",
    "DataSettings",
    "ModelSettings",
    "Recipe",
    "ScoringSettings",
    "Setting",
    "Settings",
    "TrainingSettings",
    "dump_recipe",
    "load_recipe",
    "recipe_settings",
    "recipe_summary",
    "shipped_recipes",
]
