"""The free body and what comes with it: motions, the Blender rig, and the script that rebuilds it."""
