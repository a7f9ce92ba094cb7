"""Makes configs/: the config of each class as the reference itself saves it, with every key at its default."""

import diffusers
from transformers import CLIPTextConfig

SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


def make(root):
    folder = root / "configs"
    folder.mkdir(exist_ok=True)
    for name in SCHEDULERS:
        (folder / f"{name}.json").write_text(getattr(diffusers, name)().to_json_string())
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
    )
    (folder / "unet.json").write_text(unet.to_json_string())
    vae = diffusers.AutoencoderKL(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2
    )
    (folder / "vae.json").write_text(vae.to_json_string())
    (folder / "text_encoder.json").write_text(CLIPTextConfig().to_json_string(use_diff=False))
