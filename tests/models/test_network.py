from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import bonaface
from bonaface.config import ModelSettings
from bonaface.errors import SettingsError, WeightsError
from bonaface.models.network import build_network, network_bytes, network_from_bytes
from bonaface.models.onnx_export import check_parity, export_onnx

SMALL = ModelSettings(name="mobilenetv3_small_050", weights="none", input_size=64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(SMALL).eval()


def crops(count: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8))


def test_the_missions_network_gives_one_logit_and_1280_numbers():
    network = build_network(ModelSettings(weights="none")).eval()
    with torch.no_grad():
        logit, embedding = network(torch.zeros((2, 224, 224, 3), dtype=torch.uint8))
    assert (logit.shape, embedding.shape) == ((2,), (2, 1280))


def test_normalisation_is_inside(network):
    images = crops().permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        whole = network.backbone((images - network.mean) / network.std).flatten()
        logit, _ = network(crops())
    torch.testing.assert_close(logit, whole, rtol=1e-4, atol=1e-5)


def test_a_saved_network_gives_the_same(network):
    content = network_bytes(network)
    with torch.no_grad():
        assert torch.equal(network_from_bytes(content, SMALL)(crops())[0], network(crops())[0])


def test_a_backbone_file_with_another_head_leaves_the_fresh_one(network, tmp_path: Path):
    tensors = {name: value.contiguous() for name, value in network.backbone.state_dict().items()}
    tensors["classifier.weight"], tensors["classifier.bias"] = torch.ones(1000, 1024), torch.ones(1000)
    save_file(tensors, tmp_path / "imagenet.safetensors")
    built = build_network(SMALL.model_copy(update={"weights": str(tmp_path / "imagenet.safetensors")}))
    assert torch.equal(built.backbone.conv_stem.weight, network.backbone.conv_stem.weight)  # type: ignore[attr-defined]
    assert built.backbone.classifier.weight.shape == (1, 1024)  # type: ignore[attr-defined]
    assert built.about["weights"] == "imagenet.safetensors"


def test_a_new_classifier_on_loaded_weights_starts_at_zero(network, tmp_path: Path):
    tensors = {name: value.contiguous() for name, value in network.backbone.state_dict().items()}
    save_file({name: value for name, value in tensors.items() if "classifier" not in name}, tmp_path / "b.safetensors")
    built = build_network(SMALL.model_copy(update={"weights": str(tmp_path / "b.safetensors")})).eval()
    with torch.no_grad():
        assert built(crops())[0].tolist() == [0.0] * 3


@pytest.mark.slow
def test_rescaled_logits_are_the_same_line_in_torch_and_in_onnx(network):
    rescaled = deepcopy(network)
    rescaled.rescale(0.25, -1.5)
    with torch.no_grad():
        before, embedding = network(crops())
        after, same = rescaled(crops())
    torch.testing.assert_close(after, 0.25 * before - 1.5)
    torch.testing.assert_close(same, embedding)
    check_parity(rescaled, export_onnx(rescaled), crops(8).numpy())


def test_weights_of_another_architecture_are_refused_by_name(network, tmp_path: Path):
    content = network_bytes(network)
    with pytest.raises(WeightsError, match="mobilenetv3_small_050"):
        network_from_bytes(content, SMALL.model_copy(update={"name": "mobilenetv3_small_075"}))
    save_file(
        {name: value.contiguous() for name, value in network.backbone.state_dict().items()}, tmp_path / "b.safetensors"
    )
    assert load_file(tmp_path / "b.safetensors")
    other = SMALL.model_copy(update={"name": "mobilenetv3_small_075", "weights": str(tmp_path / "b.safetensors")})
    with pytest.raises(
        WeightsError, match=r"does not fit mobilenetv3_small_075: \d+ of a different shape \(.* and \d+ more"
    ):
        build_network(other)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "not a safetensors file"), (b"PK\x03\x04whatever", "pickle"), (b"\x10" * 40, "not a safetensors file")],
)
def test_other_files_are_refused_in_one_line(content: bytes, said: str, tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        build_network(SMALL.model_copy(update={"weights": str(path)}))
    assert "\n" not in str(caught.value)


def test_a_pickle_is_refused_whatever_its_content(tmp_path: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="pickle"):
        build_network(SMALL.model_copy(update={"weights": str(tmp_path / "w.pth")}))


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(SettingsError, match="mobilenetv3_large_100"):
        build_network(ModelSettings(name="mobilenetv3_large_10", weights="none"))
    with pytest.raises(SettingsError, match="ra_in1k"):
        build_network(ModelSettings(name="mobilenetv3_large_100.ra_in1", weights="none"))


@pytest.mark.slow
def test_exported_network_names_no_folder_of_the_machine(network):
    assert str(Path(bonaface.__file__).parent).encode() not in export_onnx(network)
