"""The process that renders for Blender: `protocol` (the bytes), `client` (Blender's side), `server` (ours).

`protocol` and `client` use the standard library and numpy only, and are copied into the add-on as they are.
"""
