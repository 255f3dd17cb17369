"""zennit, with its composites, on modules that are each used once and whose batch normalisation is merged."""

import sys
from types import ModuleType

import numpy as np

from bench.measure import Unavailable
from bench.torch_ import fastest_layout, module, need
from pyref.methods.noise import generator, normal

NAME = "zennit"


def imported():
    """zennit, or None. It wants two names of torchvision, for networks that are not here."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        resnet = ModuleType("torchvision.models.resnet")
        resnet.Bottleneck = resnet.BasicBlock = type("Block", (), {})
        names = ("torchvision", "torchvision.models", resnet.__name__)
        sys.modules |= zip(names, (ModuleType(names[0]), ModuleType(names[1]), resnet), strict=True)
    try:
        import zennit
        import zennit.composites
        import zennit.layer
        import zennit.rules
    except ImportError:
        return None
    return zennit


def prepare(row):
    zennit = imported()
    need("zennit", zennit)
    import torch

    if row.method == "cosine_convergence":
        return _convergence(zennit, row)
    if row.method != "lrp":
        raise Unavailable(f"zennit is not compared for {row.method}")
    network = row.build()
    x = row.input(network)
    composite = _composite(zennit, row)
    made = module(network, _sum(zennit))
    classes = made(torch.from_numpy(x)).shape[1]
    seed = torch.nn.functional.one_hot(torch.from_numpy(row.target(network, x)), classes)

    def run(made, given):
        given = given.detach().clone().requires_grad_()
        with composite.context(made) as hooked:
            output = hooked(given)
            (relevance,) = torch.autograd.grad(output, given, output.detach() * seed)
        return relevance

    made, given = fastest_layout(made, torch.from_numpy(x), run)
    return lambda: run(made, given).detach().numpy()


def _convergence(zennit, row):
    """All vectors of a start as a batch, and one forward pass for all starts; medians of |cos|, as ours."""
    import itertools

    import torch
    from zennit.types import Activation, Linear

    network = row.build()
    x = row.input(network)
    chain, made = list(network.nodes), module(network)
    vectors, pairs = row.options["vectors"], [*itertools.combinations(range(row.options["vectors"]), 2)]
    starts = [chain.index(name) for name in row.options["start"]]
    places = [k for k, m in enumerate(made) if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)][::-1]
    composite = zennit.composites.LayerMapComposite(
        [
            (Activation, zennit.rules.Pass()),
            (Linear, zennit.rules.ZPlus()),
            (torch.nn.AdaptiveAvgPool2d, zennit.rules.Norm()),
        ]
    )
    read, out = {}, {}
    for k in places:
        made[k].register_forward_pre_hook(lambda m, given, k=k: read.__setitem__(k, given[0]))

    def cosine(r):
        r = r.reshape(len(r), r.shape[1], -1) if r.ndim > 2 else r[:, :, None]
        unit = r / r.norm(dim=1, keepdim=True)
        every = torch.stack([(unit[a] * unit[b]).sum(0).abs() for a, b in pairs])
        return every[torch.isfinite(every)].median() if torch.isfinite(every).any() else torch.tensor(0.0)

    def run():
        given = torch.from_numpy(x).repeat(vectors, *(1,) * (x.ndim - 1)).requires_grad_()
        found = []
        with composite.context(made):
            seen = [m.register_forward_hook(lambda m, i, o, k=k: out.__setitem__(k, o)) for k, m in enumerate(made)]
            made(given)
            for position, start in enumerate(starts):
                V = [normal(generator(0, position, 0, k), out[start][:1].detach().numpy()[0]) for k in range(vectors)]
                below = [k for k in places if k <= start]
                R = torch.autograd.grad(
                    out[start], [read[k] for k in below], torch.from_numpy(np.stack(V)), retain_graph=True
                )
                by_place = dict(zip(below, map(cosine, R), strict=True))
                found += [by_place.get(k, torch.tensor(0.0)) for k in places]
            for hook in seen:
                hook.remove()
        return torch.stack(found)[None]

    return lambda: run().numpy()


def _sum(zennit):
    """Its Sum takes one array with the summands along a last axis."""
    import torch

    class Add(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.sum = zennit.layer.Sum()

        def forward(self, a, b):
            return self.sum(torch.stack([a, b], dim=-1))

    return Add


def _composite(zennit, row):
    options = row.options.get("rule_options", {})
    match row.options["rule"]:
        case "epsilon":
            from zennit.types import Activation, AvgPool, Linear

            rules, epsilon = zennit.rules, options["epsilon"]
            return zennit.composites.LayerMapComposite(
                [
                    (Activation, rules.Pass()),
                    (zennit.layer.Sum, rules.Norm(epsilon)),
                    (AvgPool, rules.Norm(epsilon)),
                    (Linear, rules.Epsilon(epsilon)),
                ]
            )
        case "epsilon_plus":
            return zennit.composites.EpsilonPlus()
        case "epsilon_alpha2_beta1":
            return zennit.composites.EpsilonAlpha2Beta1()
        case "epsilon_gamma_box":
            return zennit.composites.EpsilonGammaBox(options["low"], options["high"])
    raise Unavailable(f"zennit is not compared for {row.options}")
