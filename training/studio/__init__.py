"""The capture studio: renders a rigged character with Blender into training pictures with exact poses.

Modules that run inside of Blender (`scene`, `rigged`, `script`, `render`, `extract`) import numpy, bpy and
the standard library only; the others run in the environment of avatar_core and never import bpy.
"""
