"""Quantus: pixel flipping in both orders, one feature a step, which is as many evaluations as MoRF and LeRF take."""

from bench.measure import Unavailable
from bench.torch_ import module, need
from bench.zennit_ import imported as zennit

NAME = "Quantus"
COMPARABLE = False  # it records probabilities or logits themselves, in another order at ties


def prepare(row):
    zennit()  # Quantus imports it where it is installed
    try:
        import quantus
    except ImportError:
        quantus = None
    need("quantus", quantus)
    if row.method != "morf_lerf":
        raise Unavailable(f"Quantus has another definition of {row.method}: subsets are not drawn at random")
    network = row.build()
    x = row.input(network)
    target, made = row.target(network, x), module(network)
    a = row.attribution(x).astype(x.dtype)
    flip = quantus.PixelFlipping(
        features_in_step=1,
        perturb_baseline="black",
        abs=False,
        normalise=False,
        disable_warnings=True,
        display_progressbar=False,
    )

    def run():
        for sign in (1, -1):
            flip(model=made, x_batch=x, y_batch=target, a_batch=sign * a, device="cpu", batch_size=len(x))

    return run
