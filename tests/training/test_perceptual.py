"""The perceptual loss reads the user's weights, and says in one sentence what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avatar_core.errors import AvatarError
from training.perceptual import PerceptualLoss

_SHAPES = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = {
        f"features.{n}.weight": torch.randn(*shape, 3, 3) / (3 * shape[1] ** 0.5) for n, shape in _SHAPES.items()
    }
    return weights | {f"features.{n}.bias": torch.zeros(shape[0]) for n, shape in _SHAPES.items()}


def test_both_kinds_of_file_give_the_same_loss(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "vgg.safetensors")
    torch.save({name.removeprefix("features."): value for name, value in state.items()}, tmp_path / "vgg.pth")
    losses = [PerceptualLoss(tmp_path / name) for name in ("vgg.safetensors", "vgg.pth")]
    ramp = torch.linspace(0, 1, 16).repeat_interleave(16)[:, None].repeat(1, 3)
    rendered = ramp.flip(0).requires_grad_()
    one, other = (loss(rendered, ramp) for loss in losses)
    assert float(one.detach()) == float(other.detach()) > 0.01
    assert float(losses[0](ramp, ramp)) == 0
    one.backward()
    assert rendered.grad is not None and float(rendered.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in losses[0].parameters())


def test_unusable_weights_are_named(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save(state | {"features.5.weight": torch.zeros(3)}, other)
    holes = tmp_path / "holes.pth"
    torch.save(state | {"features.7.bias": torch.full((128,), torch.nan)}, holes)
    part = tmp_path / "part.safetensors"
    save_file({"features.0.weight": state["features.0.weight"]}, part)
    pickled = tmp_path / "pickled.pth"
    torch.save({"model": Path("/tmp")}, pickled)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"nothing")
    for path, words in (
        (tmp_path / "none.pth", "none.pth cannot be read .*; save torchvision's vgg16 state dict, or that of .* there"),
        (other, r"'features.5.weight' must be finite numbers of shape \(128, 64, 3, 3\), found shape \(3,\)"),
        (holes, "'features.7.bias' must be finite"),
        (part, "'features.0.bias' .* found nothing"),
        (pickled, "safe to read"),
        (damaged, "safe to read"),
    ):
        with pytest.raises(AvatarError, match=words) as caught:
            PerceptualLoss(path)
        assert "\n" not in str(caught.value)
