"""What is measured. A row is one method on one network at one size; every contender answers the same question."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

import pyref
import relprop
from relprop.models.architectures import ARCHITECTURES

__all__ = ["Row", "ROWS"]


@dataclass(frozen=True)
class Row:
    """One line of the bench.

    network     name of an architecture (`relprop.build`), of a shipped model (`relprop.zoo`), or "lstm"
    method      a name of `pyref.METHODS` or of `pyref.METRICS`, or "forward"
    options     those of the method
    batch       samples at once
    against     the contenders beside ourselves, by the name of their module
    reach       how many times as fast as the fastest of them we mean to be; None where there is no such aim
    shape       options of the architecture
    small       what of all this is exchanged under --quick, where only correctness is asked
    apart       what is exchanged where the values are checked, of rows that float64 would take minutes for
    note        where the aim is not reached: what the limit is made of, and what was tried
    memory      the same of what is held beyond the fastest peer or 1.5 times what must be kept
    """

    name: str
    network: str
    method: str
    batch: int
    options: dict[str, Any] = field(default_factory=dict)
    against: tuple[str, ...] = ()
    reach: float | None = None
    shape: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)
    apart: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    memory: str = ""

    def checked(self):
        """The same question at the size at which its values are checked before it is timed."""
        return replace(self, **self.apart)

    def quick(self):
        """The same question at a size that takes a moment."""
        return replace(self, batch=min(self.batch, 2), **self.small)

    def build(self, dtype="float32"):
        """The network in its simplest form, with weights from a fixed seed, or those that ship with it.

        All contenders get it so: batch normalisation merged, no dropout.
        """
        if self.network == "lstm":
            network = _lstm(**self.shape)
        elif self.network in ARCHITECTURES:
            network = relprop.build(self.network, seed=0, **self.shape)
        else:
            network = relprop.zoo(self.network)
        return cast(network.canonize()[0], dtype)

    def input(self, network, dtype="float32"):
        """A batch like the data that such a network is made for: normalised, of both signs."""
        ((_, shape),) = network.inputs.items()
        return np.random.default_rng(1).normal(size=(self.batch, *shape)).astype("float32").astype(dtype)

    def attribution(self, x):
        """What a metric is asked about: any numbers will do, all different."""
        return np.random.default_rng(2).normal(size=x.shape)

    def target(self, network, x):
        """One class per sample, the same for every contender."""
        return np.arange(len(x)) % pyref.output_shapes(network)[network.outputs[0]][-1]


def _lstm(steps=500, channels=32, hidden=64, classes=2):
    """An LSTM over a sequence, and a dense layer on its last state: the recurrent network of [ancona2017] in size."""
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.normal(size=shape) / np.sqrt(hidden)

    lstm = pyref.LSTM((draw(channels, 4 * hidden),), (draw(hidden, 4 * hidden),), (draw(4 * hidden),), output="last")
    return pyref.Network.sequential([lstm, pyref.Dense(draw(hidden, classes), draw(classes))], shape=(steps, channels))


def cast(network, dtype):
    """The same network with every floating-point parameter in another precision."""
    return network.with_layers({name: _cast(node.layer, dtype) for name, node in network.nodes.items()})


def _cast(layer, dtype):
    def one(value):
        if isinstance(value, tuple):
            return tuple(map(one, value))
        return value.astype(dtype) if getattr(getattr(value, "dtype", None), "kind", "") == "f" else value

    return replace(layer, **{f.name: one(getattr(layer, f.name)) for f in fields(layer)})


_SMALL = {"shape": {"width": 0.125, "size": 32, "classes": 10}}
_VGG = {"network": "vgg16", "small": _SMALL}
_RESNET = {"network": "resnet50", "small": _SMALL}
_COMPOSITES = {  # name: (composite, options, aim on VGG-16)
    "epsilon_plus": ("epsilon_plus", {}, 3),
    "epsilon_alpha2_beta1": ("epsilon_alpha2_beta1", {}, 4),
    "epsilon_gamma_box": ("epsilon_gamma_box", {"low": -8.0, "high": 8.0}, 5),
}


def _rows():
    for net, spec in (("vgg16", _VGG), ("resnet50", _RESNET)):
        for batch in (1, 4):
            yield Row(
                f"forward {net} b{batch}",
                method="forward",
                batch=batch,
                against=("torch_", "onnxruntime_"),
                reach=1,
                note=_FORWARD if net == "resnet50" else _FORWARD_VGG,
                memory=_THREE_ARRAYS if net == "resnet50" else _TWO_ARRAYS,
                **spec,
            )
        yield Row(
            f"gradient_times_input {net} b1",
            method="gradient_times_input",
            batch=1,
            against=("torch_", "captum_"),
            reach=1.2,
            note=_BACKWARD if net == "resnet50" else "",
            **spec,
        )
        yield Row(
            f"epsilon {net} b1",
            method="lrp",
            options={"rule": "epsilon", "rule_options": {"epsilon": 1e-6}},
            batch=1,
            against=("captum_", "zennit_"),
            reach=2,
            note=_RESIDUAL if net == "resnet50" else _EPSILON,
            **spec,
        )
        for name, (composite, options, aim) in _COMPOSITES.items():
            yield Row(
                f"{name} {net} b4",
                method="lrp",
                options={"rule": composite, "rule_options": options},
                batch=4,
                against=("zennit_",),
                reach=aim,
                apart={"batch": 1},
                note=_PRODUCTS[name] + (_SMALL_IMAGES if net == "resnet50" else ""),
                **spec,
            )
        yield Row(
            f"relevance pass of epsilon {net} b1",
            method="relevance",
            options={"rule": "epsilon", "rule_options": {"epsilon": 1e-6}},
            batch=1,
            **spec,
        )
    yield Row("deeplift vgg16 b1", method="deeplift", batch=1, against=("captum_",), reach=3, note=_REFERENCE, **_VGG)
    ig = {"quadrature": "midpoint", "m": 50}
    few = {"quadrature": "midpoint", "m": 3}
    digits = {"network": "digits-cnn-relu"}
    yield Row(
        "integrated_gradients 50 mnist_cnn b64",
        "mnist_cnn",
        "integrated_gradients",
        64,
        ig,
        against=("captum_",),
        reach=1.5,
        small=digits | {"options": few},
        apart={"options": few},
        note=_SMALL_STEPS,
    )
    yield Row(
        "integrated_gradients 50 vgg16 b4",
        method="integrated_gradients",
        batch=4,
        options=ig,
        against=("captum_",),
        reach=1.5,
        apart={"batch": 1, "options": few},
        note=_DEEP,
        memory=_LINE,
        **(_VGG | {"small": _SMALL | {"options": few}}),
    )
    one = {"network": "digits-cnn-relu", "method": "integrated_gradients", "batch": 1}
    yield Row(
        "integrated_gradients 50 digits-cnn-relu b1",
        options=ig,
        against=("captum_",),
        reach=1.5,
        memory=_LITTLE,
        **one,
    )
    yield Row("integrated_gradients exact digits-cnn-relu b1", options={"quadrature": "exact"}, note=_EXACT, **one)
    backward = {"saliency": {}, "gradient_times_input": {}, "guided_backprop": {}, "deconvnet": {}, "deeplift": {}}
    for net in ("mnist_mlp", "digits-cnn-relu"):
        for method in backward:
            yield Row(f"{method} {net} b1", net, method, 1, against=("captum_",), reach=3, memory=_LITTLE)
        for rule in ("epsilon", "epsilon_plus", "epsilon_alpha2_beta1"):
            options = {"rule": rule, "rule_options": {"epsilon": 1e-6}}
            yield Row(f"{rule} {net} b1", net, "lrp", 1, options, against=("zennit_",), reach=3, memory=_LITTLE)
    short = {"shape": {"steps": 7}}
    for method, options, aim in (
        ("gradient_times_input", {}, 1),
        ("deeplift", {}, 1),
        ("lrp", {"rule": "epsilon", "rule_options": {"epsilon": 1e-3}}, 1),
    ):
        against = ("torch_", "torch_gradient", *(("numpy_lstm", "torch_unrolled") if method == "lrp" else ()))
        spec = {"against": against, "reach": aim, "small": short, "memory": _STEPS}
        yield Row(f"{method} lstm64 b16", "lstm", method, 16, options, **spec)
    for net, aim in (("mnist_mlp", 5), ("mnist_cnn", 20)):
        spec = {"small": digits, "note": _WINDOWS if net == "mnist_cnn" else _ROWS_OF_WEIGHTS, "memory": _COPIES}
        yield Row(f"occlusion {net} b1", net, "occlusion", 1, against=("captum_",), reach=aim, **spec)
    few_images = {"network": "digits-cnn-relu"}
    for metric, options in (
        ("morf_lerf", {"orders": 0, "seed": 0}),
        (
            "sensitivity_n",
            {"sizes": np.unique(np.geomspace(1, 600, 20).astype(int)).tolist(), "subsets": 100, "seed": 0},
        ),
    ):
        small = few_images | ({"options": {"sizes": [1, 9], "subsets": 10}} if metric == "sensitivity_n" else {})
        yield Row(
            f"{metric} mnist_cnn b8",
            "mnist_cnn",
            metric,
            8,
            options,
            against=("torch_metric", "quantus_"),
            reach=10,
            small=small,
            apart={"batch": 2},
            note=_SUBSETS if metric == "sensitivity_n" else _WALKS,
        )
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    starts = [*(f"features.{k}" for k in convolutions), *(f"classifier.{k}" for k in (0, 3, 6))]
    yield Row(
        "cosine_convergence vgg16 b1",
        method="cosine_convergence",
        batch=1,
        options=_convergence(starts),
        against=("zennit_",),
        reach=3,
        apart=_SMALL,
        note="one run of each; runs of two days took 16.5 to 20.2 s, zennit 56.6 to 65.4: 2.9 to 3.9 times as long.",
        **(_VGG | {"small": _SMALL | {"options": _convergence(starts[-3:])}}),
    )


_FORWARD = (
    "on one thread 1.3 times ONNX Runtime's time. 1 x 1 convolutions reach 95 to 100% of SGEMM with weights in "
    "the caches and 80 to 90% with weights from memory, which batch 1 reads once; images of 7 x 7 fill 49 of 56 "
    "lanes. Channels along the lanes were tried there: turning the weights around took what that saved. "
    "Convolutions and residual sums rectify as they write; sums are passes of their own, 2% of the time. "
    "Winograd's products are no way: their sums hold terms that a window does not see, so that a window of zeros "
    "does not give zero, NaN spreads, and rounding is not bounded by an output's own terms."
)
_TWO_ARRAYS = (
    "24.5 MiB a sample are what the second convolution reads and what it puts out, for ONNX Runtime too. The rest"
    " is workspace of two threads, and what is left of pages of 2 MiB. What was tried: blocks from 64 KiB on in "
    "place of 1 MiB, which took 2 MiB off."
)
_THREE_ARRAYS = (
    "9.2 MiB a sample are in use at one time: what a block of the first stage reads, what its last convolution "
    "puts out, and their sum, rectified as it is written. Two of them would do if it were written in place, which"
    " a function that answers with an array of its own cannot. The rest is blocks that did not fit, of what is "
    "kept for later. What was tried: blocks from 64 KiB on in place of 1 MiB, which halved it."
)
_LINE = (
    "up to 211 MiB are in use by layers at one time, which four copies go through together, so that dense weights"
    " of 494 MB are read a quarter as often. Beside them are points on the line (49), sums of gradients in double"
    " precision (25), the ends of the line and their difference (37); the rest is blocks that did not fit. What "
    "was tried: nothing is held of the first pass and of that at the baseline, which took 326 MiB off."
)
_LITTLE = (
    "a few tenths of a MiB, where the network's numbers take some KiB. It is workspace of kernels, whose blocks "
    "were given back before the run and come in pieces of 64 KiB, and Python's heap, which grows by 128 KiB. What"
    " was tried: blocks in small pages until 8 MiB are in use, which took 2 MiB off the digits' rows."
)
_STEPS = (
    "gates, states and outputs of all steps count as kept. Beside them are what goes back to x of all steps (1 "
    "MiB), the shares of all steps' sums, which meet the weights of x in one product at the end (2 MiB), and "
    "rests of pages. To send shares of fewer steps back at a time was not tried."
)
_COPIES = (
    "256 copies are made and evaluated at a time, 64 by Captum, with which it is fastest: copies of the image 0.8"
    " MiB, masks 0.2, hidden values 1; the rest is what NumPy's expressions hold for a moment. What was tried: "
    "values and fillings of one sample are no longer repeated for its copies, which saved a fifth."
)
_FORWARD_VGG = "on one thread 0.77 of PyTorch's time and 0.87 of ONNX Runtime's; on two ONNX Runtime gains more."
_EPSILON = (
    "two products a convolution, forward and back, at 1.0 to 1.2 times the rate of SGEMM; runs of one day said "
    "1.95 to 2.3 times Captum. 3% are the shares R / (z + ε), which are written and read again."
)
_PRODUCTS = {
    "epsilon_plus": (
        "three products a convolution: forward, the sum over positive weights, back. zennit takes the time of about "
        "seven forward passes of PyTorch, so that three times as fast is 1.25 times the rate of SGEMM. Zeros are "
        "skipped by 3 x 3 convolutions where a third of the values or more are 0; a value that is met costs 1.5 times "
        "as much as in a product of panels, so that half of them saves a quarter. Half of the weights of the second "
        "product are 0 too, but lie scattered over the lanes of a register, as do units without relevance, three in "
        "four before a pooling: they are others in every channel."
    ),
    "epsilon_alpha2_beta1": (
        "four products a convolution: forward, the sum over negative weights, which leaves that over positive ones of "
        "z, and two back; at the first, whose input has both signs, two sums and four back. Otherwise as epsilon_plus."
    ),
    "epsilon_gamma_box": (
        "three products a convolution where R is 0 at inactive units, which is judged sample by sample, and more at "
        "the first, whose bounds take products of their own. Otherwise as epsilon_plus."
    ),
}
_SMALL_IMAGES = (
    " Products over images of 14 x 14 and 7 x 7 reach 70 to 95% of SGEMM; 16 residual sums are passes of their "
    "own. A convolution that feeds one has relevance where its z < 0 too, where the cheaper forms of αβ and γ are"
    " not accurate."
)
_REFERENCE = (
    "runs of two days said 2.3 to 2.9 times Captum. Two products a convolution, forward at x and back, are 67% of"
    " it. The baseline is even, so that of its images only borders are summed: 9%; dense weights of 494 MB are "
    "read three times, forward at x, at the baseline, and back: 11%; 7% are passes over values; the quotient of "
    "an activation is multiplied as it is formed. In a batch the baseline is one sample. To keep its values from "
    "call to call would answer for weights that have changed since: not done."
)
_BACKWARD = (
    "on one thread 0.85 of Captum's time. Beside what limits the forward pass: back to the three channels of the "
    "image convolutions reach 70% of SGEMM, with a row for each channel and tap; through strides of 2 and in "
    "images of 7 x 7 50 to 90%: the weights of one tap lie far apart there, and half of each line that is read is"
    " for later. Packing them took 1.4 times as long, for they are met once."
)
_RESIDUAL = (
    "runs of one day said 2.0 to 2.3 times Captum; on one thread it takes 0.47 of Captum's time. Convolutions "
    "limit it as they do the gradient; 3% are residual sums, whose shares are written and read again, 3% adding "
    "values and signals that meet; sums are not held, and added again."
)
_ROWS_OF_WEIGHTS = (
    "on one thread 7.4 ms of the processor, Captum 43. The first layer is an update by one row of its weights for"
    " each copy; half of the time are the products of the layers above for 784 copies, at the rate of SGEMM, a "
    "third is NumPy, which makes the copies and puts the scores into order."
)
_EXACT = (
    "the line crosses 1057 linear pieces, and the exact form takes a gradient in each, 56 stretches at a time, "
    "which costs a third of one after the other. 50 midpoints leave a residual of 0.12, 1000 leave 5e-3, and "
    "Gauss-Legendre 2e-3: on so many kinks every fixed rule errs as 1/m. Weights fitted to S (residual 0 with any"
    " m) and secants between gradients were tried: the residual goes, and the values are further from the exact "
    "ones than before (1.1 and 1.7 times in 50 nodes), so neither is offered."
)
_WINDOWS = (
    "on one thread 10 ms of the processor, Captum 270: 13 µs a copy, of which the second convolution is 2.5, at "
    "the rate of SGEMM, rows of the dense layer 2, pooling and listing what it changed 1. Half is not the kernel:"
    " turning the dense weights around 0.7 ms, the forward pass 0.5, and NumPy for seven batches of copies."
)
_SUBSETS = (
    "a random subset changes most of the image, so every copy is a forward pass of 24 MFLOP, as it is for the "
    "peer: the aim asks for three times the rate of SGEMM. On one thread a copy takes 0.35 ms of the processor, "
    "PyTorch's 0.57: 0.2 the second convolution, which skips the zeros of its input, 0.04 the dense layer, 0.02 "
    "the first convolution, 0.03 elementwise, the rest drawing and comparing. Tried: updates of the first layer "
    "save 1.6% of the operations; blocks of 15 and 60 copies in place of 30 take 20% longer, for the dense layer "
    "reads its weights more often, or values leave the caches."
)
_WALKS = (
    "each copy differs from the one before in one place: 24 µs of the processor a copy, where a whole pass takes "
    "350, of which the kernel that carries the change to the dense layer takes 14. A quarter are whole passes for"
    " the first copy of each walk of 64, the rest is NumPy that masks copies. Tried: walks of 32 and 16 copies in"
    " batches of 512 (20 and 60% longer)."
)
_SMALL_STEPS = (
    "on one thread 0.62 of Captum's time: 31% the second convolution, 22% its way back, 18% the dense layer, "
    "whose weights of 5 MB twelve copies meet at a time (forward at 80% of SGEMM, back at 40%), 15% passes over "
    "values, the rest what NumPy does between kernels. More copies at a time read the weights less often, and "
    "lose more to values that leave the caches."
)
_DEEP = (
    "as fast as its 50 gradients, of which four together read the dense weights once. Their products go through "
    "at 1.2 times the rate of SGEMM, for zeros are skipped. Eight together lose more to values that leave the "
    "caches."
)


def _convergence(starts):
    """z⁺ everywhere, where [sixt2020] finds convergence first; five vectors make ten pairs."""
    return {"methods": {"z_plus": ("lrp", {"rule": "z_plus"})}, "start": starts, "vectors": 5}


ROWS = {row.name: row for row in _rows()}
