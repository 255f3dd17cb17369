"""Captum, as its documentation has it, on modules that are each used once."""

from bench.measure import Unavailable
from bench.torch_ import GlobalAverage, fastest_layout, module, need

try:
    import torch
    from captum import attr
except ImportError:
    torch = attr = None

NAME = "Captum"


def _lrp(made):
    from captum.attr._utils.lrp_rules import EpsilonRule

    nn, method = torch.nn, attr.LRP(made)

    def attribute(x, target):
        for layer in made.modules():  # each time: it takes the rules off again
            if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AvgPool2d | GlobalAverage | nn.Linear | nn.Conv2d):
                layer.rule = EpsilonRule(epsilon=1e-6)
            elif isinstance(layer, nn.Flatten | nn.Identity):
                layer.rule = EpsilonRule(epsilon=1e-30)  # it has none for them; y = x, so R goes on as it is
        return method.attribute(x, target=target)

    return attribute


def _occlusion(made):
    # Feature by feature, as many at once as pay: its own batching, the fastest of those tried.
    ablate = attr.FeatureAblation(made)
    return lambda x, target: ablate.attribute(x, target=target, perturbations_per_eval=64)


def prepare(row):
    need("captum", attr)
    network = row.build()
    x = row.input(network)
    target = torch.from_numpy(row.target(network, x))
    add = None
    if row.method == "lrp":
        from captum.attr._utils.custom_modules import Addition_Module as add
    made = module(network, add)
    match row.method:
        case "gradient_times_input":
            attribute = attr.InputXGradient(made).attribute
        case "lrp" if row.options["rule"] == "epsilon":
            attribute = _lrp(made)
        case "saliency":
            attribute = attr.Saliency(made).attribute
        case "guided_backprop":
            attribute = attr.GuidedBackprop(made).attribute
        case "deconvnet":
            attribute = attr.Deconvolution(made).attribute
        case "deeplift":
            attribute = attr.DeepLift(made).attribute
        case "integrated_gradients":
            steps, method = row.options["m"], attr.IntegratedGradients(made)
            inner = max(1, 64 // len(x)) * len(x)

            def attribute(x, target):
                return method.attribute(
                    x, target=target, n_steps=steps, method="riemann_middle", internal_batch_size=inner
                )

        case "occlusion":
            attribute = _occlusion(made)
        case _:
            raise Unavailable(f"Captum has no {row.method} with {row.options}")

    def run(made, given):
        return attribute(given.detach().clone().requires_grad_(), target=target).detach()

    def plain(made, given):
        given = given.detach().clone().requires_grad_()
        return torch.autograd.grad(made(given).sum(), given)

    # Methods that repeat the same passes show in one of them which layout they like.
    once = plain if row.method in ("integrated_gradients", "occlusion") else run
    _, given = fastest_layout(made, torch.from_numpy(x), once)
    return lambda: run(made, given).numpy()
