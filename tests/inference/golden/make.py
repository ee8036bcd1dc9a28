"""How `bundle` and `bundle.bonaface` were written, once, by the code of commit ba410bc: not to be written again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from bonaface.inference.bundle import make_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard, DetectorCard, InputCard, OperatingPoint, OutputCard
from bonaface.types import probability


def network() -> bytes:
    """A network whose logit is the red channel's mean above that of the green one, and whose embedding are the means."""
    weights = np.array([[0.1], [-0.1], [0.0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["embedding"], keepdims=0),
        helper.make_node("MatMul", ["embedding", "weights"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "golden",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", 32, 32, 3])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3]),
        ],
        [
            numpy_helper.from_array(np.array([1, 2]), "axes"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([-1]), "flat"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def point(logit: float, frames: int) -> OperatingPoint:
    """An operating point as validation chooses one."""
    return OperatingPoint(
        threshold=float(probability(logit)),
        logit_threshold=logit,
        criterion="eer",
        frames=frames,
        fusion="first" if frames == 1 else "mean",
        chosen_on={"split": "val", "presentations": 40, "persons": 10, "far": 0.05, "frr": 0.1},
        warnings=("only 40 presentations",),
    )


if __name__ == "__main__":
    here = Path(__file__).parent
    rate = {"value": 0.05, "errors": 2, "total": 40, "low": 0.006, "high": 0.169, "reason": ""}
    counts = {"bona_fide": 40, "attacks": 40, "persons": 8, "failed_bona_fide": 1, "failed_attacks": 0}
    figures = {"title": "one image", "counts": counts, "apcer": {"print": rate}, "bpcer": rate}
    card = BundleCard(
        name="golden",
        created="2026-01-01T00:00:00+00:00",
        files={},
        architecture="golden",
        input=InputCard(size=32),
        output=OutputCard(),
        crop_scale=1.4,
        detector=DetectorCard(name="whole_frame", identity="whole_frame"),
        operating_points={"image": point(0.25, 1), "video": point(-0.5, 4)},
        licence="MIT",
        training={"datasets": ["drawn"], "best_epoch": 3, "versions": {"bonaface": "0.1.0"}},
        results={"split": "test", "image": figures | {"far": rate, "frr": rate, "hter": rate}},
        notes=("made for a test",),
    )
    made = make_bundle(here / "bundle", card, {"model.onnx": network()})
    write_bundle(made)
    write_bundle(replace(made, path=here / "bundle.bonaface"))
