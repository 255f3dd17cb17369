"""zennit, with its composites, on modules that are each used once and whose batch normalisation is merged."""

import sys
from types import ModuleType

from bench.measure import Unavailable
from bench.torch_ import fastest_layout, module, need

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
