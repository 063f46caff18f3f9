"""The process that renders for Blender: `protocol` (bytes), `client` and `link` (Blender's side), `server`.

What SHARED_WITH_ADDON names uses the standard library and numpy only, and is copied into the add-on as it is.
"""

SHARED_WITH_ADDON = ("protocol.py", "link.py", "client.py")
