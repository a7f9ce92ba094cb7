"""Train the UNet and the text encoder. Needs OUT/vae.pt; run it again to go on from OUT/unet.pt.

    train_unet.py --minutes 9                      on a GPU; --cooldown 0.5 in the last call
    train_unet.py --minutes 300 --names well_known.txt    on a CPU

The noise levels are Stable Diffusion's; the network predicts v (progressive distillation, Salimans
and Ho 2022, appendix D). With epsilon, what a small network gets wrong at high noise is multiplied
by up to 15 in the picture. The loss weighs a picture's error by min(SNR + 1, 5), which is
min-SNR (Hang et al. 2023) as v needs it.

Scenes are composed, encoded and captioned once and kept in a pool, from which batches are drawn;
with each step some of the oldest make room for new ones. Writes OUT/unet.pt, sheets of samples from
the averaged weights, and a line of progress.
"""

import argparse
import random
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor

import runs
from captions import COLOUR_NAMES, STYLES, prompt
from data import Data, write_sheet
from muon import Muon
from nets import BETAS, LATENT, make_text_encoder, make_unet, make_vae, parameters_m

EMPTY = 0.12  # share of empty captions, for guidance
SNR_MAX = 5.0
T_POWER = 0.7
WARMUP = 300
GUIDANCE = 5.0
SAMPLING_STEPS = 20
AVERAGE_EVERY = 4  # steps


class Pool:
    """Latents, scaled, and the token ids of their captions."""

    def __init__(self, size, vae, data, rng, bf16):
        self.vae, self.data, self.rng, self.bf16 = vae, data, rng, bf16
        self.latents = torch.empty(size, 4, LATENT, LATENT, device=data.device)
        self.ids = torch.empty(size, 77, dtype=torch.int64, device=data.device)
        self.empty = data.token_ids([""])[0].to(data.device)
        self.filled, self.next = 0, 0

    @torch.no_grad()
    def refresh(self, n):
        scenes = self.data.draw(self.rng, n)
        x = runs.layout(self.data.compose(scenes, self.rng))
        with runs.bf16(x.device, self.bf16):
            z = self.vae.encode(x).latent_dist.mean.float() * self.vae.config.scaling_factor
        at = (torch.arange(n) + self.next) % len(self.latents)
        self.latents[at] = z
        self.ids[at] = self.data.token_ids(self.data.captions(scenes, self.rng)).to(x.device)
        self.next = (self.next + n) % len(self.latents)
        self.filled = min(self.filled + n, len(self.latents))

    def draw(self, n):
        device = self.latents.device
        rows = torch.randint(self.filled, (n,), device=device)
        is_empty = torch.rand(n, 1, device=device) < EMPTY
        return self.latents[rows], torch.where(is_empty, self.empty, self.ids[rows])


def prepare(unet, text, compiled):
    """The function (noisy latents, timesteps, token ids) -> prediction that is trained, in its fastest form."""
    if next(unet.parameters()).device.type == "cpu":
        # torch's fused attention takes 0.43 of a step on a CPU, most of it backward; plain products, 0.1.
        unet.set_attn_processor(AttnProcessor())
        text.set_attn_implementation("eager")

    def predict(noisy, t, ids):
        return unet(noisy, t, text(input_ids=ids).last_hidden_state).sample

    return torch.compile(predict) if compiled else predict


def loss_of(predict, noising, latents, ids, snr, cast):
    n, device = len(latents), latents.device
    # One timestep from each n-th of the range: less noise in the loss than free draws. The power favours
    # high noise, where the caption has most to say.
    u = (torch.arange(n, device=device) + torch.rand(n, device=device)) / n
    t = (u.pow(T_POWER) * len(snr)).long()
    noise = torch.randn_like(latents)
    noisy = noising.add_noise(latents, noise, t)
    with cast:
        out = predict(noisy, t, ids)
    if noising.config.prediction_type == "epsilon":
        target, per_error = noise, snr
    else:
        target, per_error = noising.get_velocity(latents, noise, t), snr + 1
    weight = (per_error.clamp(max=SNR_MAX) / per_error)[t]
    return ((out.float() - target).pow(2).mean(dim=(1, 2, 3)) * weight).mean()


def make_optimisers(nets, lr):
    """Muon for the matrices inside the nets, AdamW for what stands at their ends and for vectors."""
    named = [(n, p) for net in nets for n, p in net.named_parameters()]
    at_an_end = ("embedding", "conv_in", "conv_out")
    inside = [p for n, p in named if p.ndim >= 2 and not any(e in n for e in at_an_end)]
    ids = {id(p) for p in inside}
    others = [p for _, p in named if id(p) not in ids]
    adam = torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    return [Muon(inside, lr=lr, weight_decay=0.01), adam]


@torch.no_grad()
def sample(unet, text, vae, data, prompts, prediction, seed=0):
    device = next(unet.parameters()).device
    solver = DPMSolverMultistepScheduler(**BETAS, prediction_type=prediction)
    solver.set_timesteps(SAMPLING_STEPS, device=device)
    ids = data.token_ids([""] * len(prompts) + prompts).to(device)
    states = text(input_ids=ids).last_hidden_state
    noise = torch.randn(len(prompts), 4, LATENT, LATENT, generator=torch.Generator().manual_seed(seed))
    z = noise.to(device)
    for t in solver.timesteps:
        uncond, cond = unet(torch.cat([z, z]), t, states).sample.float().chunk(2)
        z = solver.step(uncond + GUIDANCE * (cond - uncond), t, z).prev_sample
    z = z / vae.config.scaling_factor
    return torch.cat([vae.decode(b).sample for b in z.split(16)])


def sheet_prompts(data, n):
    """Emoji spread over the data, with the colours and styles in turn."""
    at = [i * len(data.emoji) // n for i in range(n)]
    return [
        prompt(data.emoji[e]["name"], COLOUR_NAMES[i % len(COLOUR_NAMES)], STYLES[i % len(STYLES)])
        for i, e in enumerate(at)
    ]


def load_vae(path, device):
    state = runs.load(path)
    if not state:
        raise SystemExit(f"{path}: train the VAE first")
    vae = make_vae()
    vae.load_state_dict(state["averaged"])
    vae.register_to_config(scaling_factor=state["scaling_factor"])
    return runs.on_device(vae, device).eval().requires_grad_(False)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    runs.add_arguments(p, minutes=9)
    p.add_argument("--names", type=Path, help="a file of the emoji to train on, one name a line; default: all")
    p.add_argument("--prediction", choices=("v_prediction", "epsilon"), default="v_prediction")
    p.add_argument("--pool", type=int, help="scenes kept")
    p.add_argument("--sheet", type=int, help="samples in a sheet")
    p.add_argument("--sheet-minutes", type=float, default=5.0)
    p.add_argument("--ema", type=float, default=0.99)
    p.add_argument("--compile", action="store_true", help="torch.compile: minutes first, then faster")
    a = p.parse_args()
    device = runs.start(a)
    on_gpu = device.type == "cuda"
    batch, lr = a.batch or (512 if on_gpu else 32), a.lr or 1e-3
    fresh, pool_size = max(1, batch // 8), a.pool or (65536 if on_gpu else 8192)

    data = Data(a.data, device, a.names and a.names.read_text().splitlines())
    vae = load_vae(a.out / "vae.pt", device)
    unet = runs.on_device(make_unet(), device)
    text = make_text_encoder(data.vocab_size).to(device)
    parameters = [*unet.parameters(), *text.parameters()]
    optimisers = make_optimisers([unet, text], lr)
    averaged = runs.Averaged([unet, text], a.ema)
    path, step, seen, prediction = a.out / "unet.pt", 0, 0, a.prediction
    state = runs.load(path)
    if state:
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
        for optimiser, saved in zip(optimisers, state.get("optimisers", [])):  # import_model.py has none
            optimiser.load_state_dict(saved)
        averaged.load([state["averaged_unet"], state["averaged_text"]])
        step, seen, prediction = state["step"], state["seen"], state["prediction"]
    torch.manual_seed(runs.seed(a, step))
    noising = DDPMScheduler(**BETAS, prediction_type=prediction)
    alphas = noising.alphas_cumprod.to(device)
    noising.alphas_cumprod = alphas
    snr = alphas / (1 - alphas)
    predict = prepare(unet, text, a.compile)
    runs.say(
        f"UNet {parameters_m(unet):.2f} M, text {parameters_m(text):.2f} M parameters, {prediction}, "
        f"{len(data.emoji)} emoji, {device}, from step {step}"
    )
    pool = Pool(pool_size, vae, data, random.Random(runs.seed(a, step)), not a.float32)
    while pool.filled < min(pool_size, 32 * batch):
        pool.refresh(min(batch, 256))
    prompts = sheet_prompts(data, a.sheet or (64 if on_gpu else 24))

    def sheet():
        if not runs.is_first():
            return
        averaged.swap()
        pictures = sample(unet, text, vae, data, prompts, prediction)
        averaged.swap()
        write_sheet(a.out / f"unet-{step:06d}.png", pictures, 8)

    def checkpoint():
        if not runs.is_first():
            return
        averaged_unet, averaged_text = averaged.state()
        state = {
            "unet": unet.state_dict(),
            "text": text.state_dict(),
            "averaged_unet": averaged_unet,
            "averaged_text": averaged_text,
            "optimisers": [o.state_dict() for o in optimisers],
            "prediction": prediction,
            "step": step,
            "seen": seen,
        }
        runs.save(path, state)

    clock = runs.Clock(a.minutes, a.cooldown, a.pause)
    seen_before, losses = seen, []
    while clock.tick():
        if runs.is_first() and clock.is_paused():
            checkpoint()
            clock.wait()
        runs.set_lr(optimisers, lr, step, WARMUP, clock.lr_factor())
        pool.refresh(fresh)
        latents, ids = pool.draw(batch)
        loss = loss_of(predict, noising, latents, ids, snr, runs.bf16(device, not a.float32))
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        runs.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        if step % AVERAGE_EVERY == 0:
            averaged.update(step)
        step, seen = step + 1, seen + batch * runs.processes()
        losses.append(loss.detach())
        if clock.is_due("progress", runs.PROGRESS_S):
            mean, losses = torch.stack(losses).mean().item(), []
            rate = (seen - seen_before) / clock.now
            runs.say(f"step {step}: loss {mean:.4f}, {seen} samples, {rate:.1f}/s")
        if clock.is_due("checkpoint", runs.CHECKPOINT_S):
            checkpoint()
        if clock.is_due("sheet", 60 * a.sheet_minutes):
            sheet()
    checkpoint()
    sheet()


if __name__ == "__main__":
    main()
