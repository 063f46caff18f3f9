"""The rules that weights of the recordings follow: a normal stream seeded by name and salt, scaled by role."""

from __future__ import annotations

import math
import zlib

import numpy as np


def _normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


def neural_actor(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """float64; float32 runs cast it."""
    if name.endswith("num_batches_tracked"):
        return np.array(7, np.int64)
    x = _normal(name + salt, shape)
    if name.endswith("running_mean"):
        return 0.1 * x
    if name.endswith("running_var"):
        return 1 + 0.3 * np.abs(x)
    if name.endswith("weight") and (".bn" in name or ".downsample.1." in name):
        return 1 + 0.1 * x
    if name.endswith("bias"):
        if name == "field.predictor.output_layer.bias":
            return np.full(shape, 30.0)
        return x * (0.005 if name == "encoder.skinning_deform.net.1.bias" else 0.05)
    role = {
        "encoder.skinning_deform.net.1.weight": 0.0006,
        "field.predictor.output_layer.weight": 60.0,
        "field.renderer.net.4.weight": 0.35,
    }
    return x * math.sqrt(2 / math.prod(shape[1:])) * role.get(name, 1.0)


def nerf_blendshape_table(number: int, rows: int, channels: int) -> np.ndarray:
    """[rows, channels] float32 in [-1/16, 1/16) of the released configuration: 24 bits of a hash of the entry's place,
    counted through all tables."""
    mixed = np.arange(number * rows * channels, (number + 1) * rows * channels, dtype=np.uint32)
    with np.errstate(over="ignore"):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
        mixed ^= mixed >> np.uint32(16)
    unit = (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2**-23) - 1
    return (unit / 16).reshape(rows, channels)


def nerf_blendshape_density(output: np.ndarray) -> np.ndarray:
    """The row that gives density, of the initial output matrix [outputs, width] of the density network: one that has
    no mean on the recorded points, and large."""
    return output[9] * np.float32(8192)


def human_view_synthesis(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """float32; `name` without a leading "model."."""
    if name.endswith("initialised"):
        return np.array(True)
    z = _normal(name + salt, shape).astype(np.float32)
    if name.endswith("ema.average"):
        x = 0.75 + 0.5 * np.abs(z)
    elif name.endswith("bias"):
        x = 1 + 0.05 * z if name.endswith("c.linear.bias") else 0.05 * z
    elif len(shape) == 1:
        x = 1 + 0.1 * z
    elif name.startswith("r2i.") or (name.startswith("layers.") and ".c." in name):
        x = z
    elif name == "p2p.layers.3.weight":
        x = 0.3 * z / np.sqrt(shape[1])
    else:
        x = z * np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(x, np.float32)


def gdna(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """float32. Occupancy is a bumpy ball (geometric initialisation), normals and skinning are smooth noise."""
    x = _normal(name + salt, shape).astype(np.float32)
    if name == "generator.shape_code":
        return x
    if name.endswith("weight_g"):
        role = {"network.lin0": 0.72, "network.lin4": math.sqrt(math.pi), "deformer.disp_network.lin4": 0.02}
        role["deformer.lbs_network.lin4"] = 0.2
        return (1 + 0.05 * x) * np.float32(role.get(name.removesuffix(".weight_g"), math.sqrt(2)))
    if name.endswith("bias"):
        return (
            np.full(shape, 2.5, np.float32)
            if name == "network.lin4.bias"
            else x * np.float32(0.5 if name.startswith("generator.lin") else 0.02)
        )
    if name == "network.lin4.weight_v":
        return -1 - 0.01 * np.abs(x)
    if name == "network.lin0.weight_v":
        x[:, 3:-64] = 0  # what is left: points, and the volume's features, less of these
        x[:, -64:] *= 0.1
        return x
    if name.endswith("weight_v"):
        return x
    return x * np.float32(math.sqrt(2 / math.prod(shape[1:])))


def npva(network: str, name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """float32. network: encoder, decoder (at either size) or aggregator. name: as published, without 'module.'."""
    if name.endswith("num_batches_tracked"):
        return np.array(7, np.int64)
    seed = zlib.crc32(f"{network}/{name}{salt}".encode()) & 0x7FFFFFFF
    x = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return np.exp(0.1 * x)
    if name.endswith("running_mean"):
        return 0.05 * x
    if ".bn.weight" in name:
        return 1 + 0.1 * x
    small = name.startswith("geomDisDecoder.upsample.6.conv2")  # displacements of some millimetres
    if name.endswith("bias"):
        return x * (0.01 if small else 0.05)
    inputs = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    return x * np.float32((0.2 if small else 1.0) * 1.4 / np.sqrt(inputs))
