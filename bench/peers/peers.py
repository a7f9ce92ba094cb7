"""Measures the same work with PyTorch and diffusers, beside ours, in one run.

    python bench/peers/peers.py --engine build/release/bench/engine_bench [--rounds 3] [--isas avx512,amx] [--json FILE]

Float32, eager, the same number of threads, the same shapes (bench/shapes) with random weights.  Each round runs
every case once on either side, ours first.  So if the machine's speed drifts, it drifts for both.  The ratio is
the median over rounds of (theirs / ours); for PyTorch the better of its two memory formats counts.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SHAPES = pathlib.Path(__file__).resolve().parent.parent / "shapes"
PROMPTS = [
    "a red apple", "a dog", "a house on a hill", "the sea at night",
    "a green car", "a cat", "an old book", "a smiling sun",
]  # fmt: skip


def unet(shape, memory_format):
    return UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(SHAPES / shape / "unet")).eval().to(memory_format=memory_format)


def vae(shape, memory_format):
    return AutoencoderKL.from_config(AutoencoderKL.load_config(SHAPES / shape / "vae")).eval().to(memory_format=memory_format)


def text_encoder(shape):
    return CLIPTextModel(CLIPTextConfig.from_json_file(SHAPES / shape / "text_encoder" / "config.json")).eval()


def pipeline(shape, memory_format):
    pipe = StableDiffusionPipeline(
        vae=vae(shape, memory_format),
        text_encoder=text_encoder(shape),
        tokenizer=CLIPTokenizer.from_pretrained(SHAPES / shape / "tokenizer"),
        unet=unet(shape, memory_format),
        scheduler=DDIMScheduler.from_pretrained(SHAPES / shape / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Work:
    """Each case gives a function of no arguments; models are made once and kept."""

    def __init__(self):
        self.kept = {}

    def keep(self, key, make):
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def sd15_unet(self, rows, memory_format):
        net = self.keep(("unet", memory_format), lambda: unet("sd15", memory_format))
        x = torch.randn(rows, 4, 64, 64).to(memory_format=memory_format)
        states = torch.randn(rows, 77, 768)
        return lambda: net(x, 500, encoder_hidden_states=states)

    def sd15_vae(self, memory_format):
        net = self.keep(("vae", memory_format), lambda: vae("sd15", memory_format))
        x = torch.randn(1, 4, 64, 64).to(memory_format=memory_format)
        return lambda: net.decode(x)

    def sd15_text(self):
        net = self.keep("text", lambda: text_encoder("sd15"))
        ids = torch.randint(0, 49000, (2, 77))
        return lambda: net(ids)

    def small(self, count, memory_format):
        pipe = self.keep(("small", memory_format), lambda: pipeline("small", memory_format))

        def draw():
            generators = [torch.Generator("cpu").manual_seed(i) for i in range(count)]
            pipe(PROMPTS[:count], width=128, height=128, num_inference_steps=20, guidance_scale=7.5, generator=generators)

        return draw

    def cases(self):
        formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        yield "small_picture_1", {n: (lambda f=f: self.small(1, f)) for n, f in formats.items()}
        yield "small_pictures_8", {n: (lambda f=f: self.small(8, f)) for n, f in formats.items()}
        yield "sd15_text_2prompts", {"contiguous": self.sd15_text}
        yield "sd15_unet_1row", {n: (lambda f=f: self.sd15_unet(1, f)) for n, f in formats.items()}
        yield "sd15_unet_2rows", {n: (lambda f=f: self.sd15_unet(2, f)) for n, f in formats.items()}
        yield "sd15_vae_decode", {n: (lambda f=f: self.sd15_vae(f)) for n, f in formats.items()}


def time_theirs(make):
    run = make()
    times = []
    with torch.inference_mode():
        run()
        begin = time.monotonic()
        while len(times) < 2 or time.monotonic() - begin < 3 and len(times) < 50:
            start = time.monotonic()
            run()
            times.append(time.monotonic() - start)
    return statistics.median(times)


def time_ours(engine, name, threads, isa):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [engine, "--only", name, "--threads", str(threads), "--seconds", "3", "--json", out.name]
        subprocess.run(command + (["--isa", isa] if isa else []), check=True, stdout=subprocess.DEVNULL)
        report = json.load(out)
    return next(c["median_s"] for c in report["cases"] if c["name"] == name), report["device"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--isas", default="", help="ours with each of these, e.g. avx512,amx; default: the best there is")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    table, devices = [], {}
    print(f"{'case':22} {'ours':>9} {'PyTorch':>9} {'format':14} ratio (of each round)")
    for name, formats in Work().cases():
        if args.only not in name:
            continue
        ours, theirs = {isa: [] for isa in args.isas.split(",")}, []
        for _ in range(args.rounds):
            for isa, times in ours.items():
                seconds, devices[isa] = time_ours(args.engine, name, args.threads, isa)
                times.append(seconds)
            theirs.append(min((time_theirs(make), f) for f, make in formats.items()))
        for isa, times in ours.items():
            table.append(row_of(name, devices[isa], times, theirs))
            print_row(table[-1])
    if args.json:
        about = {"torch": torch.__version__, "threads": args.threads}
        with open(args.json, "w") as out:
            json.dump({"about": about, "cases": table}, out, indent=2)


def row_of(name, device, ours, theirs):
    ratios = [t / o for o, (t, _) in zip(ours, theirs)]
    return {
        "name": name,
        "device": device,
        "ours_s": statistics.median(ours),
        "theirs_s": statistics.median(t for t, _ in theirs),
        "format": theirs[-1][1],
        "ratio": statistics.median(ratios),
        "ratios": sorted(ratios),
    }


def print_row(row):
    ratios = ", ".join(f"{r:.2f}" for r in row["ratios"])
    print(
        f"{row['name']:22} {row['ours_s']:8.3f}s {row['theirs_s']:8.3f}s {row['format']:14} {row['ratio']:.2f}"
        f"  ({ratios})  {row['device']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
