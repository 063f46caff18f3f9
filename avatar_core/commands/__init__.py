"""The jobs of `avatar …` that need an actor and nothing of training; `avatar_core.cli` lists them."""
