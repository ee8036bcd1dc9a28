from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bonaface.data.audit.shortcuts import left_out, one_class_values, traits
from bonaface.data.manifest import make_manifest


def table(rows: int = 400, persons: int = 20, **columns):
    rng = np.random.default_rng(0)
    attack = np.arange(rows) % 2 == 1
    frame = pd.DataFrame(
        {
            "path": [f"{row}.mp4" for row in range(rows)],
            "label": np.where(attack, "attack", "bona_fide"),
            "species": np.where(attack, np.where(rng.random(rows) < 0.5, "print", "replay"), ""),
            "subject": [f"p{row // 2 % persons}" for row in range(rows)],
        }
    )
    for name, make in columns.items():
        frame[name] = make(rng, attack)
    return make_manifest(frame, ".").table


def areas(frame, properties=None):
    found = {}
    for trait in traits(frame, properties if properties is not None else pd.DataFrame(index=frame.index)):
        there = np.isfinite(trait.score)
        found[trait.name] = roc_auc_score((frame["label"] == "bona_fide")[there], trait.score[there])
    return found


def test_informative_number_is_found_in_either_direction():
    frame = table()
    attack = (frame["label"] == "attack").to_numpy()
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(frame))
    found = areas(frame, pd.DataFrame({"more": noise + 3 * attack, "less": noise - 3 * attack, "noise": noise}))
    assert found["more"] > 0.95
    assert found["less"] > 0.95
    assert found["noise"] < 0.6


def test_number_informative_by_range_is_found():
    frame = table()
    attack = (frame["label"] == "attack").to_numpy()
    rng = np.random.default_rng(1)
    both_ends = np.where(attack, rng.choice((-3.0, 3.0), len(frame)), 0.0) + rng.normal(size=len(frame))
    (trait,) = [each for each in traits(frame, pd.DataFrame({"ends": both_ends})) if each.name == "ends"]
    assert trait.how == "range"
    assert roc_auc_score(frame["label"] == "bona_fide", trait.score) > 0.9


@pytest.mark.parametrize("values", [2, 20, 200, 400])
def test_a_column_of_many_values_that_says_nothing_does_not_win(values):
    frame = table(noise=lambda rng, attack: [f"v{value}" for value in rng.integers(0, values, len(attack))])
    assert areas(frame)["noise"] == pytest.approx(0.5, abs=0.08)


def test_fully_informative_column_is_certain():
    frame = table(camera=lambda rng, attack: np.where(attack, "phone", "laptop"))
    assert areas(frame)["camera"] == 1.0


def test_columns_that_restate_the_label_are_left_out():
    frame = table(medium=lambda rng, attack: np.where(attack, rng.choice(("a4", "ipad"), len(attack)), ""))
    frame["code"] = frame["species"].map({"": "G", "print": "P", "replay": "V"})
    reasons = left_out(frame)
    assert "describes the attack" in reasons["medium"]
    assert "species" in reasons["code"]
    assert not {"medium", "code", "label", "species", "path"} & set(areas(frame))


def test_the_confounds_of_rose_youtu_show_in_its_columns():
    """Genuine videos are all silent; two kinds of paper mask are all with glasses (docs: published file list)."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(20):
        for species, count in (("", 44), ("print_still", 20), ("paper_mask_cropped", 20), ("paper_mask_upper", 20)):
            masked = species.startswith("paper_mask")
            rows += [
                {
                    "path": f"{person}/{species or 'live'}/{number}.mp4",
                    "label": "attack" if species else "bona_fide",
                    "species": species,
                    "subject": str(person),
                    "speech": "talking" if masked and number % 2 else "silent",
                    "glasses": "with" if masked or rng.random() < 0.44 else "without",
                    "device": ("HS", "HW", "IP", "5s", "ZTE")[number % 5],
                }
                for number in range(count)
            ]
    frame = make_manifest(pd.DataFrame(rows), ".").table
    found = areas(frame)
    assert found["speech"] > 0.6
    assert found["glasses"] > 0.65
    assert found["device"] == pytest.approx(0.5, abs=0.03)
    (telling,) = one_class_values(frame)
    assert (telling.column, telling.value, telling.label) == ("speech", "talking", "attack")
