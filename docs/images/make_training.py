"""Draws docs/images/training.png from the folder of a run: held-out pictures beside the rendered ones, and the PSNR.

python docs/images/make_training.py out/robin
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw

PICTURES, WIDTH, CURVE = 4, 1024, 180  # pictures in the row; pixels


def main(run: Path, target: Path) -> None:
    paths = sorted((run / "pictures").glob("*.png"))
    chosen = [paths[i * (len(paths) - 1) // (PICTURES - 1)] for i in range(PICTURES)]
    side = WIDTH // PICTURES
    sheet = Image.new("RGB", (WIDTH, side // 2 + CURVE), "white")
    draw = ImageDraw.Draw(sheet)
    for i, path in enumerate(chosen):
        sheet.paste(Image.open(path).resize((side, side // 2), Image.Resampling.LANCZOS), (i * side, 0))
        draw.text((i * side + 6, 4), f"step {int(path.stem)}: captured, rendered", fill="black")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    low, high, last = 10, 32, lines[-1]["step"]

    def place(step: float, psnr: float) -> tuple[float, float]:
        share = (min(max(psnr, low), high) - low) / (high - low)
        return 40 + (WIDTH - 60) * step / last, side // 2 + CURVE - 20 - (CURVE - 40) * share

    for psnr in range(low, high + 1, 5):
        draw.line([place(0, psnr), place(last, psnr)], fill="lightgrey")
        draw.text((6, place(0, psnr)[1] - 6), f"{psnr} dB", fill="grey")
    draw.line([place(line["step"], line["psnr"]) for line in lines], fill=(34, 70, 128), width=2)
    draw.text((WIDTH - 210, side // 2 + CURVE - 16), f"{last} steps; PSNR of training rays", fill="grey")
    sheet.save(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("training.png"))
