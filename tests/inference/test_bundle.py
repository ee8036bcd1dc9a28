from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonaface.errors import BundleError, OutputError
from bonaface.inference.bundle import Bundle, VariantCard, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_checks import check_file, external_files
from tests.networks import points


@pytest.fixture
def folder(tiny: Bundle, tmp_path: Path) -> Path:
    write_bundle(replace(tiny, path=tmp_path / "bundle"))
    return tmp_path / "bundle"


def relisted(folder: Path) -> None:
    """Make bundle.json list what the folder holds, as somebody would who meddles with it."""
    card = json.loads((folder / "bundle.json").read_text())
    card["files"] = {
        item.name: hashlib.sha256(item.read_bytes()).hexdigest()
        for item in folder.iterdir()
        if item.name != "bundle.json"
    }
    (folder / "bundle.json").write_text(json.dumps(card))


def outside_onnx(location: str) -> bytes:
    """An ONNX file whose one weight lies in another file."""
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [weight],
    )
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize("name", ["bundle", "model.bonaface", "model.zip"])
def test_what_is_written_is_read_again(tiny: Bundle, tmp_path: Path, name: str):
    write_bundle(replace(tiny, path=tmp_path / name))
    again = load_bundle(tmp_path / name)
    assert again.id == tiny.id
    assert dict(again.contents) == dict(tiny.contents)
    assert (tmp_path / name).is_file() == (name != "bundle")


def test_the_same_bundle_gives_the_same_zip(tiny: Bundle, tmp_path: Path):
    for name in ("a.bonaface", "b.bonaface"):
        write_bundle(replace(tiny, path=tmp_path / name))
    assert (tmp_path / "a.bonaface").read_bytes() == (tmp_path / "b.bonaface").read_bytes()


def test_a_zip_of_the_folder_itself_is_a_bundle_too(tiny: Bundle, folder: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "by-hand.zip", "w") as archive:
        for item in folder.iterdir():
            archive.write(item, f"bundle/{item.name}")
    assert load_bundle(tmp_path / "by-hand.zip").id == tiny.id


@pytest.mark.parametrize("name", ["bundle", "model.bonaface"])
def test_only_a_bundle_is_replaced(tiny: Bundle, tmp_path: Path, name: str):
    mine = replace(tiny, path=tmp_path / name)
    write_bundle(mine)
    write_bundle(change_bundle(mine, licence="none"))
    assert load_bundle(tmp_path / name).card.licence == "none"
    other = tmp_path / f"other-{name}"
    if name == "bundle":
        other.mkdir()
        (other / "thesis.txt").write_text("years of work")
    else:
        other.write_text("years of work")
    with pytest.raises(OutputError, match="is not a bundle"):
        write_bundle(replace(tiny, path=other))
    assert other.exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "README.md"])
def test_one_flipped_bit_is_found(folder: Path, name: str):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(
        BundleError, match=rf"{name} is not the file that bundle.json lists \(sha256 differs\)"
    ) as raised:
        load_bundle(folder)
    assert "\n" not in str(raised.value)


def test_one_flipped_bit_in_a_zip_is_found(tiny: Bundle, tmp_path: Path):
    file = tmp_path / "model.bonaface"
    write_bundle(replace(tiny, path=file))
    whole = file.read_bytes()
    for place in np.linspace(100, len(whole) - 100, 12).astype(int):
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(bytes(content))
        # What no check covers is a byte that says nothing, such as a file's time.
        with contextlib.suppress(BundleError):
            assert dict(load_bundle(file).contents) == dict(tiny.contents)
    content = bytearray(whole)
    content[len(whole) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(file)


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("place", ["../../{}", "/tmp/{}", "a/../{}", "{0}/{0}"])
def test_files_of_a_zip_lie_at_its_top_or_in_one_folder(tiny: Bundle, tmp_path: Path, place: str):
    files = {place.format(name): content for name, content in tiny.contents.items()}
    with pytest.raises(BundleError, match=r"holds files at .*; expected those of one bundle, at the top of the zip"):
        load_bundle(zipped(tmp_path / "slip.zip", files))


def test_a_zip_that_unpacks_to_far_more_than_its_length_is_not_unpacked(tiny: Bundle, tmp_path: Path):
    bomb = zipped(tmp_path / "bomb.zip", {**tiny.contents, "weights.bin": bytes(100 << 20)})
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"unpacks from .* to 1\d\d MB, as no weights do"):
        load_bundle(bomb)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 << 20


def test_what_is_not_listed_is_refused_unread_however_much_it_is(tiny: Bundle, tmp_path: Path):
    files = {**tiny.contents, **{f"{number}.txt": b"" for number in range(20_000)}}
    file = zipped(tmp_path / "many.zip", files)
    start = time.perf_counter()
    with pytest.raises(BundleError, match=r"0.txt, 1.txt, .* and 19995 more, which bundle.json does not list"):
        load_bundle(file)
    assert time.perf_counter() - start < 20


def test_weights_are_stored_unpacked_so_that_nobody_waits_for_them(tiny: Bundle, tmp_path: Path):
    write_bundle(replace(tiny, path=tmp_path / "model.bonaface"))
    with zipfile.ZipFile(tmp_path / "model.bonaface") as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert kinds["model.onnx"] == kinds["model.safetensors"] == zipfile.ZIP_STORED
    assert kinds["bundle.json"] == zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("content", ["[" * 100_000, "", '{"a": "\xff"}'], ids=["deep", "empty", "latin-1"])
def test_a_card_that_is_no_json_is_one_line(folder: Path, content: str):
    (folder / "bundle.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle.json is not JSON"):
        load_bundle(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.0])
def test_an_unknown_version_is_refused(folder: Path, version: object):
    card = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**card, "format": version}))
    with pytest.raises(
        BundleError, match=r"of format .*; this Bonaface reads format 1: use the Bonaface that wrote it"
    ):
        load_bundle(folder)


def test_weights_of_another_architecture_are_refused(folder: Path):
    card = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**card, "architecture": "mobilenetv3_large_100"}))
    with pytest.raises(BundleError, match=r"holds weights of mobilenetv3_small_050, but .* mobilenetv3_large_100"):
        load_bundle(folder)


@pytest.mark.parametrize("listed", [False, True])
def test_a_pickle_is_refused(folder: Path, listed: bool):
    (folder / "model.pt").write_bytes(pickle.dumps({"weights": [1, 2]}))
    if listed:
        relisted(folder)
    with pytest.raises(BundleError, match=r"model.pt .*pickle"):
        load_bundle(folder)


def test_a_pickle_under_another_name_is_refused(folder: Path):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weights": [1, 2]}))
    relisted(folder)
    with pytest.raises(BundleError, match=r"model.safetensors is a pickle"):
        load_bundle(folder)


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd"])
def test_weights_outside_the_onnx_file_are_refused(folder: Path, location: str):
    (folder / "model.onnx").write_bytes(outside_onnx(location))
    relisted(folder)
    with pytest.raises(BundleError, match=f"takes weights from '{location}', outside the file"):
        load_bundle(folder)


def test_external_data_is_found_wherever_onnx_can_hide_it():
    from onnx import TensorProto, helper

    inner = outside_onnx("inner.bin")
    nested = helper.make_graph([], "nested", [], [], [])
    import onnx

    nested.initializer.append(onnx.load_from_string(inner).graph.initializer[0])
    node = helper.make_node("If", ["c"], ["y"], then_branch=nested, else_branch=nested)
    tensor = TensorProto(name="t", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="constant.bin")
    constant = helper.make_node("Constant", [], ["k"], value=tensor)
    function = helper.make_function("d", "f", [], ["k"], [constant], [helper.make_opsetid("", 18)])
    model = helper.make_model(helper.make_graph([node], "g", [], [], []), functions=[function])
    assert sorted(external_files(model.SerializeToString())) == ["constant.bin", "inner.bin"]


def test_what_is_no_onnx_is_refused_and_never_loops():
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = rng.integers(0, 256, rng.integers(1, 200), dtype=np.uint8).tobytes()
        with contextlib.suppress(BundleError):
            external_files(content)
    with pytest.raises(BundleError, match="not an ONNX file"):
        external_files(b"<html>not found</html>")


def test_a_file_that_nobody_lists_is_refused_but_a_hidden_one_is_not(folder: Path):
    (folder / ".DS_Store").write_bytes(b"x")
    load_bundle(folder)
    (folder / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"holds notes.txt, which bundle.json does not list; take it out"):
        load_bundle(folder)


def test_a_missing_file_is_named(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"lacks model.safetensors"):
        load_bundle(folder)


def test_a_file_name_cannot_lead_out_of_the_bundle(folder: Path):
    card = json.loads((folder / "bundle.json").read_text())
    card["files"]["../model.onnx"] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(card))
    with pytest.raises(BundleError, match=r"files.*should match pattern"):
        load_bundle(folder)


def test_a_file_twice_in_a_zip_is_refused(folder: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for item in folder.iterdir():
            archive.write(item, item.name)
        archive.writestr("other/model.onnx", b"")
    with pytest.raises(BundleError, match=r"model.onnx more than once"):
        load_bundle(tmp_path / "twice.zip")


def test_a_variant_has_its_own_thresholds(tiny: Bundle):
    card = VariantCard(
        backend="openvino",
        precision="int8",
        files=("int8.xml", "int8.bin"),
        operating_points=points(1.5),
    )
    both = change_bundle(tiny, variants={"int8": card}, files={"int8.xml": b"<net/>", "int8.bin": b""})
    assert both.operating_point("image").logit_threshold == 0.0
    assert both.use("int8").operating_point("image").logit_threshold == 1.5
    assert both.use("int8").title == "tiny (int8)"
    assert both.use("int8").use(None).operating_point("image").logit_threshold == 0.0
    with pytest.raises(BundleError, match=r"no variant 'int4' \(did you mean 'int8'\?\); it has int8"):
        both.use("int4")


def test_a_variant_without_its_files_is_refused(tiny: Bundle, tmp_path: Path):
    card = VariantCard(backend="openvino", precision="f32", files=("openvino.xml", "openvino.bin"))
    write_bundle(change_bundle(replace(tiny, path=tmp_path / "b"), variants={"openvino": card}))
    with pytest.raises(BundleError, match=r"variant openvino needs openvino.bin, openvino.xml"):
        load_bundle(tmp_path / "b")


def test_the_model_card_says_what_the_bundle_says(tiny: Bundle):
    rate = {"value": 0.05, "errors": 2, "total": 40, "low": 0.006, "high": 0.169, "reason": ""}
    undefined = {"value": None, "errors": 0, "total": 0, "low": None, "high": None, "reason": "no attacks"}
    counts = {"bona_fide": 40, "attacks": 40, "persons": 8, "failed_bona_fide": 1, "failed_attacks": 0}
    figures = {"title": "one image", "counts": counts, "apcer": {"print": rate}, "bpcer": rate}
    figures |= {"far": rate, "frr": undefined, "hter": undefined}
    text = change_bundle(tiny, results={"split": "test", "image": figures}).contents["README.md"].decode()
    for said in (
        "| APCER, print | 5.00 % (2/40) | 0.60 to 16.90 % |",
        "| FRR | undefined (no attacks) | no attacks |",
        "40 bona fide presentations and 40 attacks of 8 persons, 1 without a score",
        "| model.onnx | one image | 0.5000 | eer | 40 presentations of val | 5.00 % / 10.00 % |",
        "Licence: MIT.",
        "64 x 64 pixels, RGB, NHWC, uint8",
    ):
        assert said in text, said
    assert "Nothing is known of its error rates" in tiny.contents["README.md"].decode()


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_safetensors_whose_length_looks_like_a_pickle_are_none(version: int):
    header = b'{"__metadata__":{}}'.ljust(0x80 + 256 * version)
    content = len(header).to_bytes(8, "little") + header
    assert content[:2] == pickle.dumps(1, protocol=version)[:2]
    check_file("model.safetensors", content)
