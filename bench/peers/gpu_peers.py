"""Measures the GPU's table with PyTorch and diffusers, beside ours, on the same device in the same run.

    python bench/peers/gpu_peers.py --engine build/release/bench/gpu/gpu_bench [--storages f16,bf16] [--modes eager,compile]
        [--compile-mode reduce-overhead] [--shapes sd15,sd21,small] [--json FILE]
        [--ours FILE]

Channels last, DDIM, the same shapes (bench/shapes) with random weights.  For each shape it measures ours, then theirs eager,
then theirs with the UNet and the VAE's decoder compiled.  Each has the device for itself.  A ratio above 1 says that ours is
better.  --ours takes our side from the JSON that gpu_bench has just written, if measuring both at once would take too long.
The goals of a row come from the engine's JSON (bench/gpu/table.c).  The file is written after every row, so a run
that is stopped early leaves the rows that it finished.
"""

import argparse
import dataclasses
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time

import diffusers
import torch

from peers import PROMPTS, pipeline

DEVICE = "cuda"
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
GROUP_SECONDS = 0.1  # a thousand times what waiting costs
SECONDS = 3  # of one case, at least


@dataclasses.dataclass(frozen=True)
class Pictures:
    name: str
    count: int
    side: int
    steps: int
    memory: str = ""  # the row for what memory they took

    def prepare(self, pipe):
        """Prompts to 8-bit pixels on the host, as ours."""
        prompts = [PROMPTS[i % len(PROMPTS)] for i in range(self.count)]

        def draw():
            generators = [torch.Generator("cpu").manual_seed(i) for i in range(self.count)]
            images = pipe(
                prompts, width=self.side, height=self.side, num_inference_steps=self.steps,
                guidance_scale=8.0, generator=generators, output_type="pt",
            ).images  # fmt: skip
            return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()

        return draw

    def value(self, seconds):
        return self.count / seconds if self.count > 1 else seconds


@dataclasses.dataclass(frozen=True)
class Unet:
    name: str
    rows: int
    side: int  # of the latents

    def prepare(self, pipe):
        net, like = pipe.unet, {"device": DEVICE, "dtype": pipe.unet.dtype}
        x = torch.randn(self.rows, 4, self.side, self.side, **like).to(memory_format=torch.channels_last)
        states = torch.randn(self.rows, 77, net.config.cross_attention_dim, **like)
        timestep = torch.tensor(500, device=DEVICE)
        return lambda: net(x, timestep, encoder_hidden_states=states)

    def value(self, seconds):
        return 1e3 * seconds


@dataclasses.dataclass(frozen=True)
class Decode:
    name: str
    side: int  # of the latents

    def prepare(self, pipe):
        x = torch.randn(1, 4, self.side, self.side, device=DEVICE, dtype=pipe.vae.dtype)
        x = x.to(memory_format=torch.channels_last)
        return lambda: pipe.vae.decode(x)

    def value(self, seconds):
        return 1e3 * seconds


# For each shape, with the beginning of its rows' names.  Memory comes first, while nothing else has used the device.
CASES = {
    "sd15": ("sd15_512", [
        Pictures("sd15_512_pictures_8", 8, 512, 50, "sd15_512_memory_8"),
        Pictures("sd15_512_picture_1", 1, 512, 50),
        Unet("sd15_512_unet_16", 16, 64),
        Unet("sd15_512_unet_2", 2, 64),
        Decode("sd15_512_vae_decode", 64),
    ]),
    "sd21": ("sd21_768", [Pictures("sd21_768_pictures_4", 4, 768, 50), Unet("sd21_768_unet_8", 8, 96)]),
    "small": ("small_128", [Pictures("small_128_pictures_64", 64, 128, 20), Unet("small_128_unet_128", 128, 16)]),
}  # fmt: skip


def read_ours(path, storage):
    """Returns {name: row} and the device, from the JSON that gpu_bench wrote before."""
    with open(path) as file:
        columns = {column["name"]: column for column in json.load(file)["columns"]}
    if storage not in columns:
        sys.exit(f"{path} has no column {storage}")
    return {row["name"]: row for row in columns[storage]["rows"]}, columns[storage]["device"]


def measure_ours(engine, storage, prefix):
    """Runs the engine's bench.  Returns {name: row} and the device."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = engine + ["--as", storage, "--only", prefix, "--json", out.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        result = json.load(out)["columns"][0]
    return {row["name"]: row for row in result["rows"]}, result["device"]


def time_group(run, plays):
    torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(plays):
        run()
    torch.cuda.synchronize()
    return (time.monotonic() - start) / plays


def time_theirs(run):
    time_group(run, 3)  # compiles, records, warms up
    plays = max(1, int(GROUP_SECONDS / time_group(run, 1)))
    times, begin = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - begin < SECONDS:
        times.append(time_group(run, plays))
    return statistics.median(times)


def free_memory():
    """The free bytes of the device, after unreferenced memory has been given back."""
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    return torch.cuda.mem_get_info()[0]


def measure_theirs(shape, cases, dtype, mode, compile_mode):
    """Gives (name, value) for each row."""
    free = free_memory()
    pipe = pipeline(shape, torch.channels_last).to(DEVICE, dtype)
    if mode == "compile":
        pipe.unet.compile(mode=compile_mode, fullgraph=True, dynamic=False)
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode=compile_mode, fullgraph=True, dynamic=False)
    with torch.inference_mode():
        for case in cases:
            yield case.name, case.value(time_theirs(case.prepare(pipe)))
            if isinstance(case, Pictures) and case.memory:
                yield case.memory, (free - torch.cuda.mem_get_info()[0]) / 2**30


def row_of(ours, storage, mode, theirs):
    ratio = theirs / ours["value"] if ours["less"] else ours["value"] / theirs
    wanted = {key: ours[key] if mode == "compile" else 0 for key in ("ratio_wanted", "ratio_stretch")}
    row = {key: ours[key] for key in ("name", "work", "unit")}
    return row | {"storage": storage, "mode": mode, "ours": ours["value"], "theirs": theirs, "ratio": ratio} | wanted


def print_row(row):
    wanted = f" | {row['ratio_wanted']:g}, aim {row['ratio_stretch']:g}" if row["ratio_wanted"] else " |"
    print(
        f"| {row['work']} | {row['unit']} | {row['storage']} | {row['mode']} | {row['ours']:.4g} | {row['theirs']:.4g}"
        f" | {row['ratio']:.2f}{wanted} |",
        flush=True,
    )


def write(path, about, rows):
    if path:
        with open(path, "w") as out:
            json.dump({"about": about, "rows": rows}, out, indent=2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", nargs="+", help="gpu_bench, and options of it")
    parser.add_argument("--ours", help="JSON that gpu_bench has written, in place of --engine")
    parser.add_argument("--storages", default="f16,bf16")
    parser.add_argument("--modes", default="eager,compile")
    parser.add_argument("--compile-mode", default="reduce-overhead", help="torch.compile's; max-autotune takes far longer")
    parser.add_argument("--shapes", default=",".join(CASES))
    parser.add_argument("--json")
    args = parser.parse_args()
    if bool(args.engine) == bool(args.ours):
        parser.error("one of --engine and --ours")
    if not torch.cuda.is_available():
        sys.exit("no GPU: PyTorch sees none")
    about = {"torch": torch.__version__, "diffusers": diffusers.__version__, "compile_mode": args.compile_mode}
    print(" ".join(f"{key} {value}," for key, value in about.items()), torch.cuda.get_device_name())
    print("| work | unit | storage | mode | ours | PyTorch | ratio | wanted |\n" + "| --- " * 8 + "|")

    rows, failed = [], []
    for storage in args.storages.split(","):
        for shape in args.shapes.split(","):
            prefix, cases = CASES[shape]
            ours, about["device"] = read_ours(args.ours, storage) if args.ours else measure_ours(args.engine, storage, prefix)
            for mode in args.modes.split(","):
                try:
                    for name, value in measure_theirs(shape, cases, DTYPES[storage], mode, args.compile_mode):
                        if name not in ours:
                            continue  # ours was cut off before it
                        rows.append(row_of(ours[name], storage, mode, value))
                        print_row(rows[-1])
                        write(args.json, about, rows)
                except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
                    failed.append(f"{shape}, {storage}, {mode}: {error}")
                    print(f"failed: {failed[-1]}", flush=True)
    sys.exit(f"{len(failed)} failed" if failed else 0)


if __name__ == "__main__":
    main()
