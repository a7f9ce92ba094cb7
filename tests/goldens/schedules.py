"""The samplers alone: their tables, and trajectories with a stand-in network."""

import inspect
import json

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from models import DDIM_V, PNDM
from samplers import SAMPLERS, build_sampler

CONFIGS = {
    "sd1": PNDM,
    "sd2": DDIM_V,
    # Zero terminal SNR as its paper recommends it.
    "zero_snr": {**DDIM_V, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    # Almost nothing in the file: every class has its own defaults.
    "bare": {"_class_name": "DDIMScheduler", "_diffusers_version": "0.6.0"},
    # pndm with its Runge-Kutta warm-up, as in "bare", but with the noise and the times of published models.
    "prk": {**PNDM, "skip_prk_steps": False},
    "prk_v": {**DDIM_V, "skip_prk_steps": False, "timestep_spacing": "linspace"},
}
TABLE_STEPS = [1, 2, 4, 7, 20, 33, 50, 150]
RUN_STEPS = {"sd1": [4, 7, 20], "sd2": [4, 7, 20], "prk": [4, 7, 20, 50]}  # the others: 7
SHAPE = (1, 4, 5, 3)
SEED = 2**32 + 77


def in_pipeline(sampler):
    """Through the pipeline's own constructor, which forces steps_offset 1 and
    clip_sample false whatever the file says."""
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=None,
        scheduler=sampler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).scheduler


def supported(config, name, steps):
    """False if the reference itself fails, or if the case needs something that no published model does."""
    if name == "lcm" and steps > 50:
        return False  # its own table has 50 entries
    if config.startswith("prk") and name != "pndm":
        return False  # as sd1 and sd2
    if config in ("bare", "prk", "prk_v") and name == "pndm" and steps < 4:
        return False  # the Runge-Kutta warm-up takes the first four times
    if config == "zero_snr" and name == "dpmpp_2m_karras" and steps > 20:
        return False  # the first timesteps fall together and step() runs off its table
    return True


def make_sampler(config, name, steps):
    sampler = in_pipeline(build_sampler(name, CONFIGS[config]))
    sampler.set_timesteps(steps)
    return sampler


def network(x, t):
    """Smooth, bounded, and different at every timestep."""
    return 0.7 * torch.sin(x) + 0.1 * (t / 1000)


def step_arguments(sampler, generator):
    """The arguments that the pipelines pass to step()."""
    accepted = inspect.signature(sampler.step).parameters
    extra = {"eta": 0.0, "generator": generator}
    return {key: value for key, value in extra.items() if key in accepted}


def trajectory(sampler, steps, strength):
    """All samples of a run, the start first, and its timesteps.  strength None is
    text to image; else the start is an image's latents with noise, as the image
    to image pipeline begins."""
    generator = torch.Generator("cpu").manual_seed(SEED)
    timesteps = sampler.timesteps
    if strength is None:
        x = torch.randn(SHAPE, generator=generator) * sampler.init_noise_sigma
    else:
        start = steps - min(int(steps * strength), steps)
        timesteps = timesteps[start * sampler.order :]
        if hasattr(sampler, "set_begin_index"):
            sampler.set_begin_index(start * sampler.order)
        latents = torch.randn(SHAPE, generator=generator)
        x = sampler.add_noise(latents, torch.randn(SHAPE, generator=generator), timesteps[:1])
    states = [x]
    for t in timesteps:
        e = network(sampler.scale_model_input(x, t), t)
        x = sampler.step(e, t, x, **step_arguments(sampler, generator), return_dict=False)[0]
        states.append(x)
    return torch.stack(states).flatten(1), numbers(timesteps)


def numbers(tensor):
    """Shortest decimals that read back as the same float32."""
    return [float(str(x)) for x in tensor.float().numpy()]


def tables():
    cases = []
    for config in CONFIGS:
        for name in SAMPLERS:
            for steps in TABLE_STEPS:
                if not supported(config, name, steps):
                    continue
                sampler = make_sampler(config, name, steps)
                # Pseudo-numerical and ancestral classes without a sigma table have none to show.
                sigmas = getattr(sampler, "sigmas", None)
                cases.append(
                    {
                        "config": config,
                        "sampler": name,
                        "steps": steps,
                        "timesteps": numbers(sampler.timesteps),
                        "sigmas": None if sigmas is None else numbers(sigmas),
                        "init_noise_sigma": numbers(torch.as_tensor(sampler.init_noise_sigma).reshape(1))[0],
                    }
                )
    return cases


def runs():
    for config in CONFIGS:
        for name in SAMPLERS:
            for steps in RUN_STEPS.get(config, [7]):
                for strength in (None, 0.5, 1.0) if steps == 7 else (None, 0.5):
                    if supported(config, name, steps):
                        yield config, name, steps, strength


def write_cases(path, head, cases):
    """One case a line, for people who compare."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
    path.write_text(f'{{{head}"cases": [\n{lines}\n]}}\n', encoding="ascii")


def make(root):
    configs = f'"configs": {json.dumps(CONFIGS)},\n'
    table_cases = tables()
    write_cases(root / "data" / "schedules.json", configs, table_cases)

    cases, tensors = [], {}
    for config, name, steps, strength in runs():
        states, timesteps = trajectory(make_sampler(config, name, steps), steps, strength)
        assert states.isfinite().all(), (config, name, steps, strength)
        tensor = f"{config}.{name}.{steps}" + ("" if strength is None else f".{strength}")
        tensors[tensor] = states
        cases.append(
            {
                "config": config,
                "sampler": name,
                "steps": steps,
                "strength": strength,
                "timesteps": timesteps,
                "states": tensor,
            }
        )
    head = configs + f'"seed": "{SEED}",\n"shape": {json.dumps(SHAPE)},\n'
    write_cases(root / "data" / "sampler_steps.json", head, cases)
    save_file(tensors, root / "data" / "sampler_steps.safetensors")
    worst = max(tensors, key=lambda k: tensors[k][-1].abs().max())
    print(f"  {len(table_cases)} tables, {len(cases)} trajectories; largest end {worst} {tensors[worst][-1].abs().max():.1f}")
