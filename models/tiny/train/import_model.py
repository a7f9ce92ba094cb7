"""Make checkpoints of an exported model, to go on training where only the export is left.

    import_model.py build/tiny/models/tiny [--run build/tiny/run]

They have no optimizer state, so both trainings warm up again.
"""

import argparse
import json
from pathlib import Path

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

import runs


def weights(net):
    return {k: v.float() for k, v in net.state_dict().items()}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model", type=Path)
    p.add_argument("--run", type=Path, default=Path("build/tiny/run"))
    a = p.parse_args()

    a.run.mkdir(parents=True, exist_ok=True)
    net = AutoencoderKL.from_pretrained(a.model / "vae")
    vae = weights(net)
    scaling_factor = net.config.scaling_factor
    runs.save(
        a.run / "vae.pt", {"vae": vae, "averaged": vae, "scaling_factor": scaling_factor, "step": 0}
    )
    unet = weights(UNet2DConditionModel.from_pretrained(a.model / "unet"))
    text = weights(CLIPTextModel.from_pretrained(a.model / "text_encoder"))
    scheduler = json.loads((a.model / "scheduler" / "scheduler_config.json").read_text())
    state = {"unet": unet, "text": text, "averaged_unet": unet, "averaged_text": text}
    runs.save(
        a.run / "unet.pt", {**state, "prediction": scheduler["prediction_type"], "step": 0, "seen": 0}
    )


if __name__ == "__main__":
    main()
