"""What nvdiffrast and tiny-cuda-nn are given and give back; the packages themselves where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from avatar_core.cuda import optional
from avatar_core.cuda.raster import Raster, rasterise
from avatar_core.nn.tcnn import PackedMLP


def needs(name: str) -> pytest.MarkDecorator:
    package = optional.found(name)
    return pytest.mark.skipif(package.module is None, reason=f"{name}: {package.reason}")


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Two triangles in front of each other."""
    pixels = torch.tensor([[1.0, 1.0], [14.0, 2.0], [3.0, 10.0], [4.0, 3.0], [13.0, 11.0], [2.0, 9.0]])
    depth = torch.tensor([2.0, 3.0, 2.5, 1.0, 4.0, 1.5])[:, None]
    return torch.cat([pixels * depth, depth], 1), torch.arange(6).view(2, 3)


def raster_of(buffer: torch.Tensor, positions: torch.Tensor, faces: torch.Tensor) -> Raster:
    """The inverse of `raster_buffer`. buffer: [H, W, 4]. positions, faces: those that were drawn."""
    face = buffer[..., 3].long() - 1
    empty = (face < 0)[..., None]
    bary = torch.cat([buffer[..., :2], 1 - buffer[..., :1] - buffer[..., 1:2]], -1).masked_fill(empty, 0)
    depth = (positions[faces[face.clamp(min=0)], 2] * bary).sum(-1)
    return Raster(face, bary, depth.masked_fill(empty[..., 0], torch.inf))


def test_clip_space_has_the_picture_from_minus_one_to_one() -> None:
    positions = torch.tensor([[0.0, 0.0, 1.0], [16 * 3.0, 12 * 3.0, 3.0], [8 * 2.0, 6 * 2.0, 2.0]])
    clip = optional.clip_space(positions, 12, 16)
    torch.testing.assert_close(clip[:, :2] / clip[:, 3:], torch.tensor([[-1.0, -1], [1, 1], [0, 0]]))
    depth = clip[:, 2] / clip[:, 3]
    assert depth[0] == 0 and depth[0] < depth[2] < depth[1] < 1, "nearer is less, within -1 to 1"
    torch.testing.assert_close(clip[:, 3], positions[:, 2])


def test_a_raster_survives_nvdiffrasts_buffer() -> None:
    positions, faces = scene()
    raster = rasterise(positions, faces, 12, 16)
    buffer = optional.raster_buffer(raster, 0.5)
    assert buffer.shape == (12, 16, 4) and buffer.dtype == torch.float32
    assert not buffer[raster.face < 0].any()
    clip = optional.clip_space(positions, 12, 16)
    seen = raster.face >= 0
    corners = clip[faces[raster.face[seen]]]
    mixed = (corners * raster.bary[seen][..., None]).sum(-2)
    torch.testing.assert_close(buffer[seen][:, 2], mixed[:, 2] / mixed[:, 3])
    found = raster_of(buffer, positions, faces)
    assert found.face.equal(raster.face)
    torch.testing.assert_close(found.bary, raster.bary)
    torch.testing.assert_close(found.depth, raster.depth)


def test_a_buffer_by_hand() -> None:
    """One pixel that sees the second face: a quarter of corner 0, a half of corner 1, so a quarter of corner 2."""
    face, bary = torch.tensor([[1, -1]]), torch.tensor([[[0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]])
    buffer = optional.raster_buffer(Raster(face, bary, torch.tensor([[4.0, torch.inf]])), 0.5)
    assert buffer.tolist() == [[[0.25, 0.5, 0.75, 2.0], [0.0, 0.0, 0.0, 0.0]]]


class Network(torch.nn.Module):
    """As tinycudann.Network is documented: a flat vector of padded matrices, ones for inputs that are padded."""

    def __init__(self, inputs: int, outputs: int, config: dict) -> None:
        super().__init__()
        self.outputs, width = outputs, config["n_neurons"]
        sides = [-(-inputs // 16) * 16, *[width] * config["n_hidden_layers"], -(-outputs // 16) * 16]
        self.shapes = list(zip(sides[1:], sides[:-1], strict=True))
        self.params = torch.nn.Parameter(torch.zeros(sum(m * n for m, n in self.shapes)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.pad(x, [0, self.shapes[0][1] - x.shape[1]], value=1.0)
        begin = 0
        for number, (m, n) in enumerate(self.shapes):
            x = torch.relu(x) if number else x
            x = x @ self.params[begin : begin + m * n].view(m, n).T
            begin += m * n
        return x[:, : self.outputs]


def test_a_network_runs_with_our_parameters() -> None:
    ours = PackedMLP(20, 5, 32, 2)
    theirs = Network(20, 5, optional.network_config(32, 2))
    x = torch.randn(30, 20)
    found = optional.run_network(theirs, ours.params, x)
    torch.testing.assert_close(found, ours(x))
    (gradient,) = torch.autograd.grad(found.square().sum(), ours.params)
    torch.testing.assert_close(gradient, torch.autograd.grad(ours(x).square().sum(), ours.params)[0])
    assert theirs.params.grad is None and not theirs.params.any()


def test_a_forced_backend_uses_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATAR_BACKEND", "cuda")
    optional.found.cache_clear()
    try:
        assert optional.found("nvdiffrast") == (None, "not used: AVATAR_BACKEND asks for our own kernels", "")
    finally:
        optional.found.cache_clear()


def test_a_package_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("undefined symbol: of another PyTorch")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(optional.importlib, "import_module", fail)
    monkeypatch.delenv("AVATAR_BACKEND", raising=False)
    optional.found.cache_clear()
    try:
        assert "undefined symbol" in optional.found("tiny-cuda-nn").reason
        assert "build it again" in optional.found("tiny-cuda-nn").remedy
    finally:
        optional.found.cache_clear()


@pytest.mark.gpu
@needs("nvdiffrast")
def test_our_raster_is_nvdiffrasts() -> None:
    module = optional.found("nvdiffrast").module
    assert module is not None
    positions, faces = (part.cuda() for part in scene())
    clip = optional.clip_space(positions, 12, 16)
    buffer, _ = module.rasterize(module.RasterizeCudaContext(), clip[None].contiguous(), faces.int(), (12, 16))
    theirs, ours = (
        raster_of(buffer[0], positions, faces),
        rasterise(positions, faces, 12, 16),
    )
    same = theirs.face == ours.face  # theirs rounds corners to parts of a pixel
    assert same.float().mean() > 0.97
    torch.testing.assert_close(theirs.bary[same], ours.bary[same], atol=1e-3, rtol=0)
    torch.testing.assert_close(theirs.depth[same], ours.depth[same], atol=0, rtol=1e-3)


@pytest.mark.gpu
@needs("tiny-cuda-nn")
def test_our_network_is_tiny_cuda_nns() -> None:
    network = PackedMLP(64, 65, 64, 4).cuda()
    x = torch.randn(1000, 64, device="cuda")
    with torch.autocast("cuda", torch.float16):
        found = optional.fused_mlp(x, network.params, 65, network.shapes)
    assert found is not None
    torch.testing.assert_close(found.float(), network(x), atol=2e-2, rtol=2e-2)
