"""YuNet's network on ONNX Runtime against OpenCV's own: on a file of the same form, since the real one is not in here."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.data.faces.detector import YuNet
from bonaface.data.faces.yunet import Found, NotYuNet, YuNetNetwork
from bonaface.errors import WeightsError


def write_network(path: Path, *, side: int | str = 640, without: str = "") -> Path:
    """A network with YuNet's input and outputs, whose boxes follow the picture: random filters on each stride's cells."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        for kind, depth in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{kind}_{stride}"
            if name == without:
                continue
            filters = rng.normal(0, 0.02 / stride, (depth, 3, stride, stride)).astype(np.float32)
            shape = np.array([1, -1, depth])
            constants += [numpy_helper.from_array(filters, f"w_{name}"), numpy_helper.from_array(shape, f"s_{name}")]
            last = name if kind in ("bbox", "kps") else f"flat_{name}"
            nodes += [
                helper.make_node("Conv", ["input", f"w_{name}"], [f"c_{name}"], strides=[stride, stride]),
                helper.make_node("Transpose", [f"c_{name}"], [f"t_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t_{name}", f"s_{name}"], [last]),
            ]
            if last != name:
                nodes.append(helper.make_node("Sigmoid", [last], [name]))
            cells = (640 // stride) ** 2 if side == 640 else None
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, cells, depth]))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "yunet", [given], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (640, 640), (320, 200), (31, 45), (600, 333)])
def test_boxes_are_those_of_opencv(tmp_path: Path, size):
    path = write_network(tmp_path / "yunet.onnx")
    width, height = size
    image = np.random.default_rng(width).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    peer = cv2.FaceDetectorYN.create(str(path), "", size, 0.6, 0.3, 100)
    _, rows = peer.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    found = YuNetNetwork(path, confidence=0.6).faces(image)
    expected = np.zeros((0, 15)) if rows is None else rows
    if min(size) > 100:
        assert len(expected) > 3
    assert len(found) == len(expected)
    for (box, score, landmarks), row in zip(found, expected, strict=True):
        assert box == pytest.approx(row[:4], rel=1e-5, abs=1e-2)
        assert landmarks.ravel() == pytest.approx(row[4:14], rel=1e-5, abs=1e-2)
        assert score == pytest.approx(row[14], abs=1e-5)


def test_the_same_boxes_where_the_file_leaves_its_size_free(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    fixed = YuNetNetwork(write_network(tmp_path / "fixed.onnx"), confidence=0.5).faces(image)
    free = YuNetNetwork(write_network(tmp_path / "free.onnx", side="side"), confidence=0.5).faces(image)
    assert len(fixed) > 0
    assert [one.box.tolist() for one in fixed] == [one.box.tolist() for one in free]


def test_other_networks_are_refused(tmp_path: Path):
    with pytest.raises(NotYuNet, match="outputs differ"):
        YuNetNetwork(write_network(tmp_path / "a.onnx", without="obj_16"), confidence=0.6)
    with pytest.raises(NotYuNet, match="one size only"):
        YuNetNetwork(write_network(tmp_path / "b.onnx", side=320), confidence=0.6)
    with pytest.raises(
        WeightsError, match=r"b.onnx is not a YuNet file \(it takes pictures of one size only\); expected"
    ):
        YuNet(tmp_path / "b.onnx")


class Looks:
    """In place of the network: what it finds at each long side, and the sizes it was shown."""

    def __init__(self, found):
        self.found, self.shown = found, []

    def faces(self, image):
        self.shown.append(image.shape[:2])
        boxes = self.found.get(max(image.shape[:2]), [])
        return [Found(np.array(box, np.float32), 0.9, np.zeros((5, 2), np.float32)) for box in boxes]


@pytest.mark.parametrize(
    ("size", "found", "shown", "boxes"),
    [
        # (height, width), boxes by long side, what is looked at, boxes in pixels of the picture
        ((480, 640), {320: [(10, 20, 40, 30)]}, [(240, 320)], [(20, 40, 80, 60)]),
        ((480, 640), {320: [(10, 20, 39, 30)], 640: [(21, 41, 78, 61)]}, [(240, 320), (480, 640)], [(21, 41, 78, 61)]),
        ((480, 640), {}, [(240, 320), (480, 640)], []),
        ((1280, 960), {320: [(10, 20, 30, 60)]}, [(320, 240)], [(40, 80, 120, 240)]),
        ((200, 320), {320: [(10, 20, 12, 15)]}, [(200, 320)], [(10, 20, 12, 15)]),
        ((100, 80), {}, [(100, 80)], []),
    ],
)
def test_a_large_face_is_found_at_half_the_size_and_others_at_full(tmp_path: Path, size, found, shown, boxes):
    detector = YuNet(write_network(tmp_path / "yunet.onnx"))
    looks = detector._network = Looks(found)  # type: ignore[assignment]
    assert [tuple(face.box) for face in detector.detect(np.full((*size, 3), 99, np.uint8))] == boxes
    assert looks.shown == shown


def test_what_it_finds_is_in_pixels_of_the_whole_picture(tmp_path: Path):
    detector = YuNet(write_network(tmp_path / "yunet.onnx"))
    small = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    large = np.asarray(cv2.resize(small, (1280, 960), interpolation=cv2.INTER_CUBIC), np.uint8)
    seen = np.asarray(cv2.resize(large, (640, 480), interpolation=cv2.INTER_AREA), np.uint8)
    whole, half = detector.detect(large), detector.detect(seen)
    assert len(whole) == len(half) > 3
    for one, other in zip(whole, half, strict=True):
        assert np.array(one.box) == pytest.approx(2 * np.array(other.box), abs=1e-3)
    assert [face.box.w * face.box.h for face in whole] == sorted(
        (face.box.w * face.box.h for face in whole), reverse=True
    )
