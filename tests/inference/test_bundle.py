from __future__ import annotations

import contextlib
import hashlib
import json
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from pydantic import TypeAdapter

from bonaface.errors import BundleError, OutputError
from bonaface.inference import bundle as bundle_module
from bonaface.inference.backends import load_backend
from bonaface.inference.bundle import Bundle, change_bundle, load_bundle, write_bundle
from bonaface.inference.bundle_checks import external_files, weights_architecture
from bonaface.inference.bundle_schema import OperatingPoint, OperatingPoints, VariantCard
from bonaface.types import logit
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


def test_a_long_file_is_hashed_in_pieces(folder: Path):
    with (folder / "model.onnx").open("ab") as file:
        file.truncate(300 << 20)
    tracemalloc.start()
    with pytest.raises(BundleError, match="sha256 differs"):
        load_bundle(folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20


def test_more_than_any_bundle_holds_is_refused(folder: Path, monkeypatch):
    monkeypatch.setattr(bundle_module, "_MAX_BYTES", 1000)
    with pytest.raises(BundleError, match=r"expected a bundle of at most"):
        load_bundle(folder)


def test_weights_are_stored_unpacked_so_that_nobody_waits_for_them(tiny: Bundle, tmp_path: Path):
    write_bundle(replace(tiny, path=tmp_path / "model.bonaface"))
    with zipfile.ZipFile(tmp_path / "model.bonaface") as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert kinds["model.onnx"] == kinds["model.safetensors"] == zipfile.ZIP_STORED
    assert kinds["bundle.json"] == zipfile.ZIP_DEFLATED


@pytest.mark.parametrize("content", ["[" * 100_000, "", '{"a": "\xff"}'], ids=["deep", "empty", "latin-1"])
def test_a_card_that_is_no_json_is_one_line(folder: Path, content: str):
    (folder / "bundle.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle.json is not JSON as bundles have it"):
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


@pytest.mark.parametrize(("listed", "said"), [(False, "does not list"), (True, "a kind of file that no bundle has")])
@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.npz", "model"])
def test_other_kinds_of_files_are_refused(folder: Path, name: str, listed: bool, said: str):
    (folder / name).write_bytes(b"\x80\x05N.")
    if listed:
        relisted(folder)
    with pytest.raises(BundleError, match=rf"{name}.*{said}"):
        load_bundle(folder)


def point_changed(card: dict[str, Any], **changes: object) -> str:
    card["operating_points"]["image"].update(changes)
    return json.dumps(card)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: point_changed(card, threshold=float("nan")), "not JSON as bundles have it: .*NaN"),
        (lambda card: point_changed(card, logit_threshold=float("inf")), "not JSON as bundles have it: .*Infinity"),
        (lambda card: point_changed(card, logit_threshold=float("-inf")), "not JSON as bundles have it: .*-Infinity"),
        (lambda card: json.dumps(card).replace('"logit_threshold": 0.0', '"logit_threshold": 1e999', 1), "1e999"),
        (lambda card: point_changed(card, logit_threshold=-9.0), "logit_threshold -9 is a probability of 0.0001"),
        (lambda card: point_changed(card, threshold=0.9999999, logit_threshold=40.0), "logit_threshold 40"),
        (lambda card: point_changed(card, threshold=1e-9, logit_threshold=-60.0), "logit_threshold -60"),
        (lambda card: json.dumps(card)[:-1] + ', "crop_scale": 2.0}', "the key 'crop_scale' occurs twice"),
        (lambda card: point_changed(card, criterion="\ud800"), "surrogates not allowed"),
        (lambda card: json.dumps({**card, "unknown": 1}), "unknown"),
        (lambda card: json.dumps({key: card[key] for key in card if key != "input"}), "input: Field required"),
        (lambda card: json.dumps([card]), "format None"),
        (lambda card: '{"format": 1, "results": ' + "[" * 100_000, "not JSON"),
        (lambda card: '{"format": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_card_that_lies_is_refused(folder: Path, change: Callable[[dict[str, Any]], str], said: str):
    card = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(change(card))
    with pytest.raises(BundleError, match=said) as raised:
        load_bundle(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("threshold", [0.5, 1e-12, 0.9999, 1 - 1e-12])
def test_thresholds_near_the_ends_are_read(threshold: float):
    point = OperatingPoint(
        threshold=threshold, logit_threshold=logit(threshold), criterion="eer", frames=1, fusion="first"
    )
    adapter = TypeAdapter(OperatingPoints)
    assert adapter.validate_json(adapter.dump_json({"image": point})) == {"image": point}


@pytest.mark.parametrize("header", [b"[" * 100_000, b'{"__metadata__": {"bonaface": "' + b"[" * 90_000 + b'"}}'])
def test_weights_with_a_deep_header_are_no_fault(header: bytes):
    assert weights_architecture(len(header).to_bytes(8, "little") + header) == ""


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


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def test_weights_outside_are_found_however_their_tag_is_written():
    plain = outside_onnx("weights.bin")
    external, location = bytes([13 << 3 | 2]), bytes([14 << 3, 1])
    assert plain.count(location) == 1
    # Truncated to 32 bits, as protobuf does, these are the same message.
    tag = varint((13 << 3 | 2) + (1 << 32))
    for changed in (
        plain.replace(external, tag, 1),
        plain.replace(location, varint((14 << 3) + (1 << 32)) + b"\x01"),
    ):
        with pytest.raises(BundleError):
            external_files(changed)
    inside = TensorProto(name="w", data_type=1, dims=[1], float_data=[1.0]).SerializeToString()
    flagged = inside + bytes([14 << 3]) + varint(1 + (1 << 32))
    graph = bytes([5 << 3 | 2]) + varint(len(flagged)) + flagged
    assert external_files(bytes([7 << 3 | 2]) + varint(len(graph)) + graph) == ["an unnamed file"]


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


def test_a_network_alone_is_refused_with_what_to_do(folder: Path):
    with pytest.raises(BundleError, match=r"model\.onnx is a network without a bundle; make one .* from-onnx`"):
        load_bundle(folder / "model.onnx")


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
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the name
        for item in folder.iterdir():
            archive.write(item, item.name)
        archive.writestr("model.onnx", b"")
    with pytest.raises(BundleError, match=r"model.onnx' more than once"):
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
        "40 bona fide presentations and 40 attacks of 8 subjects, 1 without a score",
        "| model.onnx | one image | 0.5000 | eer | 40 presentations of val | 5.00 % / 10.00 % |",
        "Licence: MIT.",
        "64 x 64 pixels, RGB, NHWC, uint8",
    ):
        assert said in text, said
    assert "Nothing is known of its error rates" in tiny.contents["README.md"].decode()


def test_results_of_any_form_make_a_card(tiny: Bundle):
    for results in (
        {"image": 1},
        {"split": [], "image": {"apcer": [], "counts": None}},
        {"video": {"apcer": {"a": 1}}},
    ):
        text = change_bundle(tiny, results=results).contents["README.md"].decode()
        assert text.startswith("# tiny\n")


OLD = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["bundle", "bundle.bonaface"])
def test_bundle_of_the_first_format_opens(name: str):
    """`golden/` was written at commit ba410bc by `golden/make.py`."""
    old = load_bundle(OLD / name)
    assert old.id == "9f6259ff53d00c2e"
    assert old.operating_point("video").frames == 4
    assert old.operating_point("video").logit_threshold == -0.5
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    crops[0, ..., 0] //= 2
    logits, _ = load_backend(old, threads=1).run(crops)
    np.testing.assert_allclose(logits, [-6.600195407867432, 0.31474629044532776], atol=1e-5)
