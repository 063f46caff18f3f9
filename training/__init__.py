"""How actors are made: capture studio, trainer, evaluation. Runs outside of Blender."""
