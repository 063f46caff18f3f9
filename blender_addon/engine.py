# SPDX-License-Identifier: GPL-3.0-or-later
"""The render engine AVATAR: all avatars of a scene as passes Combined, Depth, Normal, Box, Mask <actor>, Cryptomatte.

It is made for a second scene beside the set's (see compositor.py): size, border and camera are the owner's. A
frame that cannot be rendered is an error of the render, so that `blender -b file -a` stops with exit code 1.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from . import blur, box, compat, cryptomatte, failures, obstacles, session, shot
from .blur import Sample
from .box import Box
from .client import WorkerError
from .coordinates import Region, camera_controls, render_region
from .errors import SceneError
from .layers import EMPTY_DEPTH, Picture
from .pose import read_controls
from .properties import (
    ENGINE,
    LIMB_PASS,
    actor_file,
    actor_objects,
    body_mesh,
    check_version,
    has_limbs,
    mask_names,
    owner_scene,
)
from .shot import Job

_PASSES = (("Combined", 4, "RGBA", "COLOR"), ("Depth", 1, "Z", "VALUE"), ("Normal", 3, "XYZ", "VECTOR"))
_PROPERTY_PANELS = {"RENDER_PT_context", "RENDER_PT_color_management", "VIEWLAYER_PT_layer"}


class AvatarRenderEngine(bpy.types.RenderEngine):
    bl_idname = ENGINE
    bl_label = "Neural Avatars"
    bl_use_preview = False
    bl_use_postprocess = True
    bl_use_gpu_context = False
    bl_use_eevee_viewport = True

    def update_render_passes(
        self, scene: bpy.types.Scene | None = None, renderlayer: bpy.types.ViewLayer | None = None
    ) -> None:
        for name, channels, letters, kind in (*_PASSES, (box.PASS, 1, "X", "VALUE")):
            self.register_pass(scene, renderlayer, name, channels, letters, kind)
        for name in [*mask_names(scene).values(), *([LIMB_PASS] if has_limbs(scene) else [])]:
            self.register_pass(scene, renderlayer, name, 1, "X", "VALUE")
        for name in _cryptomatte_passes(renderlayer):
            self.register_pass(scene, renderlayer, name, 4, "RGBA", "COLOR")

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        try:
            self._render(depsgraph)
        except WorkerError as error:
            if error.kind != "cancelled" or not self.test_break():  # the worker was closed in mid-render
                self._fail(str(error))
        except SceneError as error:
            self._fail(str(error))
        except Exception as error:
            traceback.print_exc()
            self._fail(f"Avatars were not rendered ({type(error).__name__}: {error}): the system console says more.")

    def _fail(self, sentence: str) -> None:
        self.error_set(sentence)
        self.report({"ERROR"}, sentence)  # stops the render where this scene is rendered by itself
        failures.failed(sentence)  # and where another scene's compositor asked for it

    def _render(self, depsgraph: bpy.types.Depsgraph) -> None:
        scene = depsgraph.scene.original
        owner = owner_scene(scene)
        check_version(owner)
        region = render_region(owner.render, self.resolution_x, self.resolution_y)
        names, picture = self._picture(scene, owner, depsgraph, region)
        layer, taken = depsgraph.view_layer, picture.box()
        if layer.use_pass_cryptomatte_object and mask_names(scene):
            for field, value in cryptomatte.metadata(layer.name, list(mask_names(scene))).items():
                self.get_result().stamp_data_add_field(field, value)
        for part in (taken, region.corner()):  # the latter says where the box is
            planes = _planes(scene, layer, names, picture.part(part))
            planes[box.PASS] = taken.plane(part, region.height)
            self._deliver(layer.name, region, part, planes)

    def _picture(
        self, scene: bpy.types.Scene, owner: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, region: Region
    ) -> tuple[list[str], Picture]:
        """The names of the avatars that are in the frame, and the frame: the mean of its samples."""
        if owner.render.use_multiview:
            raise SceneError("Avatars cannot be rendered in stereo: switch off Output > Stereoscopy.")
        frame, names = scene.frame_current, list[str]()
        samples = blur.samples(owner, _camera(scene, owner, depsgraph)) if actor_objects(scene) else [Sample()]
        mean = blur.Mean(len(samples))
        try:
            for index, sample in enumerate(samples):
                if len(samples) > 1:
                    whole = math.floor(frame + sample.time)
                    self.frame_set(whole, frame + sample.time - whole)
                jobs = {actor.name: job for actor, job in self._jobs(scene, owner, depsgraph, region, sample)}
                names = list(jobs)  # in every sample the same: what is rendered is not keyed within a frame
                self.update_stats("", ", ".join(f"{job.name}, {job.quality}" for job in jobs.values()))

                def advance(share: float, done: int = index) -> None:
                    self.update_progress((done + share) / len(samples))

                mean.add(shot.render(list(jobs.values()), region.width, region.height, self.test_break, advance))
        finally:
            if len(samples) > 1:  # Blender would leave the scene at this part of a frame
                self.frame_set(frame, 0.0)
        return names, mean.picture()

    def _jobs(
        self,
        scene: bpy.types.Scene,
        owner: bpy.types.Scene,
        depsgraph: bpy.types.Depsgraph,
        region: Region,
        sample: Sample,
    ) -> Iterator[tuple[bpy.types.Object, Job]]:
        shown = {found.original for found in depsgraph.objects}
        camera = None
        for actor in actor_objects(scene):
            if actor not in shown or is_hidden(actor, owner):
                continue
            camera = camera or _camera(scene, owner, depsgraph)
            settings = actor.avatar
            path = actor_file(actor)
            facts = session.current.actor(path, self.test_break)
            posed = read_controls(actor, body_mesh(actor), facts.schema, depsgraph)
            view = camera_controls(camera, depsgraph, owner.render, region, posed.scale, sample.lens)
            yield actor, Job(actor.name, path, settings.quality, posed.controls, view, posed.scale, settings.ahead)

    def _deliver(self, layer: str, region: Region, part: Box, planes: dict[str, np.ndarray]) -> None:
        """Hands a part of the planes to Blender; rows are turned around here and nowhere else."""
        letters = {name: letters for name, _, letters, _ in _PASSES}
        for name, plane in planes.items():
            channels = plane.shape[2] if plane.ndim == 3 else 1
            if name != "Combined":  # is there already
                self.add_pass(name, channels, letters.get(name, "X" if channels == 1 else "RGBA"), layer=layer)
        whole = self.get_result()
        if (whole.resolution_x, whole.resolution_y) != (region.width, region.height):
            raise SceneError(
                f"Blender's border has another size than {region.width} x {region.height} pixels: change the border by"
                " a pixel, or switch it off."
            )
        result = self.begin_result(part.left, region.height - part.bottom, part.width, part.height, layer=layer)
        for target in result.layers[0].passes:
            if target.name not in planes:
                continue
            plane = planes[target.name][::-1]
            if target.name == "Depth":  # Blenders differ in what they call nothing, and fill with it
                plane = np.where(plane < EMPTY_DEPTH, plane, target.rect[0])
            target.rect.foreach_set(np.ascontiguousarray(plane, np.float32).ravel())
        self.end_result(result)


def is_hidden(actor: bpy.types.Object, owner: bpy.types.Scene) -> bool:
    """Switched off for renders, itself or with every collection of the set that holds it."""
    return actor.hide_render or not any(
        _holds(layer.layer_collection, actor) for layer in owner.view_layers if layer.use
    )


def _holds(held: bpy.types.LayerCollection, actor: bpy.types.Object) -> bool:
    if held.exclude or held.collection.hide_render:
        return False
    return actor in held.collection.objects[:] or any(_holds(child, actor) for child in held.children)


def register() -> None:
    bpy.utils.register_class(AvatarRenderEngine)
    for panel in _property_panels():
        panel.COMPAT_ENGINES.add(ENGINE)


def unregister() -> None:
    for panel in _property_panels():
        panel.COMPAT_ENGINES.discard(ENGINE)
    bpy.utils.unregister_class(AvatarRenderEngine)


def _camera(scene: bpy.types.Scene, owner: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    """The owner's camera in this frame, by markers too. One that `scene` does not hold is out of date."""
    obstacles.refuse(owner)
    camera = owner.camera.evaluated_get(depsgraph)
    if not camera.is_evaluated or scene.objects.get(owner.camera.name) != owner.camera:
        raise SceneError(
            f"Camera '{owner.camera.name}' is not in the scene of the avatars: press Refresh under Avatar >"
            " Compositing in the sidebar of the 3D view."
        )
    return camera


def _cryptomatte_passes(layer: bpy.types.ViewLayer) -> list[str]:
    return cryptomatte.pass_names(layer.pass_cryptomatte_depth) if layer.use_pass_cryptomatte_object else []


def _planes(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, names: list[str], picture: Picture
) -> dict[str, np.ndarray]:
    """The passes of a picture, or of a part of one, that shows the avatars `names`."""
    empty, seen = np.zeros_like(picture.depth), dict(zip(names, picture.masks))
    masks = {actor: seen.get(actor, empty) for actor in mask_names(scene)}
    planes = {
        "Combined": _to_working_space(picture.rgba),
        "Depth": picture.depth,
        "Normal": picture.normal,
        **{name: masks[actor] for actor, name in mask_names(scene).items()},
    }
    if has_limbs(scene):
        planes[LIMB_PASS] = picture.limb if picture.limb is not None else empty
    if layer.use_pass_cryptomatte_object and masks:
        planes |= cryptomatte.passes(list(masks), list(masks.values()), layer.pass_cryptomatte_depth)
    return planes


def _to_working_space(rgba: np.ndarray) -> np.ndarray:
    matrix = compat.from_rec709()
    return rgba if matrix is None else np.concatenate([rgba[..., :3] @ matrix.T, rgba[..., 3:]], -1)


def _property_panels() -> list[Any]:
    return [
        panel
        for panel in bpy.types.Panel.__subclasses__()
        if "BLENDER_RENDER" in getattr(panel, "COMPAT_ENGINES", ()) and panel.__name__ in _PROPERTY_PANELS
    ]
