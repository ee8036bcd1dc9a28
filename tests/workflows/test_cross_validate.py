from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import bonaface
from bonaface.cli.summaries import folds_lines
from bonaface.data.identity import DISTINCT
from bonaface.data.manifest import make_manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import InputError, ManifestError, SettingsError
from bonaface.workflows.cross_validate import leave_one_dataset_out, protocol_folds
from tests.conftest import SMALL
from tests.corpus_folder import write_corpus


def manifest(dataset: str, folder: Path, splits: str = ""):
    rows = []
    for person in range(6):
        for label, species in (("bona_fide", ""), ("attack", "print")):
            name = f"{dataset}/{label}/{person}.mp4"
            rows.append(
                {"path": name, "label": label, "species": species, "subject": f"{person}", "dataset": dataset}
                | ({"split": ("train", "train", "train", "val", "test", "test")[person]} if splits else {})
            )
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return make_manifest(pd.DataFrame(rows), folder)


def test_each_dataset_is_tested_on_what_the_others_taught(tmp_path: Path):
    one, two, three = manifest("one", tmp_path / "x", "s"), manifest("two", tmp_path / "y"), manifest("three", tmp_path)
    found = leave_one_dataset_out([one, two, three])
    assert list(found) == ["without_one", "without_two", "without_three"]
    table = found["without_two"].table
    assert set(table.loc[table["dataset"] == "two", "split"]) == {"test"}
    assert set(table.loc[table["dataset"] != "two", "split"]) == {"train", "val"}
    assert (table.loc[(table["dataset"] == "one"), "split"] == "val").sum() == 2
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert all(file.is_file() for file in found["without_two"].files())


def test_unknown_and_distinct_persons_stay_so(tmp_path: Path):
    one, two = (manifest(name, tmp_path / f"at_{name}") for name in ("one", "two"))
    unknown = make_manifest(two.table.drop(columns=["subject", "subject_known"]), two.root)
    declared = replace(one, about={DISTINCT: [["one/1", "one/01"]]})
    found = leave_one_dataset_out([declared, unknown])["without_one"]
    assert not found.table.loc[found.table["dataset"] == "two", "subject_known"].any()
    assert found.table.loc[found.table["dataset"] == "one", "subject_known"].all()
    assert found.about[DISTINCT] == [["one/1", "one/01"]]


def test_one_dataset_alone_or_twice_is_refused(tmp_path: Path):
    one = manifest("one", tmp_path)
    with pytest.raises(SettingsError, match="two or more"):
        leave_one_dataset_out([one])
    with pytest.raises(ManifestError, match="two manifests"):
        leave_one_dataset_out([one, one])


def test_all_folds_of_a_protocol(tmp_path: Path):
    write_corpus(tmp_path, "oulu_npu")
    found = protocol_folds(tmp_path, layout="oulu_npu", protocol="3")
    assert list(found) == [f"fold{number}" for number in range(1, 7)]
    assert len({each.digest for each in found.values()}) == 6
    (whole,) = protocol_folds(tmp_path, layout="oulu_npu", protocol="1").items()
    assert whole[0] == "oulu_npu_1"
    assert set(whole[1].table["split"]) == {"train", "val", "test"}


def test_a_protocol_without_validation_takes_it_from_who_trains(tmp_path: Path):
    write_corpus(tmp_path, "msu_mfsd")
    official = bonaface.index(tmp_path, layout="msu_mfsd").manifest
    assert set(official.table["split"]) == {"train", "test"}
    (manifest,) = protocol_folds(tmp_path, layout="msu_mfsd").values()
    assert set(manifest.table["split"]) == {"train", "val", "test"}
    assert any("test kept, the others drawn by person" in note for note in manifest.notes)
    tested = official.table.loc[official.table["split"] == "test", "path"]
    assert set(manifest.table.loc[manifest.table["split"] == "test", "path"]) == set(tested)
    assert (manifest.table.groupby("subject")["split"].nunique() == 1).all()


@pytest.mark.slow
def test_folds_are_trained_once_and_reported_with_their_spread(tmp_path: Path):
    write_demo_dataset(tmp_path / "footage", persons=5, takes=1, seconds=0.2, seed=5)
    whole = bonaface.index(tmp_path / "footage", layout="folder").manifest
    manifests = {f"draw{seed}": bonaface.split(whole, seed=seed).manifest for seed in (0, 1)}
    done = bonaface.folds("demo", *SMALL, manifests=manifests, output=tmp_path / "out", faces=False)
    assert len(done.table) == 4
    spread = done.spread()
    kind = done.table["kind"].iloc[0]
    values = done.table.loc[done.table["kind"] == kind, "hter"]
    assert spread["mean"].at[kind, "hter"] == pytest.approx(values.mean())
    assert spread["sd"].at[kind, "hter"] == pytest.approx(values.std(ddof=1))
    assert "mean ± sd of 2 folds" in "\n".join(folds_lines(done))
    assert (tmp_path / "out" / "folds.csv").is_file()
    again = bonaface.folds("demo", *SMALL, manifests=manifests, output=tmp_path / "out", faces=False)
    assert again.runs == {}  # nothing was trained a second time
    pd.testing.assert_frame_equal(again.table, done.table)
    with pytest.raises(InputError, match="a different recipe"):
        bonaface.folds("demo", *SMALL, "seed=9", manifests=manifests, output=tmp_path / "out", faces=False)


def test_a_fold_without_a_test_split_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="nothing to test on"):
        bonaface.folds("demo", manifests={"a": manifest("one", tmp_path)}, output=tmp_path / "out")
