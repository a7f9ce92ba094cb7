"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal before they are applied."""

import torch

MOMENTUM = 0.95
# Newton-Schulz steps towards the nearest orthogonal matrix, with the author's coefficients.
ITERATIONS = 5
A, B, C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """For weights of two or more axes, convolutions as matrices of [out, rest]. The step is scaled to the
    size of AdamW's (Liu et al. 2025, section 2.2), so that one learning rate serves both. Weights of one
    shape are worked on together."""

    def __init__(self, parameters, lr, weight_decay):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                shapes.setdefault((p.shape[0], p.numel() // p.shape[0]), []).append(p)
            for shape, same in shapes.items():
                self.step_shape(same, shape, group["lr"], group["weight_decay"])

    def step_shape(self, same, shape, lr, weight_decay):
        for p in same:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        grads = [p.grad for p in same]
        momenta = [self.state[p]["momentum"] for p in same]
        torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
        nesterov = torch._foreach_lerp(grads, momenta, MOMENTUM)
        steps = orthogonal(torch.stack([n.reshape(shape) for n in nesterov]))
        scale = 0.2 * max(shape) ** 0.5
        torch._foreach_mul_(same, 1 - lr * weight_decay)
        for p, s in zip(same, steps):
            p.add_(s.reshape(p.shape), alpha=-lr * scale)


def orthogonal(x):
    """[n, rows, columns]; all singular values of each matrix become about one."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x.mT if tall else x).float()
