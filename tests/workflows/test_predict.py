from __future__ import annotations

import io
import json
import os
import sys
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
from bonaface.data.frames import spread
from bonaface.data.manifest import read_manifest
from bonaface.data.sources import Source
from bonaface.errors import InputError, OutputError
from bonaface.inference.pipeline import Pipeline
from tests.workflows.test_bundle_commands import network

RED, GREEN = (220, 30, 30), (30, 220, 30)
JXL = b"\xff\x0a" + bytes(600)  # a format that is not decoded


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
        output_type="logits[0]",
        crop_scale=1.0,
        pixels="0..1",
        detector="whole_frame",
    )
    return made.path


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    picture(folder / "a" / "photo.png")
    picture(folder / "b" / "photo.png", GREEN)
    video(folder / "clip.mp4")
    picture(folder / ".hidden" / "photo.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def outcomes(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
    return [(Path(verdict.source).name, verdict.outcome.value) for verdict in bonaface.predict(*arguments, **options)]


def test_every_kind_of_source_in_the_order_given(reddish: Path, media: Path):
    manifest = media / "manifest.csv"
    manifest.write_text("path,label\nb/photo.png,attack\nclip.mp4,bona_fide\n")
    photo = media / "a" / "photo.png"
    found = outcomes(
        reddish,
        str(photo),
        photo,
        media / "a",
        str(media / "?" / "*.png"),
        manifest,
        photo.read_bytes(),
        np.full((40, 60, 3), GREEN, np.uint8),
        colour="RGB",
    )
    good, bad = ("photo.png", "bona_fide"), ("photo.png", "attack")
    clip = ("clip.mp4", "bona_fide")
    assert found == [good, good, good, good, bad, bad, clip, ("bytes 5", "bona_fide"), ("array 6", "attack")]


def test_a_folder_is_walked_and_what_is_left_out_is_counted(reddish: Path, media: Path):
    found = bonaface.predict(reddish, media)
    assert [(Path(verdict.source).name, verdict.outcome.value) for verdict in found] == [
        ("photo.png", "bona_fide"),
        ("photo.png", "attack"),
        ("clip.mp4", "bona_fide"),
    ]
    assert found.sources.left_out == {"hidden folders": 1}
    assert [Path(name).name for name in found.sources.not_media] == ["notes.txt"]


def encoded(kind: str, colour: tuple[int, int, int] = RED) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(file, kind)
    return file.getvalue()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder as browsers, scanners and phones fill it, with a linked folder and a dead link."""
    folder, disk = tmp_path / "mixed", tmp_path / "disk"
    disk.mkdir()
    folder.mkdir()
    for name in ("a.jpg", "chrome.jfif", "saved.jpe", "IMG_1", "photo.JPG.download", "wrong.mp4"):
        (folder / name).write_bytes(encoded("JPEG"))
    (folder / "scan.tif").write_bytes(encoded("TIFF"))
    (folder / "phone").write_bytes(JXL)
    (folder / "broken.png").write_bytes(b"")
    for name in ("notes.txt", "table.csv", "Thumbs.db", ".DS_Store"):
        (folder / name).write_text("no picture")
    (disk / "linked.png").write_bytes(encoded("PNG", GREEN))
    if sys.platform != "win32":
        (folder / "more").symlink_to(disk)
        (folder / "gone.png").symlink_to(disk / "gone.png")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("pattern", ["", "*", "**/*"], ids=["folder", "glob", "deep glob"])
def test_nothing_in_a_folder_is_passed_over(reddish: Path, mixed: Path, pattern: str):
    found = bonaface.predict(reddish, str(mixed / pattern))
    verdicts = {Path(verdict.source).name: verdict for verdict in found}
    accepted = {"a.jpg", "chrome.jfif", "saved.jpe", "IMG_1", "photo.JPG.download", "wrong.mp4", "scan.tif"}
    assert {name for name, verdict in verdicts.items() if verdict.accepted} == accepted
    assert verdicts["linked.png"].outcome == "attack"
    unreadable = {name: verdict.reason for name, verdict in verdicts.items() if verdict.outcome == "unreadable"}
    assert unreadable.keys() == {"phone", "broken.png", "gone.png"}
    assert "JXL" in unreadable["phone"]
    assert "link" in unreadable["gone.png"]
    assert not any(str(mixed) in verdicts[name].describe() for name in unreadable)
    left = {Path(name).name for name in found.sources.not_media}
    assert left - {"Thumbs.db"} == {"notes.txt", "table.csv"}
    assert len(verdicts) == 11


def test_unscored_presentation_decides_exit_code(reddish: Path, tmp_path: Path):
    picture(tmp_path / "red.png")
    (tmp_path / "notes.txt").write_text("no picture")
    done = CliRunner().invoke(app, ["predict", str(reddish), str(tmp_path)])
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert "left out: 1 file that" in done.stderr
    assert "notes.txt" in done.stderr
    (tmp_path / "phone.jxl").write_bytes(JXL)
    done = CliRunner().invoke(app, ["predict", str(reddish), str(tmp_path)])
    assert done.exit_code == 3
    assert "phone.jxl" in done.stdout
    assert "2 presentations: 1 bona_fide, 1 unreadable" in done.stderr
    assert CliRunner().invoke(app, ["predict", "-q", str(reddish), str(tmp_path)]).stderr == ""


@pytest.mark.parametrize("pattern", ["", "*/*.png", "**/*.png"], ids=["folder", "glob", "deep glob"])
def test_a_folder_that_cannot_be_listed_is_unreadable(
    reddish: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
):
    picture(tmp_path / "open" / "a.png")
    picture(tmp_path / "closed" / "b.png")
    scandir = os.scandir

    def refusing(path: Any = "."):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = {Path(verdict.source).name: verdict for verdict in bonaface.predict(reddish, str(tmp_path / pattern))}
    assert found.keys() == {"a.png", "closed"}
    assert found["closed"].outcome == "unreadable"
    assert "Permission denied" in found["closed"].reason


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two clips of numbered pictures, red and green, and a photo."""
    for clip, colour in (("clip1", RED), ("clip2", GREEN)):
        for number in range(8):
            picture(tmp_path / "frames" / clip / f"{number}.png", colour)
    picture(tmp_path / "frames" / "photos" / "anna.png")
    return tmp_path / "frames"


def test_a_folder_of_frames_is_one_presentation(reddish: Path, frames: Path):
    found = bonaface.predict(reddish, frames / "clip1")
    assert len(list(found)) == 8
    assert found.sources.numbered == [str(frames / "clip1")]
    (verdict,) = bonaface.predict(reddish, frames / "clip1", frames_as_video=True, frames=4)
    assert (verdict.kind, verdict.accepted, verdict.source) == ("video", True, str(frames / "clip1"))
    assert [frame.frame for frame in verdict.frames] == spread(8, 4)
    assert outcomes(reddish, frames, frames_as_video=True) == [
        ("clip1", "bona_fide"),
        ("clip2", "attack"),
        ("photos", "bona_fide"),
    ]


def test_a_manifest_may_name_folders_of_frames(reddish: Path, frames: Path):
    (frames / "manifest.csv").write_text("path,label,first_frames\nclip1,bona_fide,4\nclip2,attack,\n")
    one, two = bonaface.predict(reddish, frames / "manifest.csv", frames=2)
    assert ([frame.frame for frame in one.frames], one.accepted, two.accepted) == (spread(4, 2), True, False)


def test_numbered_frames_are_named_on_the_command_line(reddish: Path, frames: Path):
    done = CliRunner().invoke(app, ["predict", str(reddish), str(frames)])
    assert "--frames-as-video" in done.stderr
    done = CliRunner().invoke(app, ["predict", str(reddish), str(frames), "--frames-as-video"])
    assert "--frames-as-video" not in done.stderr
    assert (done.exit_code, done.stdout.count("\n")) == (1, 3)


RGB = np.full((40, 60, 3), RED, np.uint8)


@pytest.mark.parametrize(
    ("given", "options", "outcome", "kind"),
    [
        (RGB, {"colour": "RGB"}, "bona_fide", "image"),
        (RGB[..., ::-1], {"colour": "BGR"}, "bona_fide", "image"),
        (Image.fromarray(RGB), {}, "bona_fide", "image"),
        (Image.new("RGBA", (40, 40), (*GREEN, 255)), {}, "attack", "image"),
        (io.BytesIO(encoded("PNG")), {}, "bona_fide", "image"),
        (encoded("JPEG"), {}, "bona_fide", "image"),
        (
            [RGB, Image.fromarray(RGB), encoded("PNG"), io.BytesIO(encoded("PNG"))],
            {"colour": "RGB"},
            "bona_fide",
            "video",
        ),
        ((RGB[..., ::-1], RGB[..., ::-1]), {"colour": "BGR"}, "bona_fide", "video"),
        (b"no picture", {}, "unreadable", "video"),
    ],
    ids=["array", "BGR", "Pillow", "RGBA", "file", "bytes", "list", "BGR list", "junk"],
)
def test_values_in_memory_are_scored(reddish: Path, given: Any, options: dict[str, Any], outcome: str, kind: str):
    (verdict,) = bonaface.predict(reddish, given, **options)
    assert (verdict.outcome, verdict.kind) == (outcome, kind)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (RGB.astype(np.float32), "float32 is not a picture; expected uint8"),
        (RGB[..., 0], "expected uint8 of shape"),
        (RGB, 'add colour="RGB", or colour="BGR"'),
        (np.zeros((2, 40, 40, 4), np.uint8), "expected uint8 of shape"),
        ([], "an empty list"),
        (["a.jpg", "b.jpg"], "pass them one by one"),
        ([b"no picture"], "a frame in a list"),
        (io.StringIO("text"), "opened as binary"),
        (None, "NoneType cannot be scored"),
        ({"a": 1}, "dict cannot be scored"),
        ("gopher://user:secret@host/a.jpg", "gopher://host/a.jpg cannot be read: Protocol not known"),
    ],
    ids=["float", "grey", "no order", "batch", "empty", "paths", "junk", "text", "None", "dict", "address"],
)
def test_unscorable_value_is_refused(reddish: Path, given: Any, said: str):
    with pytest.raises(InputError, match=said) as caught:
        bonaface.predict(reddish, given)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_closed_file_is_refused(reddish: Path, tmp_path: Path):
    with picture(tmp_path / "a.png").open("rb") as file:
        pass
    with pytest.raises(InputError, match="a file that cannot be read"):
        bonaface.predict(reddish, file)


def test_detector_weights_may_be_a_string(reddish: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no Haar cascade at"):
        bonaface.predict(reddish, RGB, detector="haar", detector_weights=str(tmp_path / "none.xml"))


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
    written = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    kinds = {"red.png": "bona_fide", "green.png": "attack", "empty.png": "unreadable", "tiny.png": "too_small"}
    assert [line["verdict"] for line in written] == [kinds[name] for name in names]
    for line in written:
        assert (line["score"] is None) == (line["verdict"] in {"unreadable", "too_small"})


def test_annotated_copies_overwrite_neither_each_other_nor_what_lies_there(reddish: Path, media: Path):
    mine = picture(media / "photo.jpg").read_bytes()
    for _ in range(2):
        list(bonaface.predict(reddish, media / "a", media / "b", media / "clip.mp4", save=media))
    assert (media / "photo.jpg").read_bytes() == mine
    wanted = {"photo.jpg", *(f"photo-{number}.jpg" for number in (2, 3, 4, 5))}
    assert {file.name for file in media.glob("*.jpg")} == wanted
    assert {file.name for file in media.glob("*.mp4")} == {"clip.mp4", "clip-2.mp4", "clip-3.mp4"}
    with pytest.raises(OutputError, match="expected a folder"):
        bonaface.predict(reddish, media / "a", save=media / "photo.jpg")


def test_closed_early_it_leaves_no_thread_and_does_not_finish_the_video(reddish: Path, tmp_path: Path):
    before = set(threading.enumerate())
    long = video(tmp_path / "long.mp4", frames=6000, side=128)
    started = time.perf_counter()
    with Pipeline(bonaface.load_bundle(reddish), threads=2) as pipeline:
        (whole,) = pipeline.score([Source("long", long)], frames=2)
    took = time.perf_counter() - started
    assert [frame.frame for frame in whole.frames] == spread(6000, 2)
    photos = [picture(tmp_path / f"{number}.png") for number in range(40)]
    verdicts = bonaface.predict(reddish, *photos, *[long] * 6, threads=2)
    assert next(verdicts).accepted
    sources = [*(Source(str(photo), photo) for photo in photos), *[Source("long", long)] * 6]
    with Pipeline(bonaface.load_bundle(reddish), threads=2) as pipeline:
        samples = pipeline.score(sources, frames=2)
        next(samples)
        started = time.perf_counter()
        samples.close()  # type: ignore[attr-defined]
    verdicts.close()
    assert time.perf_counter() - started < took
    assert set(threading.enumerate()) == before


def test_manifest_first_frames_bound_a_video(reddish: Path, tmp_path: Path):
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
def test_a_manifest_is_read_as_evaluate_reads_it(reddish: Path, media: Path, name: str, content: str):
    (media / name).write_text(content.format(root=media))
    assert outcomes(reddish, media / name) == [("photo.png", "attack"), ("clip.mp4", "bona_fide")]
    assert read_manifest(media / name).table["path"].tolist() == ["b/photo.png", "clip.mp4"]


def test_a_manifest_in_parquet_is_read(reddish: Path, media: Path):
    pd.DataFrame({"path": ["clip.mp4"], "label": ["attack"], "first_frames": [3.0]}).to_parquet(media / "m.pq")
    (verdict,) = bonaface.predict(reddish, media / "m.pq", frames=8)
    assert [frame.frame for frame in verdict.frames] == [0, 1, 2]
