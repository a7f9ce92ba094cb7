"""The three networks, about 12 M parameters together: 24 MB as float16 is all that may ship."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from bpe import POSITIONS

SIDE = 128  # pixels
FACTOR = 8  # pixels of a latent's side
LATENT = SIDE // FACTOR
LATENT_CHANNELS = 4
TEXT_WIDTH = 160
BETAS = {  # Stable Diffusion 1.x
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def make_vae():
    """2.0 M. Few groups, so that a norm takes little of what a plain background is: its colour."""
    vae = AutoencoderKL(
        sample_size=SIDE,
        latent_channels=LATENT_CHANNELS,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[32, 64, 64, 96],
        layers_per_block=1,
        norm_num_groups=4,
    )
    with torch.no_grad():
        # PyTorch's own first weights shrink what passes to a third at each layer, and the picture's
        # colour takes long to get through; with these, 18.6 dB instead of 13.7 after 290 steps.
        for name, net in vae.named_modules():
            if isinstance(net, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(net.weight, nonlinearity="linear")
            if name.endswith("conv2"):  # a residual block begins as almost nothing
                net.weight *= 0.1
        # Begin with little noise in the latents (log variance): the default, one, drowns them for long.
        vae.quant_conv.bias[LATENT_CHANNELS:] = -6.0
    return vae


def make_unet():
    """8.5 M. The widths are multiples of 32, so that all heads (24, 32, 40) are multiples of 8."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        block_out_channels=[96, 128, 160],
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=32,
    )


def make_text_encoder(vocab_size):
    """1.4 M with a vocabulary of 3000. The last two tokens are start and end; padding is the end."""
    config = CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        hidden_act="quick_gelu",
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )
    return CLIPTextModel(config)


def set_scaling_factor(vae, latents):
    """Latents times this have variance one, which is what the noise is mixed with."""
    vae.register_to_config(scaling_factor=round(1 / float(latents.float().std()), 5))


def parameters_m(net):
    return sum(p.numel() for p in net.parameters()) / 1e6
