"""The networks one by one: text encoder, one UNet call, VAE both ways."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

import vocab
from models import MODELS

PROMPTS = [
    "",
    "a photo of the astronaut riding a horse on mars!",
    "blurry, low quality, 4K <|endoftext|> text",
    "the cat and the dog, " * 20,
]
# Rows of one batch are far apart in time, one between two integers as the
# sigma samplers have it.
TIMESTEPS = [981.0, 37.0, 499.5]
CLASS_LABELS = [20, 0, 350]
# Latent height and width: even halves all the way; odd at every level.
UNET_SIZES = [(8, 8), (13, 11)]
# Rows, latent height, latent width.
DECODE_SIZES = [(2, 4, 4), (1, 5, 9)]
ENCODE_SIZES = [(2, 4, 4), (1, 6, 5)]
TRACED = ["conv_in", "down_blocks", "mid_block", "up_blocks", "conv_norm_out"]


def traced_modules(unet):
    for name, module in unet.named_modules():
        parts = name.split(".")
        if parts[0] in TRACED and len(parts) == (2 if parts[0].endswith("_blocks") else 1):
            yield name, module


def run_traced(unet, args, kwargs, prefix, tensors):
    """One call that also records the outputs of the large blocks, to find the first
    block that differs."""
    hooks = []

    def record(name):
        def hook(_module, _inputs, output):
            tensors[f"{prefix}.{name}"] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    for name, module in traced_modules(unet):
        hooks.append(module.register_forward_hook(record(name)))
    out = unet(*args, **kwargs)[0]
    for hook in hooks:
        hook.remove()
    return out


def run(unet, args, kwargs, _prefix, _tensors):
    return unet(*args, **kwargs)[0]


def text_stage(folder, tensors):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    ids = tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    tensors["text.hidden"] = encoder(ids)[0]
    return {"prompts": PROMPTS, "ids": ids.tolist(), "hidden": "text.hidden"}


def unet_stage(folder, generator, tensors):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32)
    rows = len(TIMESTEPS)
    labels = CLASS_LABELS if unet.config.num_class_embeds else None
    cases = []
    for i, (height, width) in enumerate(UNET_SIZES):
        sample = torch.randn((rows, unet.config.in_channels, height, width), generator=generator)
        tensors[f"unet{i}.sample"] = sample
        call = run_traced if i == 0 else run
        tensors[f"unet{i}.out"] = call(
            unet,
            (sample, torch.tensor(TIMESTEPS)),
            {
                "encoder_hidden_states": tensors["text.hidden"][1 : 1 + rows],
                "class_labels": torch.tensor(labels) if labels else None,
            },
            f"unet{i}.trace",
            tensors,
        )
        cases.append(
            {
                "sample": f"unet{i}.sample",
                "out": f"unet{i}.out",
                "timesteps": TIMESTEPS,
                "class_labels": labels,
                "text_rows": list(range(1, 1 + rows)),
                "trace": [f"unet{i}.trace.{name}" for name, _ in traced_modules(unet)] if i == 0 else [],
            }
        )
    return cases


def vae_stage(folder, generator, tensors):
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    decode, encode = [], []
    for i, (rows, height, width) in enumerate(DECODE_SIZES):
        latents = torch.randn((rows, 4, height, width), generator=generator) * 3
        tensors[f"decode{i}.latents"] = latents
        tensors[f"decode{i}.image"] = vae.decode(latents).sample
        decode.append({"latents": f"decode{i}.latents", "image": f"decode{i}.image"})
    for i, (rows, height, width) in enumerate(ENCODE_SIZES):
        image = torch.rand((rows, 3, height * factor, width * factor), generator=generator) * 2 - 1
        tensors[f"encode{i}.image"] = image
        tensors[f"encode{i}.moments"] = vae.encode(image).latent_dist.parameters
        encode.append({"image": f"encode{i}.image", "moments": f"encode{i}.moments"})
    return {"decode": decode, "encode": encode}


def make(root):
    manifest = {}
    for name, spec in MODELS.items():
        folder = root / "models" / name
        generator = torch.Generator("cpu").manual_seed(spec["seed"] + 1)
        tensors = {}
        manifest[name] = {
            "file": f"stages_{name}.safetensors",
            "text": text_stage(folder, tensors),
            "unet": unet_stage(folder, generator, tensors),
            "vae": vae_stage(folder, generator, tensors),
        }
        assert all(t.isfinite().all() for t in tensors.values())
        save_file({k: t.contiguous() for k, t in tensors.items()}, root / "data" / f"stages_{name}.safetensors")
        for key in ("text.hidden", "unet0.out", "unet1.out", "decode0.image", "encode0.moments"):
            print(f"  {name} {key}: {list(tensors[key].shape)} std {tensors[key].std():.3f}")
    vocab.write_json(root / "data" / "stages.json", manifest)
