from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bonaface.config import ModelSettings
from bonaface.errors import InputError
from bonaface.models.grad_cam import evidence, grad_cam
from bonaface.models.network import LivenessNet, build_network


class Brightness(nn.Module):
    """A backbone whose logit is its brightness minus a half: light speaks for bona fide, nothing for attack."""

    num_features = 3

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 1)
        nn.init.constant_(self.classifier.weight, sign)

    def forward_features(self, images):
        return nn.functional.avg_pool2d(images, 8)

    def forward_head(self, features, *, pre_logits: bool):
        return features.mean(dim=(2, 3))

    def get_classifier(self):
        return self.classifier


def network(sign: float = 1.0) -> LivenessNet:
    return LivenessNet(Brightness(sign), architecture="brightness", input_size=64, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def half() -> np.ndarray:
    """The left half is light."""
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    crops[:, :, :32] = 200
    return crops


def test_the_map_lies_where_the_evidence_lies(half):
    (heat, _) = grad_cam(network(), half)[0]
    assert heat.shape == (64, 64)
    assert heat[:, :24].min() > 0.9
    assert heat[:, 40:].max() < 0.1
    assert grad_cam(network(), half)[1].max() == 0


def test_what_speaks_for_one_outcome_speaks_against_the_other(half):
    (heat, _) = grad_cam(network(-1.0), half)[1]
    assert heat[:, :24].min() > 0.9
    assert grad_cam(network(-1.0), half)[0].max() == 0


def test_the_evidence_of_a_linear_head_adds_up_to_its_logit(half):
    net = network()
    (logit, _) = net(torch.from_numpy(half))[0].tolist()
    assert evidence(net, half)[0].sum() == pytest.approx(logit - net.backbone.classifier.bias.item(), rel=1e-5)  # type: ignore[attr-defined]


def test_a_real_network_is_left_as_it_was(half):
    torch.manual_seed(0)
    net = build_network(ModelSettings(name="mobilenetv3_small_050", weights="none", input_size=64)).train()
    maps = grad_cam(net, half)
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert max(each.max() for each in maps) <= 1
    assert min(each.min() for each in maps) >= 0
    assert np.isfinite(np.stack(maps)).all()


def test_a_network_without_a_map_is_refused(half):
    net = network()
    net.backbone.num_features = 5  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no map of features"):
        grad_cam(net, half)[1]
