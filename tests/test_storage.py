"""Footage, manifests, bundles and results in object storage, against a real S3 server on this machine."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer

import bonaface
from bonaface.config import CropSettings
from bonaface.data.crop_store import fill_store, load_crop
from bonaface.data.manifest import read_manifest, write_manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import BonafaceError, BundleError, ManifestError, OutputError
from bonaface.inference.bundle import change_bundle, load_bundle, write_bundle
from bonaface.io import fresh_folder, new_file, new_folder, read_json, storage
from bonaface.workflows.calibrate import _is_manifest
from bonaface.workflows.evaluate import _kept
from tests.networks import tiny_bundle

pytestmark = pytest.mark.slow

CROPS = CropSettings(detector="whole_frame", frames=2, scale=1.0, side=96)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket whose server and credentials are named by the usual environment variables."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="footage")
        yield "s3://footage"
    server.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated footage with a manifest next to it, and a bundle."""
    folder = tmp_path_factory.mktemp("local")
    write_demo_dataset(folder / "clips", persons=2, takes=1, seconds=0.3)
    bonaface.index(folder / "clips", output=folder / "manifest.csv")
    bundle = tiny_bundle(folder / "bundle")
    write_bundle(bundle)
    write_bundle(change_bundle(bundle, path=folder / "model.bonaface"))
    return folder


@pytest.fixture(scope="module")
def stored(bucket: str, local: Path) -> str:
    """The same in the bucket; the manifest's footage lies there too, without one of its videos."""
    path = Path(f"{bucket}/all")
    storage.upload(local, path)
    manifest = read_manifest(local / "manifest.csv")
    write_manifest(dataclasses.replace(manifest, root=path / "clips"), path / "remote.csv")
    storage.remove(path / "clips" / manifest.table["path"].iloc[-1])
    return f"{bucket}/all"


@pytest.mark.parametrize("text", ["s3://bucket/a b.csv", "gs://bucket", "memory:///a/b.csv"])
def test_address_survives_as_a_path(text: str):
    assert storage.is_remote(Path(text))
    assert storage.shown(Path(text)) == text


@pytest.mark.parametrize("text", ["c:/clips", "https://host/a.jpg", "rtsp://camera", "a/s3:/b", "a.csv"])
def test_other_paths_are_not_in_storage(text: str):
    assert not storage.is_remote(Path(text))


def test_manifest_in_storage_reads_as_its_local_copy(stored: str, local: Path):
    found = read_manifest(f"{stored}/remote.csv")
    assert found.digest == read_manifest(local / "manifest.csv").digest
    assert storage.shown(found.root) == f"{stored}/clips"
    assert storage.shown(found.files()[0]).startswith(f"{stored}/clips/live/")


def test_manifest_root_is_relative_to_its_address(stored: str):
    assert storage.shown(read_manifest(f"{stored}/manifest.csv").root) == f"{stored}/clips"


@pytest.mark.parametrize("name", ["bundle", "model.bonaface"])
def test_bundle_in_storage_is_the_local_one(stored: str, local: Path, name: str):
    assert load_bundle(f"{stored}/{name}").id == load_bundle(local / name).id


@pytest.mark.parametrize("name", ["written", "written.bonaface"])
def test_bundle_is_written_to_storage(bucket: str, local: Path, name: str):
    path, bundle = Path(f"{bucket}/{name}"), load_bundle(local / "bundle")
    for title in ("first", "second"):  # a bundle in its place is replaced
        write_bundle(change_bundle(bundle, path=path, name=title))
        assert load_bundle(path).card.name == title


def test_crops_of_stored_footage_are_those_of_local_footage(stored: str, local: Path, tmp_path: Path):
    remote, here = read_manifest(f"{stored}/remote.csv"), read_manifest(local / "manifest.csv")
    there = fill_store(remote, tmp_path / "a", CROPS, workers=1).table
    own = fill_store(here, tmp_path / "b", CROPS, workers=1).table
    gone = here.table["path"].iloc[-1]
    compared = ["path", "frame", "time", "status", "x", "y", "w", "h"]
    pd.testing.assert_frame_equal(there.loc[there["path"] != gone, compared], own.loc[own["path"] != gone, compared])
    pictures = [
        [Path(file).read_bytes() for file in table.loc[table["path"] != gone, "file"]] for table in (there, own)
    ]
    assert pictures[0] == pictures[1]
    missing = there[there["path"] == gone]
    assert missing[["status", "reason"]].to_numpy().tolist() == [["unreadable", "no such file"]]


def test_shards_are_read_from_storage(bucket: str, local: Path, tmp_path: Path):
    manifest = read_manifest(local / "manifest.csv")
    own = bonaface.crop(
        manifest,
        output=tmp_path / "crops",
        shards=f"{bucket}/shards",
        detector="whole_frame",
        frames=2,
        scale=1.0,
        side=96,
    ).store
    there = fill_store(manifest, Path(f"{bucket}/shards"), CROPS)
    pd.testing.assert_frame_equal(there.table.drop(columns="file"), own.table.drop(columns="file"))
    assert there.table["file"].str.startswith(f"{bucket}/shards/00000.tar#").all()
    for mine, theirs in zip(there.table["file"], own.table["file"], strict=True):
        assert load_crop(mine).tobytes() == load_crop(theirs).tobytes()
    with pytest.raises(OutputError, match="make them with `data crop --shards`"):
        fill_store(manifest, Path(f"{bucket}/none"), CROPS)


def test_evaluation_reads_and_writes_storage(stored: str, bucket: str, local: Path, tmp_path: Path):
    there = bonaface.evaluate(
        f"{stored}/bundle", f"{stored}/remote.csv", output=f"{bucket}/results", detector="whole_frame", faces=False
    )
    own = bonaface.evaluate(
        local / "bundle", local / "manifest.csv", output=tmp_path / "own", detector="whole_frame", faces=False
    )
    gone = read_manifest(local / "manifest.csv").table["path"].iloc[-1]
    compared = ["presentation", "frame", "logit", "status"]
    rows, expected = (
        table.loc[table["presentation"] != gone, compared].reset_index(drop=True)
        for table in (there.scores, own.scores)
    )
    pd.testing.assert_frame_equal(rows, expected)
    assert set(there.scores.loc[there.scores["presentation"] == gone, "status"]) == {"unreadable"}
    assert storage.exists(Path(f"{bucket}/results/report.html"))
    assert len(bonaface.read_scores(f"{bucket}/results/scores.csv")) == len(there.scores)
    with pytest.raises(OutputError, match="is not empty"):
        bonaface.evaluate(f"{stored}/bundle", f"{stored}/remote.csv", output=f"{bucket}/results", faces=False)


@pytest.mark.parametrize("tail", ["clips/live", "clips/live/**/*.mp4", "clips/live/person01/01.mp4"])
def test_predict_takes_folders_patterns_and_objects(stored: str, local: Path, tail: str):
    there = list(bonaface.predict(f"{stored}/bundle", f"{stored}/{tail}", detector="whole_frame"))
    own = list(bonaface.predict(local / "bundle", local / tail, detector="whole_frame"))
    assert [verdict.logit for verdict in there] == [verdict.logit for verdict in own]
    assert there[0].source == f"{stored}/clips/live/person01/01.mp4"


def test_predict_names_an_object_that_cannot_be_decoded(stored: str, bucket: str):
    with new_file(Path(f"{bucket}/bad/clip.mp4")) as fresh:
        fresh.write_bytes(b"no video")
    (verdict,) = bonaface.predict(f"{stored}/bundle", f"{bucket}/bad/clip.mp4", detector="whole_frame")
    assert verdict.status == "unreadable"
    assert verdict.reason.startswith(f"{bucket}/bad/clip.mp4: ")
    assert "tmp" not in verdict.reason


def write_two(target: Path) -> None:
    with new_folder(target, what="evaluation") as folder:
        (folder / "a.csv").write_text("a")
        (folder / "b.csv").write_text("b")


def test_folder_that_fails_half_way_leaves_nothing_in_storage(monkeypatch: pytest.MonkeyPatch):
    put = MemoryFileSystem.put_file

    def broken(self: MemoryFileSystem, local: str, key: str, **options: object) -> None:
        if key.endswith("b.csv"):
            raise OSError("the disk is full")
        put(self, local, key, **options)

    target = Path("memory:///half")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", broken)
        with pytest.raises(OutputError, match="memory:///half cannot be written: the disk is full") as caught:
            write_two(target)
    kept = Path(str(caught.value).partition("what was made is kept in ")[2])
    assert [file.read_text() for file in sorted(kept.iterdir())] == ["a", "b"]
    shutil.rmtree(kept)
    assert not storage.exists(target)
    write_two(target)
    assert [each.name for each in storage.listed(target)] == ["a.csv", "b.csv"]


@pytest.mark.parametrize("replace", [False, True])
def test_upload_that_fails_keeps_what_was_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replace: bool):
    def broken(self: MemoryFileSystem, local: str, key: str, **options: object) -> None:
        raise OSError("the connection was lost")

    target = Path(f"memory:///kept-{replace}")
    storage.upload(write_two_locally(tmp_path), target)
    monkeypatch.setattr(MemoryFileSystem, "put_file", broken)
    (tmp_path / "c.csv").write_text("c")
    with pytest.raises(OutputError, match="the connection was lost"):
        storage.upload(tmp_path, target, replace=replace)
    assert [each.name for each in storage.listed(target)] == ["a.csv", "b.csv"]


def write_two_locally(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text(name)
    return folder


def test_upload_in_place_of_a_folder_removes_the_rest(tmp_path: Path):
    target = Path("memory:///renewed")
    storage.upload(write_two_locally(tmp_path), target)
    (tmp_path / "a.csv").unlink()
    storage.upload(tmp_path, target, replace=True)
    assert [each.name for each in storage.listed(target)] == ["b.csv"]


@pytest.mark.parametrize(("content", "text"), [(b"", "is empty"), (b"path,label\na.mp4,what\n", "a label other than")])
def test_wrong_table_in_storage_is_named_by_its_address(content: bytes, text: str):
    fsspec.filesystem("memory").pipe("/wrong/m.csv", content)
    with pytest.raises(ManifestError, match=f"^memory:///wrong/m.csv.*{text}"):
        read_manifest("memory:///wrong/m.csv")


def test_scores_of_a_report_that_fails_are_kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.csv").write_text("scores")
    assert _kept(tmp_path / "scores.csv", Path("memory:///r/out")).read_text() == "scores"


def test_calibration_takes_a_manifest_in_storage():
    fsspec.filesystem("memory").pipe("/calibrate/m.csv", b"path,label\na.mp4,attack\n")
    assert _is_manifest(Path("memory:///calibrate/m.csv"))


def test_what_needs_a_local_folder_says_so(bucket: str):
    with pytest.raises(
        ManifestError, match="s3://footage/clips is in storage, and a layout is read from a local folder"
    ):
        bonaface.index(f"{bucket}/clips")
    with pytest.raises(OutputError, match="s3://footage/run is in storage; a training run grows file by file"):
        fresh_folder(f"{bucket}/run", what="training run")


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda a: read_manifest(f"{a}/none.csv"), ManifestError, "nothing at s3://footage/none.csv"),
        (lambda a: load_bundle(f"{a}/none"), BundleError, "nothing at s3://footage/none"),
        (lambda a: read_manifest("s3://another/none.csv"), BonafaceError, "nothing at s3://another/none.csv"),
        (
            lambda a: read_manifest("fancy://a/none.csv"),
            BonafaceError,
            "fancy://a/none.csv cannot be read: .*not known",
        ),
        (lambda a: list(bonaface.predict("b", "fancy://a/b.jpg")), BonafaceError, "no bundle at b"),
    ],
)
def test_wrong_address_is_one_line(bucket: str, call, kind: type[BonafaceError], text: str):
    with pytest.raises(kind, match=text) as caught:
        call(bucket)
    assert "\n" not in str(caught.value)


def test_server_that_cannot_be_reached_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.config.conf["s3"] = {"skip_instance_cache": True}
    try:
        with pytest.raises(BonafaceError, match=r"s3://footage/a\.csv cannot be read: .*connect") as caught:
            read_manifest("s3://footage/a.csv")
        assert "\n" not in str(caught.value)
        with pytest.raises(BonafaceError, match="cannot be read"):  # and is not taken for one that lacks the file
            read_json(Path("s3://footage/run.json"))
    finally:
        fsspec.config.conf.pop("s3")


def test_manifest_refuses_an_address_below_a_root(tmp_path: Path):
    (tmp_path / "m.csv").write_text("path,label\ns3://bucket/a.mp4,bona_fide\n")
    with pytest.raises(ManifestError, match="an absolute path"):
        read_manifest(tmp_path / "m.csv")
