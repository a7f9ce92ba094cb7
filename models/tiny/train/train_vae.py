"""Train the autoencoder. Run it again to go on from its last checkpoint.

    train_vae.py --minutes 4 --cooldown 0.5           on a GPU
    train_vae.py --minutes 60 --crop 64 --batch 8     on a CPU, then a few minutes without --crop

Squared error of the pixels, some L1 of their differences, which keeps edges sharp, and just enough KL
that latents bear a little noise. Writes OUT/vae.pt, OUT/vae.png (above: pictures, below: what comes back), and
prints PSNR over 32 scenes that are always the same.
"""

import argparse
import random

import torch

import runs
from data import Data, write_sheet
from nets import SIDE, make_vae, parameters_m, set_scaling_factor

KL_WEIGHT = 2e-4
PIXEL_WEIGHT = 4.0
EDGE_WEIGHT = 0.2
WARMUP = 100
TESTS = 32


def crop(x, side, rng):
    if side == SIDE:
        return x
    top, left = rng.randrange(SIDE - side + 1), rng.randrange(SIDE - side + 1)
    return x[:, :, top : top + side, left : left + side]


def differences(x):
    return x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]


def loss_of(vae, x):
    latent = vae.encode(x).latent_dist
    y = vae.decode(latent.sample()).sample.float()
    loss = PIXEL_WEIGHT * (x - y).pow(2).mean()
    for a, b in zip(differences(x), differences(y)):
        loss = loss + EDGE_WEIGHT * (a - b).abs().mean()
    kl = 0.5 * (latent.mean.float() ** 2 + latent.var.float() - 1 - latent.logvar.float()).mean()
    return loss + KL_WEIGHT * kl


@torch.no_grad()
def round_trip(vae, x):
    """(latents, pictures) in batches of 16."""
    z = torch.cat([vae.encode(b).latent_dist.mean for b in x.split(16)])
    return z, torch.cat([vae.decode(b).sample for b in z.split(16)]).clamp(-1, 1)


def psnr(x, y):
    mse = ((x - y) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * mse.log10()).mean())


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    runs.add_arguments(p, minutes=5)
    p.add_argument("--crop", type=int, default=SIDE, help="side of the training pictures, pixels")
    a = p.parse_args()
    device = runs.start(a)
    batch, lr = a.batch or (64 if device.type == "cuda" else 16), a.lr or 1e-3

    data = Data(a.data, device)
    vae = runs.on_device(make_vae(), device)
    parameters = list(vae.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=1e-3)
    averaged = runs.Averaged([vae], 0.998)
    path, step = a.out / "vae.pt", 0
    state = runs.load(path)
    if state:
        vae.load_state_dict(state["vae"])
        if "optimiser" in state:  # import_model.py has none
            optimiser.load_state_dict(state["optimiser"])
        averaged.load([state["averaged"]])
        step = state["step"]
    rng = random.Random(runs.seed(a, step))
    torch.manual_seed(runs.seed(a, step))
    test = data.compose(data.draw(random.Random(1), TESTS), random.Random(1))
    runs.say(f"VAE: {parameters_m(vae):.2f} M parameters, {len(data.emoji)} emoji, {device}, from step {step}")

    def report():
        averaged.swap()
        z, y = round_trip(vae, test)
        set_scaling_factor(vae, z)
        runs.say(f"step {step}: PSNR {psnr(test, y):.2f} dB, scaling factor {vae.config.scaling_factor}")
        write_sheet(a.out / "vae.png", torch.cat([test[:16], y[:16]]), 16)
        averaged.swap()

    def checkpoint():
        if not runs.is_first():
            return
        report()
        state = {
            "vae": vae.state_dict(),
            "averaged": averaged.state()[0],
            "optimiser": optimiser.state_dict(),
            "scaling_factor": vae.config.scaling_factor,
            "step": step,
        }
        runs.save(path, state)

    clock = runs.Clock(a.minutes, a.cooldown, a.pause)
    seen, smooth = 0, None
    while clock.tick():
        if runs.is_first() and clock.is_paused():
            checkpoint()
            clock.wait()
        runs.set_lr([optimiser], lr, step, WARMUP, clock.lr_factor())
        scenes = data.draw(rng, batch)
        x = runs.layout(crop(data.compose(scenes, rng), a.crop, rng))
        with runs.bf16(device, not a.float32):
            loss = loss_of(vae, x)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        runs.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        averaged.update(step)
        step, seen = step + 1, seen + batch
        if clock.is_due("progress", runs.PROGRESS_S):
            smooth = loss.item() if smooth is None else 0.7 * smooth + 0.3 * loss.item()
            runs.say(f"step {step}: loss {smooth:.4f}, {seen / clock.now:.1f} pictures/s a process")
        if clock.is_due("checkpoint", runs.CHECKPOINT_S):
            checkpoint()
    checkpoint()


if __name__ == "__main__":
    main()
