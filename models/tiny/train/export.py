"""Write the trained networks as a diffusers folder, float16.

    export.py [--run build/tiny/run] [--out build/tiny/model]

The weights are the averaged ones. Prints what it wrote and its size: at most 24 MB may ship.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

import runs
from bpe import write_tokenizer
from data import load_tokenizer_files, make_tokenizer
from nets import BETAS, make_text_encoder, make_unet
from train_unet import load_vae

BYTES_MAX = 24_000_000


def load_pipeline(run, data):
    """The StableDiffusionPipeline of a run's averaged weights, float32."""
    state = runs.load(run / "unet.pt")
    if not state:
        raise SystemExit(f"{run / 'unet.pt'}: train the UNet first")
    files = load_tokenizer_files(data)
    unet, text = make_unet(), make_text_encoder(len(files["vocab"]))
    unet.load_state_dict(state["averaged_unet"])
    text.load_state_dict(state["averaged_text"])
    print(f"{run}: step {state['step']}, {state['seen']} samples, {state['prediction']}")
    scheduler = DPMSolverMultistepScheduler(**BETAS, prediction_type=state["prediction"], steps_offset=1)
    return StableDiffusionPipeline(
        vae=load_vae(run / "vae.pt", torch.device("cpu")),
        unet=unet,
        text_encoder=text,
        tokenizer=make_tokenizer(files),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def as_published(folder, tokenizer_files):
    """What transformers 5 writes otherwise than it stands in all published Stable Diffusion
    folders: one tokenizer.json for CLIP's files, and tensors without the prefix text_model."""
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    write_tokenizer(folder / "tokenizer", tokenizer_files["vocab"], tokenizer_files["merges"])
    path = folder / "text_encoder" / "model.safetensors"
    tensors = {"text_model." + k.removeprefix("text_model."): v for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", type=Path, default=Path("build/tiny/data.npz"))
    p.add_argument("--run", type=Path, default=Path("build/tiny/run"))
    p.add_argument("--out", type=Path, default=Path("build/tiny/model"))
    a = p.parse_args()

    load_pipeline(a.run, a.data).to(torch.float16).save_pretrained(a.out, safe_serialization=True)
    as_published(a.out, load_tokenizer_files(a.data))
    total = 0
    for path in sorted(f for f in a.out.rglob("*") if f.is_file()):
        total += path.stat().st_size
        print(f"{path.stat().st_size:>12,}  {path.relative_to(a.out)}")
    print(f"{total:>12,}  bytes in all")
    if total > BYTES_MAX:
        raise SystemExit(f"{a.out}: more than the {BYTES_MAX:,} bytes that may ship")


if __name__ == "__main__":
    main()
