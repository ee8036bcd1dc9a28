from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import bonaface
from bonaface.cli import app
from bonaface.data.manifest import read_manifest
from bonaface.errors import InputError, OutputError
from bonaface.inference.pipeline import Pipeline, Source
from tests.workflows.test_bundle_commands import network

RED, GREEN = (220, 30, 30), (30, 220, 30)


def picture(path: Path, colour: tuple[int, int, int] = RED, *, side: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).save(path)
    return path


def video(path: Path, *, frames: int = 8, colour: tuple[int, int, int] = RED, side: int = 48) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), colour, np.uint8), format="rgb24")
        for number in range(frames):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def reddish(tmp_path_factory) -> Path:
    """A bundle to which red is bona fide and green an attack, on whole frames."""
    folder = Path(tmp_path_factory.mktemp("reddish"))
    network(folder / "peer.onnx")
    made = bonaface.bundle_from_onnx(
        folder / "peer.onnx",
        output=folder / "peer.bonaface",
        meaning="logits[0]",
        crop_scale=1.0,
        pixels="0..1",
        detector="whole_frame",
    )
    return made.path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    picture(folder / "a" / "photo.png")
    picture(folder / "b" / "photo.png", GREEN)
    video(folder / "clip.mp4")
    picture(folder / ".hidden" / "photo.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def outcomes(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
    return [(Path(verdict.source).name, verdict.outcome.value) for verdict in bonaface.predict(*arguments, **options)]


def test_every_kind_of_source_in_the_order_given(reddish: Path, shelf: Path):
    manifest = shelf / "manifest.csv"
    manifest.write_text("path,label\nb/photo.png,attack\nclip.mp4,bona_fide\n")
    photo = shelf / "a" / "photo.png"
    found = outcomes(
        reddish,
        str(photo),
        photo,
        shelf / "a",
        str(shelf / "?" / "*.png"),
        manifest,
        photo.read_bytes(),
        np.full((40, 60, 3), GREEN, np.uint8),
    )
    good, bad = ("photo.png", "bona_fide"), ("photo.png", "attack")
    clip = ("clip.mp4", "bona_fide")
    assert found == [good, good, good, good, bad, bad, clip, ("bytes 5", "bona_fide"), ("array 6", "attack")]


def test_a_folder_is_walked_without_what_is_hidden_or_no_picture(reddish: Path, shelf: Path):
    found = outcomes(reddish, shelf)
    assert found == [("photo.png", "bona_fide"), ("photo.png", "attack"), ("clip.mp4", "bona_fide")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.jpg", "no file or folder at nowhere.jpg"),
        ("*.nothing", "matches no image or video"),
        ("77", "no camera 77 here"),
    ],
)
def test_what_is_not_there_is_an_error_of_one_line(reddish: Path, source: str, said: str):
    with pytest.raises(InputError, match=said):
        list(bonaface.predict(reddish, source))


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["red.png"], 0),
        (["red.png", "green.png"], 1),
        (["red.png", "empty.png"], 3),
        (["tiny.png"], 3),
        (["green.png", "empty.png"], 1),
    ],
)
def test_a_shell_script_can_tell_the_outcome(reddish: Path, tmp_path: Path, names: list[str], code: int):
    picture(tmp_path / "red.png")
    picture(tmp_path / "green.png", GREEN)
    picture(tmp_path / "tiny.png", side=12)
    (tmp_path / "empty.png").write_bytes(b"")
    done = CliRunner().invoke(app, ["predict", str(reddish), "--json", *(str(tmp_path / name) for name in names)])
    assert done.exit_code == code
    told = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    kinds = {"red.png": "bona_fide", "green.png": "attack", "empty.png": "unreadable", "tiny.png": "too_small"}
    assert [line["verdict"] for line in told] == [kinds[name] for name in names]
    for line in told:
        assert (line["score"] is None) == (line["verdict"] in {"unreadable", "too_small"})


def test_annotated_copies_overwrite_neither_each_other_nor_what_lies_there(reddish: Path, shelf: Path):
    mine = picture(shelf / "photo.jpg").read_bytes()
    for _ in range(2):
        list(bonaface.predict(reddish, shelf / "a", shelf / "b", shelf / "clip.mp4", save=shelf))
    assert (shelf / "photo.jpg").read_bytes() == mine
    wanted = {"photo.jpg", *(f"photo-{number}.jpg" for number in (2, 3, 4, 5))}
    assert {file.name for file in shelf.glob("*.jpg")} == wanted
    assert {file.name for file in shelf.glob("*.mp4")} == {"clip.mp4", "clip-2.mp4", "clip-3.mp4"}
    with pytest.raises(OutputError, match="expected a folder"):
        bonaface.predict(reddish, shelf / "a", save=shelf / "photo.jpg")


def test_closed_early_it_leaves_no_thread_and_does_not_finish_the_video(reddish: Path, tmp_path: Path):
    before = set(threading.enumerate())
    long = video(tmp_path / "long.mp4", frames=6000, side=128)
    started = time.perf_counter()
    (whole,) = Pipeline(bonaface.load_bundle(reddish), threads=2).score([Source("long", long)], frames=2)
    took = time.perf_counter() - started
    assert [frame.frame for frame in whole.frames] == [0, 3000]
    photos = [picture(tmp_path / f"{number}.png") for number in range(40)]
    verdicts = bonaface.predict(reddish, *photos, *[long] * 6, threads=2)
    assert next(verdicts).accepted
    sources = [*(Source(str(photo), photo) for photo in photos), *[Source("long", long)] * 6]
    samples = Pipeline(bonaface.load_bundle(reddish), threads=2).score(sources, frames=2)
    next(samples)
    started = time.perf_counter()
    samples.close()  # type: ignore[attr-defined]
    verdicts.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - started < took
    assert set(threading.enumerate()) == before


def test_a_manifest_says_of_how_many_frames_a_video_is_judged(reddish: Path, tmp_path: Path):
    video(tmp_path / "clip.mp4", frames=8)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,label,first_frames\nclip.mp4,bona_fide,3\n")
    (verdict,) = bonaface.predict(reddish, manifest, frames=8)
    assert [frame.frame for frame in verdict.frames] == [0, 1, 2]
    manifest.write_text("path,label,first_frames\nclip.mp4,bona_fide,some\n")
    with pytest.raises(InputError, match=r"first_frames of clip\.mp4 is 'some'"):
        list(bonaface.predict(reddish, manifest))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "path;label\nb/photo.png;attack\nclip.mp4;bona_fide\n"),
        ("m.tsv", "path\tlabel\nb/photo.png\tattack\nclip.mp4\tbona_fide\n"),
        ("m.txt", "label, path,\nattack, b/photo.png,\nbona_fide, clip.mp4,\n"),
        ("m.csv", "\ufeffpath,label\n{root}/b/photo.png,attack\n{root}/clip.mp4,bona_fide\n"),
    ],
)
def test_a_manifest_is_read_as_evaluate_reads_it(reddish: Path, shelf: Path, name: str, content: str):
    (shelf / name).write_text(content.format(root=shelf))
    assert outcomes(reddish, shelf / name) == [("photo.png", "attack"), ("clip.mp4", "bona_fide")]
    assert read_manifest(shelf / name).table["path"].tolist() == ["b/photo.png", "clip.mp4"]


def test_a_manifest_in_parquet_is_read(reddish: Path, shelf: Path):
    pd.DataFrame({"path": ["clip.mp4"], "label": ["attack"], "first_frames": [3.0]}).to_parquet(shelf / "m.pq")
    (verdict,) = bonaface.predict(reddish, shelf / "m.pq", frames=8)
    assert [frame.frame for frame in verdict.frames] == [0, 1, 2]
