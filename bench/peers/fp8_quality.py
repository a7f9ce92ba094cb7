"""Measures what 8-bit products would cost in quality: pictures of models/tiny with rounded operands of the UNet's products.

    python bench/peers/fp8_quality.py --data build/tiny/data.npz [--prompts 48] [--only NAME]

PyTorch emulates this in float32: the operands of a product are rounded to a type's values and back.  The product itself and
everything between products stay float32.  So this measures the rounding of the operands alone.
The sums of 8-bit tensor cores, which keep most of the bits, are not emulated.

    weights      a scale for each output channel, so that its largest value is the type's
    activations  "token": a scale for each token (linear layers), or for each row's whole map (convolutions)
                 "fixed": none; what is beyond the type's largest value is cut off there

The engine rounds less ("ours", and the parts of it): only linear layers that follow a layer norm or GEGLU, and
resnets' convolutions, which follow a group norm; activations "fixed"; a weight has one scale, a power of two (queries, keys and
values of a self-attention are one weight).  The other products are in f16.

A row's scales follow from that row, so its bits stay its own.  Not rounded: conv_in and conv_out, the time embedding, the keys and
values of the prompt (computed once), attention's own products, text encoder and VAE.

Pictures are drawn, and counted as recognised, as in models/tiny/train/measure.py (30 steps of DPM-Solver++ 2M, guidance 5, the same
latents in each row).  PSNR compares with the float32 picture: once over all pictures, and once for the worst picture.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "models/tiny/train"))
from captions import STYLES, prompt  # noqa: E402
from data import Data  # noqa: E402
from measure import GUIDANCE, Nearest, questions, recognised  # noqa: E402

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max
KEPT = ("conv_in", "conv_out", "time_embedding", "time_emb_proj", "attn2.to_k", "attn2.to_v")
BATCH = 16

# The layers that the engine chooses, by the ends of their names.  proj_in follows a group norm and could be one, but is not.
PARTS = {
    "to_q, to_qkv": (".to_q", "attn1.to_k", "attn1.to_v"),
    "ff_in": ("ff.net.0.proj",),
    "ff_out": ("ff.net.2",),
    "proj_in": ("proj_in",),
    "convolutions": (".conv1", ".conv2"),
}
PARTS["ours"] = PARTS["to_q, to_qkv"] + PARTS["ff_in"] + PARTS["ff_out"]

# name: (linear layers, convolutions), each a rounding of activations; None: as they are
ROWS = {
    "f16": ("f16", "f16"),
    "bf16": ("bf16", "bf16"),
    "linear layers e4m3, scales by token": ("token", "bf16"),
    "linear layers e4m3, no scales": ("fixed", "bf16"),
    "convolutions e4m3, scales by row": ("bf16", "token"),
    "convolutions e4m3, no scales": ("bf16", "fixed"),
    "both e4m3, scales": ("token", "token"),
    "both e4m3, no scales": ("fixed", "fixed"),
    "our linear layers e4m3": ("ours", "f16"),
    "to_q and to_qkv alone": ("to_q, to_qkv", "f16"),
    "ff_in alone": ("ff_in", "f16"),
    "ff_out alone": ("ff_out", "f16"),
    "proj_in alone": ("proj_in", "f16"),
    "our convolutions e4m3": ("f16", "convolutions"),
    "our linear layers and our convolutions e4m3": ("ours", "convolutions"),
}


def to_e4m3(x):
    return x.clamp(-LARGEST, LARGEST).to(E4M3).float()


def scaled_e4m3(x, dims):
    scale = x.abs().amax(dim=dims, keepdim=True).clamp_min(1e-12) / LARGEST
    return to_e4m3(x / scale) * scale


def rounded(x, how, dims):
    if how in ("f16", "bf16"):
        return x.to(torch.float16 if how == "f16" else torch.bfloat16).float()
    return to_e4m3(x) if how == "fixed" else scaled_e4m3(x, dims)


def weight_rounded(w, how, largest):
    """largest: the largest of all values that share one scale; None: each output channel has a scale"""
    if how in ("f16", "bf16"):
        return rounded(w, how, None)
    if not largest:
        return scaled_e4m3(w, tuple(range(1, w.dim())))
    scale = 2.0 ** math.ceil(math.log2(largest / LARGEST))
    return to_e4m3(w / scale) * scale


def largest_of_one_weight(unet, name):
    """The largest value of the weight that contains this layer's weight.  Rounding does not change it."""
    names = [name]
    if "attn1.to_" in name and "to_out" not in name:
        names = [name[:-1] + part for part in "qkv"]
    return max(unet.get_submodule(n).weight.abs().max().item() for n in names)


def round_products(unet, linear, conv):
    """Rounds the weights in place, and adds hooks that round the layers' inputs.  Returns the number of layers."""
    count = 0
    for name, layer in unet.named_modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or any(k in name for k in KEPT):
            continue
        # A convolution of 1x1 is a linear layer over pixels, whose channels lie along dimension 1.
        is_conv = isinstance(layer, nn.Conv2d)
        how = conv if is_conv and layer.kernel_size != (1, 1) else linear
        dims = (1, 2, 3) if is_conv and layer.kernel_size != (1, 1) else (1,) if is_conv else (-1,)
        largest = None
        if how in PARTS:
            largest = largest_of_one_weight(unet, name)
            how = "fixed" if name.endswith(PARTS[how]) else "f16"
        layer.weight.data = weight_rounded(layer.weight.data, how, largest)
        layer.register_forward_pre_hook(lambda _, x, how=how, dims=dims: (rounded(x[0], how, dims), *x[1:]))
        count += 1
    return count


def open_pipeline(folder):
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe, asked, data):
    """uint8 [n, 128, 128, 3]"""
    text = [prompt(data.emoji[e]["name"], c, STYLES[s]) for e, s, c in asked]
    pictures = []
    for i in range(0, len(text), BATCH):
        part = text[i : i + BATCH]
        generators = [torch.Generator().manual_seed(1000 + i + j) for j in range(len(part))]
        x = pipe(part, num_inference_steps=30, guidance_scale=GUIDANCE, height=128, width=128, generator=generators,
                 output_type="np").images  # fmt: skip
        pictures.append((x * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def psnr(a, b):
    """The dB of the mean error over all pictures, and the dB of the worst picture."""
    each = ((a.astype(np.float64) - b) ** 2).mean(axis=(1, 2, 3))
    worst = each.max()
    return [10 * np.log10(255**2 / m) if m else np.inf for m in (each.mean(), worst)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", type=Path, default=Path("build/tiny/data.npz"))
    p.add_argument("--names", type=Path, default=ROOT / "models/tiny/train/well_known.txt")
    p.add_argument("--folder", type=Path, default=ROOT / "models/tiny")
    p.add_argument("--prompts", type=int, default=48)
    p.add_argument("--only", default="", help="rows whose names have this in them")
    a = p.parse_args()

    data = Data(a.data, "cpu", a.names.read_text().splitlines())
    asked = questions(data)[: a.prompts]
    nearest = Nearest(data)
    plain = draw(open_pipeline(a.folder), asked, data)
    top1, top5, _ = recognised(nearest, asked, plain)
    print("| operands | PSNR | the worst | recognised | among five |\n| --- | ---: | ---: | ---: | ---: |")
    print(f"| float32 | | | {top1:.1%} | {top5:.1%} |", flush=True)
    for name, (linear, conv) in ROWS.items():
        if a.only not in name:
            continue
        pipe = open_pipeline(a.folder)
        round_products(pipe.unet, linear, conv)
        x = draw(pipe, asked, data)
        top1, top5, _ = recognised(nearest, asked, x)
        mean, worst = psnr(x, plain)
        print(f"| {name} | {mean:.1f} dB | {worst:.1f} dB | {top1:.1%} | {top5:.1%} |", flush=True)


if __name__ == "__main__":
    main()
