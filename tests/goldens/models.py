"""Tiny models with random weights, in the layout of published model folders.

Each has the true architecture of its family with odd widths, so that a wrong
stride, a swapped axis or a padded channel shows.  The configs hold the keys of
the published files and no others: what they lack must come from defaults.
The weights are not trained; `spread` says how they are drawn so that complete
runs stay well-behaved (see README.md, "The weights").
"""

import json
import math
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

import vocab

MERGES = 300
VOCAB_SIZE = 256 + 256 + MERGES + 2
DOWN = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]
UP = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]


def unet_config(**more):
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.6.0",
        "act_fn": "silu",
        "center_input_sample": False,
        "down_block_types": DOWN,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 2,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 3,
        "out_channels": 4,
        "up_block_types": UP,
        **more,
    }


def vae_config(channels, **more):
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.6.0",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "norm_num_groups": 3,
        "out_channels": 3,
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        **more,
    }


def text_config(width, heads, layers, act):
    return {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": VOCAB_SIZE - 2,
        "dropout": 0.0,
        "eos_token_id": VOCAB_SIZE - 1,
        "hidden_act": act,
        "hidden_size": width,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 2 * width + 1,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": VOCAB_SIZE - 1,
        "torch_dtype": "float32",
        "transformers_version": "4.22.0.dev0",
        "vocab_size": VOCAB_SIZE,
    }


def scheduler_config(kind, **more):
    return {
        "_class_name": kind,
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        **more,
    }


PNDM = scheduler_config(
    "PNDMScheduler", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None, clip_sample=False
)
DDIM_V = scheduler_config(
    "DDIMScheduler",
    clip_sample=False,
    prediction_type="v_prediction",
    set_alpha_to_one=False,
    skip_prk_steps=True,
    steps_offset=1,
    trained_betas=None,
)
UPSCALE_BETAS = {"beta_start": 0.0001, "beta_end": 0.02}

MODELS = {
    # Stable Diffusion 1.5: heads as one number, 1x1 convolutions around the
    # transformers, quick_gelu, no scaling_factor in the VAE's config.
    "sd1": {
        "pipeline": "StableDiffusionPipeline",
        "seed": 1001,
        "dtype": torch.float32,
        "pad": vocab.EOS,
        "unet": unet_config(
            attention_head_dim=3, block_out_channels=[9, 15, 21, 27], cross_attention_dim=33, sample_size=64
        ),
        "vae": vae_config([9, 9, 15, 15], sample_size=64),
        "old_vae_names": True,
        "text_encoder": text_config(33, 3, 3, "quick_gelu"),
        "position_ids": True,
        "scheduler": PNDM,
    },
    # Stable Diffusion 2.1: heads per level, linear projections, v-prediction,
    # erf gelu, padding with "!"; half precision, UNet in shards.
    "sd2": {
        "pipeline": "StableDiffusionPipeline",
        "seed": 2002,
        "dtype": torch.float16,
        "shard_bytes": 300_000,
        "pad": "!",
        "unet": unet_config(
            attention_head_dim=[1, 3, 3, 9],
            block_out_channels=[15, 21, 27, 27],
            cross_attention_dim=36,
            dual_cross_attention=False,
            num_class_embeds=None,
            only_cross_attention=False,
            sample_size=64,
            upcast_attention=True,
            use_linear_projection=True,
        ),
        "vae": vae_config([9, 9, 15, 15], sample_size=64, scaling_factor=0.18215),
        "text_encoder": text_config(36, 4, 2, "gelu"),
        "scheduler": DDIM_V,
    },
    # Stable Diffusion 1.5 inpainting: nine channels in; bfloat16.
    "inpaint": {
        "pipeline": "StableDiffusionInpaintPipeline",
        "seed": 3003,
        "dtype": torch.bfloat16,
        "pad": vocab.EOS,
        "unet": unet_config(
            attention_head_dim=3, block_out_channels=[9, 9, 15, 15], cross_attention_dim=33, in_channels=9, sample_size=64
        ),
        "vae": vae_config([9, 9, 15, 15], sample_size=64),
        "text_encoder": text_config(33, 3, 2, "quick_gelu"),
        "scheduler": PNDM,
    },
    # The x4 upscaler: seven channels in, the noise level as a class, attention
    # to the prompt only on three levels, a VAE of three levels.
    "upscale": {
        "pipeline": "StableDiffusionUpscalePipeline",
        "pipeline_keys": {"max_noise_level": 350},
        "seed": 4004,
        "dtype": torch.float32,
        "pad": "!",
        "unet": unet_config(
            attention_head_dim=3,
            block_out_channels=[9, 9, 15, 15],
            cross_attention_dim=36,
            down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3,
            dual_cross_attention=False,
            in_channels=7,
            num_class_embeds=1000,
            only_cross_attention=[True, True, True, False],
            sample_size=128,
            up_block_types=["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
            use_linear_projection=True,
        ),
        "vae": vae_config([9, 9, 15], sample_size=64, scaling_factor=0.08333),
        "text_encoder": text_config(36, 4, 2, "gelu"),
        "scheduler": {**DDIM_V, **UPSCALE_BETAS},
        "low_res_scheduler": {
            **scheduler_config(
                "DDPMScheduler",
                clip_sample=True,
                prediction_type="epsilon",
                trained_betas=None,
                variance_type="fixed_small",
            ),
            **UPSCALE_BETAS,
        },
    },
}


# --- weights


def spread(name, shape):
    """(mean, standard deviation) of the weight called `name`."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "bias":
        return 0.0, 0.1
    if len(shape) == 1:
        return 1.0, 0.2  # norm scales
    if "embedding" in name and len(shape) == 2 and ("token" in name or "position" in name or "class" in name):
        return 0.0, 1.0
    gain = 1.0
    if name.endswith(("attn2.to_q.weight", "attn2.to_k.weight", "q_proj.weight", "k_proj.weight")):
        gain = 1.6  # attention that chooses, instead of averaging over 77 tokens
    return 0.0, gain / math.sqrt(shape[1:].numel())


def draw_weights(module, generator):
    """Fill in the order of the parameters' names, so that the values do not depend on
    the order in which a library version builds its modules."""
    with torch.no_grad():
        for name, p in sorted(module.named_parameters()):
            mean, std = spread(name, p.shape)
            p.copy_(torch.randn(p.shape, generator=generator) * std + mean)
    return module.eval()


def adjust_unet(unet, prediction):
    """Tame the prompt, and give an epsilon model a way to see the noise.

    An untrained UNet says nothing about its input's noise, so its runs end at
    latents of 30 and more that every later layer only normalises away.  Here
    the first convolution copies the latents and their negatives, the last skip
    connection carries them to the end, and the last convolution subtracts them
    (silu(x) - silu(-x) = x): noise is predicted, with the rest as disturbance."""
    v = prediction == "v_prediction"
    with torch.no_grad():
        for name, p in unet.named_parameters():
            if ".attn2.to_out.0.weight" in name:
                p.mul_(0.3)
            elif name.endswith(("conv2.weight", "to_out.0.weight", "ff.net.2.weight", "proj_out.weight")):
                p.mul_(0.8 if v else 0.6)
        unet.conv_out.weight.mul_(0.4)
        if v:
            return
        last = unet.up_blocks[-1]
        last.resnets[-1].conv2.weight.mul_(0.6)
        last.attentions[-1].proj_out.weight.mul_(0.6)
        shortcut = last.resnets[-1].conv_shortcut.weight
        width = unet.conv_in.out_channels
        unet.conv_in.weight[:8].mul_(0.2)
        shortcut[:8].mul_(0.3)
        for c in range(4):
            for sign, at in ((1.0, c), (-1.0, c + 4)):
                unet.conv_in.weight[at, c, 1, 1] += sign
                shortcut[at, width + at, 0, 0] += 1.0
                unet.conv_out.weight[c, at, 1, 1] += 0.8 * sign


def adjust_vae(vae):
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(0.37)
        vae.decoder.conv_out.bias.mul_(0.5)
        half = vae.config.latent_channels
        vae.quant_conv.bias[half:].sub_(2.0)  # log variances of a trained size


OLD_VAE_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_vae_names(state):
    def rename(name):
        if ".attentions.0." in name:
            for new, old in OLD_VAE_NAMES.items():
                name = name.replace(f".{new}.", f".{old}.")
        return name

    return {rename(name): t for name, t in state.items()}


def save_sharded(state, folder, stem, limit):
    """Files of at most `limit` bytes and the index that names each tensor's file."""
    shards = [{}]
    used = 0
    for name, t in state.items():
        if used + t.nbytes > limit and shards[-1]:
            shards.append({})
            used = 0
        shards[-1][name] = t
        used += t.nbytes
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        file = f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in shard})
    total = sum(t.nbytes for t in state.values())
    vocab.write_json(
        folder / f"{stem}.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
        indent=2,
    )


def save_part(folder, config, state, stem, dtype, shard_bytes=None, config_name="config.json"):
    folder.mkdir(parents=True)
    vocab.write_json(folder / config_name, config, indent=2)
    state = {k: (v.to(dtype) if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    if shard_bytes:
        save_sharded(state, folder, stem, shard_bytes)
    else:
        save_file(state, folder / f"{stem}.safetensors", metadata={"format": "pt"})


# --- folders


def strip_private(config):
    return {k: v for k, v in config.items() if not k.startswith("_")}


def text_state(model, with_position_ids):
    """Keys as the published files have them: all below text_model."""
    state = {}
    for name, t in model.state_dict().items():
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        if not name.endswith("position_ids"):
            state[name] = t
    if with_position_ids:
        state["text_model.embeddings.position_ids"] = torch.arange(77).unsqueeze(0)
    return state


def model_index(spec):
    parts = {
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", spec["scheduler"]["_class_name"]],
    }
    if "low_res_scheduler" in spec:
        parts["low_res_scheduler"] = ["diffusers", spec["low_res_scheduler"]["_class_name"]]
    else:
        parts["feature_extractor"] = [None, None]
        parts["safety_checker"] = [None, None]
        parts["requires_safety_checker"] = False
    return {
        "_class_name": spec["pipeline"],
        "_diffusers_version": "0.6.0",
        **spec.get("pipeline_keys", {}),
        **dict(sorted(parts.items())),
    }


def make_model(root, name):
    spec = MODELS[name]
    folder = Path(root) / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = torch.Generator("cpu").manual_seed(spec["seed"])

    unet = draw_weights(UNet2DConditionModel(**strip_private(spec["unet"])), generator)
    adjust_unet(unet, spec["scheduler"].get("prediction_type", "epsilon"))
    vae = draw_weights(AutoencoderKL(**strip_private(spec["vae"])), generator)
    adjust_vae(vae)
    text = draw_weights(CLIPTextModel(CLIPTextConfig(**spec["text_encoder"])), generator)

    stem = "diffusion_pytorch_model"
    vae_state = vae.state_dict()
    if spec.get("old_vae_names"):
        vae_state = old_vae_names(vae_state)
    save_part(folder / "unet", spec["unet"], unet.state_dict(), stem, spec["dtype"], spec.get("shard_bytes"))
    save_part(folder / "vae", spec["vae"], vae_state, stem, spec["dtype"])
    save_part(
        folder / "text_encoder",
        spec["text_encoder"],
        text_state(text, spec.get("position_ids")),
        "model",
        spec["dtype"],
    )
    vocab.write_tokenizer(folder / "tokenizer", vocab.first_merges(root, MERGES), spec["pad"], ascii_only=True)
    for part in ("scheduler", "low_res_scheduler"):
        if part in spec:
            (folder / part).mkdir()
            vocab.write_json(folder / part / "scheduler_config.json", spec[part], indent=2)
    vocab.write_json(folder / "model_index.json", model_index(spec), indent=2)


# Folders that differ from one of MODELS in the scheduler's file alone; the rest are links.
VARIANTS = {"sd1_prk": ("sd1", {"skip_prk_steps": False})}


def make_variant(root, name):
    model, changes = VARIANTS[name]
    folder = Path(root) / "variants" / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "scheduler").mkdir(parents=True)
    for part in ("model_index.json", "text_encoder", "tokenizer", "unet", "vae"):
        (folder / part).symlink_to(f"../../models/{model}/{part}")
    vocab.write_json(
        folder / "scheduler" / "scheduler_config.json", {**MODELS[model]["scheduler"], **changes}, indent=2
    )


def make(root):
    for name in MODELS:
        make_model(root, name)
    for name in VARIANTS:
        make_variant(root, name)
