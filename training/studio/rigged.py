"""Finds the character in a user's .blend file and clears the stage for it. Runs in Blender."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy


class StudioFailure(Exception):
    """The job cannot be done; the message is the sentence for the user."""


@dataclass(frozen=True)
class Character:
    """An armature and the meshes that it moves."""

    armature: bpy.types.Object
    meshes: tuple[bpy.types.Object, ...]


def open_file(path: Path) -> None:
    """Opens a .blend file without running its scripts."""
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise StudioFailure(f"{path} cannot be opened: {str(error).strip()}") from error


def find_character(armature: str | None, meshes: list[str]) -> Character:
    """The armature named, or the one that moves the most vertices; the meshes named, or all that it moves."""
    rigs = [thing for thing in bpy.context.scene.objects if thing.type == "ARMATURE"]
    if armature is not None:
        rigs = [rig for rig in rigs if rig.name == armature] or _no(f"armature '{armature}'", rigs)
    moved = {rig.name: [mesh for mesh in _meshes(meshes) if follows(mesh, rig)] for rig in rigs}
    best = max(rigs, key=lambda rig: sum(len(mesh.data.vertices) for mesh in moved[rig.name]), default=None)
    if best is None:
        raise StudioFailure("the file's scene has no armature; only rigged characters can be captured")
    if not moved[best.name]:
        raise StudioFailure(f"armature '{best.name}' moves no mesh that is rendered; add an armature modifier")
    return Character(best, tuple(moved[best.name]))


def skinned_to(mesh: bpy.types.Object, armature: bpy.types.Object) -> bool:
    by_modifier = any(m.type == "ARMATURE" and m.object == armature for m in mesh.modifiers)
    return by_modifier or (mesh.parent == armature and mesh.parent_type == "ARMATURE")


def follows(mesh: bpy.types.Object, armature: bpy.types.Object) -> bool:
    """Skinned to the armature, or hung on one of its deform bones."""
    hung = mesh.parent == armature and mesh.parent_type == "BONE"
    return skinned_to(mesh, armature) or (hung and armature.data.bones[mesh.parent_bone].use_deform)


def clear_stage(character: Character, keep_light: bool) -> None:
    """Hides from the render all that is not the character or fixed to it; lights too unless kept."""
    shown = {character.armature.name, *(mesh.name for mesh in character.meshes)}
    for thing in bpy.context.scene.objects:
        above = thing
        while above.parent is not None and above.name not in shown:
            above = above.parent
        lit = thing.type in ("LIGHT", "LIGHT_PROBE")
        if not keep_light if lit else above.name not in shown:
            thing.hide_render = True


def _meshes(names: list[str]) -> list[bpy.types.Object]:
    meshes = [thing for thing in bpy.context.scene.objects if thing.type == "MESH" and not thing.hide_render]
    for name in names:
        if name not in (mesh.name for mesh in meshes):
            _no(f"rendered mesh '{name}'", meshes)
    return [mesh for mesh in meshes if mesh.name in names] if names else meshes


def _no(what: str, things: list[bpy.types.Object]) -> list[bpy.types.Object]:
    there = ", ".join(f"'{thing.name}'" for thing in things) or "none"
    raise StudioFailure(f"the file's scene has no {what}; it has {there}")
