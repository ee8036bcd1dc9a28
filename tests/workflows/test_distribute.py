"""Scoring and cropping on a Ray cluster of this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

import bonaface
from bonaface.cli import main
from bonaface.data.manifest import Manifest, read_manifest
from bonaface.data.synthetic.dataset import write_demo_dataset
from bonaface.errors import BonafaceError, InputError, MediaError, SettingsError
from bonaface.inference.bundle import load_bundle, write_bundle
from bonaface.inference.scoring import Scored, score_manifest
from bonaface.workflows import distribute
from bonaface.workflows.distribute import _key, parts_folder, score_on_ray
from bonaface.workflows.partitions import Partitions
from bonaface.workflows.ray_engine import _completed, run_on_ray
from tests.networks import tiny_bundle

FACES: dict[str, Any] = {"detector": "whole_frame"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with a core and one that may be removed."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import the tests
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    write_demo_dataset(folder / "clips", persons=2, takes=1, seconds=0.3)
    (folder / "clips" / "live" / "person01" / "damaged.mp4").write_bytes(b"no video")
    bonaface.index(folder / "clips", output=folder / "manifest.csv")
    write_bundle(tiny_bundle(folder / "bundle"))
    return folder


@pytest.fixture
def manifest(footage: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setattr(distribute, "PART", 3)
    monkeypatch.setattr(distribute, "PARTS", 1)
    return read_manifest(footage / "manifest.csv")


def numbers(count: int) -> Iterator[tuple[str, list[int]]]:
    """Parts of four numbers each."""
    for start in range(0, count, 4):
        yield f"{start:09d}", list(range(start, min(start + 4, count)))


def singles(part: list[int]) -> Iterator[list[int]]:
    return ([number] for number in part)


def written(folder: Path) -> list[int]:
    return sorted(int(file.name) for file in folder.iterdir())


def writer(folder: Path, bad: int = -1, pids: Path | None = None):
    """What writes a file a number; the number `bad` ends the process."""

    def work(_: str, part: list[int]) -> None:
        for number in part:
            if pids is not None:
                (pids / str(os.getpid())).touch()
            if number == bad:
                os.kill(os.getpid(), signal.SIGKILL)
            (folder / str(number)).touch()

    return work


class Seen:
    """Progress of a job; at a count, it interrupts."""

    def __init__(self, interrupt: bool = False) -> None:
        self.counts: list[int] = []
        self._interrupt = interrupt

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        assert stage == "score"
        self.counts.append(done)
        if self._interrupt and 0 < done < total:
            raise KeyboardInterrupt

    def epoch(self, line: str, figures: object, /) -> None:
        pytest.fail("no epochs here")


def same(found: Scored, expected: Scored) -> None:
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert found.notes == expected.notes
    assert found.embedded == expected.embedded
    assert found.embeddings.tobytes() == expected.embeddings.tobytes()


@pytest.mark.cluster
def test_scores_are_those_of_one_machine(cluster: Cluster, footage: Path, manifest: Manifest, tmp_path: Path):
    bundle, seen = load_bundle(footage / "bundle"), Seen()
    found = score_on_ray(bundle, manifest, tmp_path / "out", address=cluster.address, progress=seen, **FACES)
    same(found, score_manifest(bundle, manifest, **FACES))
    assert seen.counts == [0, *seen.counts[1:-1], len(manifest)]


@pytest.mark.cluster
def test_second_call_scores_what_is_missing(cluster: Cluster, footage: Path, manifest: Manifest, tmp_path: Path):
    bundle, seen = load_bundle(footage / "bundle"), Seen()
    options: dict[str, Any] = {"address": cluster.address, **FACES}
    with pytest.raises(KeyboardInterrupt):
        score_on_ray(bundle, manifest, tmp_path / "out", progress=Seen(interrupt=True), **options)
    kept = list((tmp_path / "out.partitions").glob("part-*"))
    assert 0 < len(kept) < len(manifest) / 3
    found = score_on_ray(bundle, manifest, tmp_path / "out", progress=seen, **options)
    assert seen.counts[0] == 3 * len(kept)
    same(found, score_manifest(bundle, manifest, **FACES))


@pytest.mark.cluster
def test_evaluation_on_a_cluster_has_the_same_report(
    cluster: Cluster, footage: Path, manifest: Manifest, tmp_path: Path
):
    own = bonaface.evaluate(footage / "bundle", manifest, output=tmp_path / "own", faces=False, **FACES)
    there = bonaface.evaluate(
        footage / "bundle",
        manifest,
        output=tmp_path / "there",
        faces=False,
        engine="ray",
        address=cluster.address,
        **FACES,
    )
    pd.testing.assert_frame_equal(own.scores, there.scores)
    assert (tmp_path / "own" / "report.json").read_text() == (tmp_path / "there" / "report.json").read_text()
    assert not (tmp_path / "there.partitions").exists()


@pytest.mark.cluster
def test_parts_are_kept_until_the_report_is_written(
    cluster: Cluster, footage: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bonaface.workflows.evaluate.write_page", interrupted)
    options: dict[str, Any] = {"engine": "ray", "address": cluster.address, "faces": False, **FACES}
    with pytest.raises(KeyboardInterrupt):
        bonaface.evaluate(footage / "bundle", manifest, output=tmp_path / "out", **options)
    assert list((tmp_path / "out.partitions").glob("part-*"))


@pytest.mark.cluster
def test_verdicts_are_those_of_one_machine(cluster: Cluster, footage: Path, manifest: Manifest, tmp_path: Path):
    seen, clips = Seen(), footage / "clips"
    options: dict[str, Any] = {"output": tmp_path / "out", "address": cluster.address, "progress": seen, **FACES}
    counts = bonaface.predict_on_ray(footage / "bundle", clips, **options)
    expected = [verdict.to_dict() for verdict in bonaface.predict(footage / "bundle", clips, **FACES)]
    table = pd.read_parquet(tmp_path / "out")
    plain = ["source", "verdict", "accepted", "score", "threshold", "logit", "kind", "faces", "reason", "bundle"]
    pd.testing.assert_frame_equal(table[plain], pd.DataFrame(expected)[plain])
    assert [json.loads(frames) for frames in table["frames"]] == [row["frames"] for row in expected]
    assert counts == table["verdict"].value_counts().to_dict()
    assert (tmp_path / "out" / "_SUCCESS").is_file()
    seen.counts.clear()
    assert bonaface.predict_on_ray(footage / "bundle", clips, **options) == counts
    assert seen.counts == [len(manifest)]
    with pytest.raises(InputError, match="holds parts of a different job"):
        bonaface.predict_on_ray(footage / "bundle", clips / "live", **options)


@pytest.mark.cluster
def test_crops_are_those_of_one_machine(cluster: Cluster, manifest: Manifest, tmp_path: Path):
    settings: dict[str, Any] = {"detector": "whole_frame", "frames": 2, "scale": 1.0, "side": 64}
    own = bonaface.crop(manifest, output=tmp_path / "own", workers=1, **settings)
    there = bonaface.crop(manifest, output=tmp_path / "there", engine="ray", address=cluster.address, **settings)
    files = [
        sorted(each.relative_to(store) for each in (store / "entries").rglob("*")) for store in (own.path, there.path)
    ]
    assert files[0] == files[1]
    pd.testing.assert_frame_equal(own.store.table.drop(columns="file"), there.store.table.drop(columns="file"))


@pytest.mark.cluster
def test_presentation_that_ends_its_worker_twice_is_given_up(cluster: Cluster, tmp_path: Path):
    lost: list[tuple[str, list[int]]] = []
    counts: list[int] = []
    run_on_ray(
        partial(writer, tmp_path, 6),
        numbers(10),
        divide=singles,
        lost=lambda name, part: lost.append((name, part)),
        done=counts.append,
        address=cluster.address,
    )
    assert lost == [("000000004.0002", [6])]
    assert written(tmp_path) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert sum(counts) == 10


def test_lost_presentation_is_unreadable_in_the_table(footage: Path, manifest: Manifest, monkeypatch, tmp_path: Path):
    bundle = load_bundle(footage / "bundle")

    def all_lost(make, parts, *, divide, lost, done, **_):
        for name, part in parts:
            for number, single in enumerate(divide(part)):
                lost(f"{name}.{number:04d}", single)
                done(1)

    monkeypatch.setattr(distribute, "run_on_ray", all_lost)
    with pytest.raises(InputError, match="decoding or scoring it ended the worker process twice"):
        score_on_ray(bundle, manifest, tmp_path / "out", **FACES)
    table = Partitions(
        tmp_path / "out.partitions", next((tmp_path / "out.partitions").glob("part-*")).name[20:36]
    ).read()
    assert set(table["status"]) == {"unreadable"}
    assert table["presentation"].drop_duplicates().tolist() == manifest.table["path"].tolist()


@pytest.mark.cluster
@pytest.mark.parametrize("kill", ["worker", "node"])
def test_lost_worker_or_node_costs_nothing_but_time(cluster: Cluster, tmp_path: Path, kill: str):
    (tmp_path / "pids").mkdir()
    (tmp_path / "out").mkdir()
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    killed: list[int] = []

    def done(_: int) -> None:
        if killed:
            return
        pid = int(next((tmp_path / "pids").iterdir()).name)
        killed.append(pid)
        if kill == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            cluster.remove_node(node, allow_graceful=False)

    run_on_ray(
        partial(writer, tmp_path / "out", pids=tmp_path / "pids"),
        numbers(60),
        divide=singles,
        lost=lambda *_: pytest.fail("nothing ends its worker twice here"),
        done=done,
        address=cluster.address,
    )
    assert killed
    assert written(tmp_path / "out") == list(range(60))
    if kill == "worker":
        cluster.remove_node(node)


@pytest.mark.cluster
def test_error_of_a_part_ends_the_job(cluster: Cluster):
    def broken(_: str, part: list[int]) -> None:
        raise MediaError(f"{part[0]} is broken")

    with pytest.raises(MediaError, match=r"^0 is broken$"):
        run_on_ray(
            lambda: broken,
            numbers(4),
            divide=singles,
            lost=lambda *_: None,
            done=lambda _: None,
            address=cluster.address,
        )
    assert not ray.is_initialized()


def test_no_cluster_is_one_line():
    with pytest.raises(SettingsError, match=r"no Ray cluster at 127.0.0.1:9: .*; start one with `ray start`") as caught:
        run_on_ray(
            partial(writer, Path()),
            numbers(1),
            divide=singles,
            lost=lambda *_: None,
            done=lambda _: None,
            address="127.0.0.1:9",
        )
    assert "\n" not in str(caught.value)


def test_option_at_its_default_is_the_same_job(tmp_path: Path):
    bundle = tiny_bundle(tmp_path / "bundle")
    defaults = {"quality": True, "faces": "largest", "detector": None, "min_face": None}
    assert _key(bundle, defaults, "") == _key(bundle, {}, "")
    for name, value in {"quality": False, "faces": "all", "detector": "haar", "min_face": 0.0}.items():
        assert _key(bundle, {name: value}, "") != _key(bundle, {}, "")


def test_variant_is_another_job(footage: Path):
    bundle = load_bundle(footage / "bundle")
    assert _key(bundle, {}, "") != _key(replace(bundle, variant="int8"), {}, "")


def test_parts_of_other_footage_are_refused(footage: Path, manifest: Manifest, tmp_path: Path):
    bundle = load_bundle(footage / "bundle")
    Partitions(parts_folder(tmp_path / "out"), _key(bundle, FACES, manifest.digest)).write("000000000", pd.DataFrame())
    with pytest.raises(InputError, match="holds parts of a different job"):
        score_on_ray(bundle, replace(manifest, root=tmp_path), tmp_path / "out", **FACES)


@pytest.mark.parametrize(("total", "size"), [(0, 1), (5, 1), (120, 7), (10_000, 128), (10**7, 128)])
def test_short_jobs_have_parts_for_several_workers(total: int, size: int):
    assert distribute.part_size(total) == size


def test_job_depends_on_the_content_of_the_detector_not_on_its_place(footage: Path, tmp_path: Path):
    bundle, (here, there) = load_bundle(footage / "bundle"), (tmp_path / "a.onnx", tmp_path / "b.onnx")
    for file in (here, there):
        file.write_bytes(b"weights")
    assert _key(bundle, {"detector_weights": here}, "") == _key(bundle, {"detector_weights": str(there)}, "")
    there.write_bytes(b"others")
    assert _key(bundle, {"detector_weights": here}, "") != _key(bundle, {"detector_weights": there}, "")


@pytest.mark.parametrize(
    "options", [{"engine": "spark"}, {"address": "auto"}, {"workers": 2}, {"address": "auto", "workers": 2}]
)
def test_wrong_engine_is_refused(footage: Path, tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(SettingsError, match="engine"):
        bonaface.evaluate(footage / "bundle", footage / "manifest.csv", output=tmp_path / "out", **options)


def test_verdicts_that_are_incomplete_are_not_marked_complete(footage: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_SUCCESS").touch()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(distribute, "run_on_ray", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bonaface.predict_on_ray(footage / "bundle", footage / "clips", output=tmp_path / "out", **FACES)
    assert not (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize("camera", ["rtsp://me:secret@host/live", 0])
def test_camera_is_not_for_a_cluster(footage: Path, tmp_path: Path, camera: str | int):
    with pytest.raises(InputError, match="is a camera, which a cluster cannot watch") as caught:
        bonaface.predict_on_ray(footage / "bundle", camera, output=tmp_path / "out", **FACES)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ray.exceptions.WorkerCrashedError(), False),
        (ray.exceptions.NodeDiedError("a node died"), False),
        (ray.exceptions.RaySystemError("the head node is gone"), BonafaceError),
    ],
)
def test_only_lost_workers_count_against_a_presentation(error: Exception, outcome: Any):
    class Cluster:
        exceptions = ray.exceptions

        @staticmethod
        def get(_: object) -> None:
            raise error

    if outcome is BonafaceError:
        with pytest.raises(
            BonafaceError, match=r"the cluster failed: .*the head node is gone.*; complete parts are kept"
        ):
            _completed(Cluster, None)
    else:
        assert _completed(Cluster, None) is outcome


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "ray"], "--output"),
        (["--workers", "2"], "--workers: not without --engine ray"),
        (["--engine", "ray", "-o", "out", "--json", "--threads", "2"], "--json, --threads: not with --engine ray"),
    ],
)
def test_predict_refuses_options_of_the_other_way(footage: Path, capsys, monkeypatch, options: list[str], said: str):
    monkeypatch.setattr(sys, "argv", ["bonaface", "predict", str(footage / "bundle"), str(footage / "clips"), *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
