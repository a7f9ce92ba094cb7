"""Jobs for `darkroom render` and the pictures that come of them."""

import json

import numpy as np
from PIL import Image

SETTINGS = {"width": 128, "height": 128, "steps": 30, "sampler": "dpmpp_2m"}


def job(id, model, prompt, seed, guidance_scale=5.0, negative_prompt=""):
    return {
        "id": id,
        "model": model,
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "guidance_scale": guidance_scale,
        "seed": seed,
        **SETTINGS,
    }


def write_jobs(path, jobs):
    path.write_text("".join(json.dumps(j) + "\n" for j in jobs), encoding="utf-8")
    print(f"{path}: {len(jobs)} jobs")


def read_picture(folder, id):
    """uint8 [128, 128, 3]"""
    path = folder / f"{id}.png"
    if not path.exists():
        raise SystemExit(f"{path}: missing; render the jobs first")
    return np.asarray(Image.open(path).convert("RGB"))
