"""python -m bench.cuda_kernels: time, bandwidth and rate of each CUDA kernel on a device, beside what a copy reaches.

A row says how many bytes and floating point operations its work cannot do without; the fraction of the measured copy
bandwidth is the larger the closer a memory-bound kernel comes to the device. Calls are made on device arrays, one after
the other without waiting, and timed by the clock around a synchronisation.
"""

import json
import subprocess
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer

import pyref
import relprop
from bench import report
from relprop import cuda

RULES = {
    "epsilon": pyref.Epsilon(1e-6),
    "gamma": pyref.Gamma(),
    "alpha_beta": pyref.AlphaBeta(),
    "z_plus": pyref.ZPlus(),
    "flat": pyref.Flat(),
}


def array(*shape):
    rng = np.random.default_rng(len(shape))
    return cuda.to_device(rng.standard_normal(shape, np.float32))


def size(*shapes):
    return sum(4 * int(np.prod(s)) for s in shapes)


def elementwise():
    """(name, call, bytes, flops)"""
    shape, channels = (32, 64, 112, 112), (64,)
    z, G, scale, shift = array(*shape), array(*shape), array(*channels), array(*channels)
    yield "copy", lambda: cuda.activation_forward(z, pyref.Identity()), size(shape, shape), 0
    yield "relu", lambda: cuda.activation_forward(z, pyref.ReLU()), size(shape, shape), 0
    yield "gelu gradient", lambda: cuda.activation_gradient(z, pyref.GELU(), G), size(shape, shape, shape), 0
    yield "tanh ratio", lambda: cuda.activation_ratio(z, pyref.Tanh()), size(shape, shape), 0
    yield "batchnorm", lambda: cuda.batchnorm_forward(z, scale, shift), size(shape, shape), 0
    for name, rule in RULES.items():
        call = lambda rule=rule: cuda.batchnorm_relevance(z, scale, shift, G, rule)  # noqa: E731
        yield f"batchnorm {name}", call, size(shape, shape, shape), 0
    yield "add", lambda: cuda.add_forward((z, G)), size(shape, shape, shape), 0
    yield "multiply gradient", lambda: cuda.multiply_gradient((z, G), G), size(*[shape] * 4), 0
    yield "divide relevance", lambda: cuda.divide_relevance((z, G), G, "abs"), size(*[shape] * 5), 0


def averages():
    """Sums over boxes: each moves x, z and what is asked once."""
    for shape, kernel, stride, padding in (
        ((32, 64, 112, 112), 2, 2, 0),
        ((32, 64, 112, 112), 3, 2, 1),
        ((32, 2048, 7, 7), 7, 7, 0),
        ((8, 64, 224, 224), 224, 224, 0),
    ):
        x, of = array(*shape), (kernel, stride, padding)
        z = cuda.avg_pool_forward(x, *of)
        R, moved, name = array(*z.shape), size(shape, z.shape), f"avg_pool {kernel}/{stride} of {shape[2]}²"
        yield name, lambda x=x, of=of: cuda.avg_pool_forward(x, *of), moved, 0
        yield f"{name} gradient", lambda x=x, R=R, of=of: cuda.avg_pool_gradient(x, R, *of), moved, 0
        for rule in ("epsilon", "alpha_beta"):
            call = lambda x=x, R=R, z=z, of=of, rule=RULES[rule]: cuda.avg_pool_relevance(x, R, rule, *of, z=z)  # noqa: E731
            reads = 1 if rule == "epsilon" else 2  # of x: parts are summed before they are shared
            yield f"{name} {rule}", call, size(*[shape] * (reads + 1), z.shape, z.shape), 0
    for shape, axis in (((64, 4096, 256), 1), ((64, 197, 4096), 2), ((256, 64, 56, 56), (2, 3))):
        x = array(*shape)
        yield f"sum over {axis} of {shape}", lambda x=x, axis=axis: cuda.sum_forward(x, axis), size(shape), 0


def rows():
    """Softmax along either axis, and rows of a table."""
    for shape, axis in (((65536, 1000), 1), ((4096, 50257), 1), ((64, 21, 512, 512), 1)):
        x = array(*shape)
        yield f"softmax {axis} of {shape}", lambda x=x, axis=axis: cuda.softmax_forward(x, axis), size(shape, shape), 0
        call = lambda x=x, axis=axis: cuda.softmax_gradient(x, x, axis)  # noqa: E731
        yield f"softmax gradient {axis} of {shape}", call, size(shape, shape, shape), 0
    table, width, count = array(50257, 768), 768, 65536
    ids = cuda.to_device(np.random.default_rng(0).integers(0, 50257, size=count))
    yield "embedding", lambda: cuda.embedding_forward(ids, table), 8 * count + 2 * size((count, width)), 0


def each_precision():
    """Every way of forming products, and at last the one that it was before."""
    before = cuda.precision()
    for name in cuda.PRECISIONS:
        cuda.set_precision(name)
        yield name
    cuda.set_precision(before)


def dense():
    inputs = outputs = 4096
    w, b = array(inputs, outputs), array(outputs)
    for n in (1, 32, 512, 4096):
        x, R = array(n, inputs), array(n, outputs)
        z = cuda.dense_forward(x, w, b)
        moved, flops = size((inputs, outputs), (n, inputs), (n, outputs)), 2 * n * inputs * outputs
        for _ in each_precision():
            yield f"dense {n} in {cuda.precision()}", lambda x=x: cuda.dense_forward(x, w, b), moved, flops
        for name, rule in RULES.items():
            passes = {"epsilon": 1, "gamma": 3, "alpha_beta": 8, "z_plus": 4, "flat": 1}[name]
            call = lambda x=x, R=R, z=z, rule=rule: cuda.dense_relevance(x, w, b, R, rule, z)  # noqa: E731
            yield f"dense {n} {name}", call, moved, passes * flops


def conv():
    for n in (1, 32):
        for c, o, side in ((64, 64, 224), (128, 256, 56), (512, 512, 14)):
            x, w, R = array(n, c, side, side), array(o, c, 3, 3), array(n, o, side, side)
            z = cuda.conv_forward(x, w, None, 1, 1)
            moved = size((n, c, side, side), (o, c, 3, 3), (n, o, side, side))
            flops = 2 * n * o * side * side * c * 9
            for _ in each_precision():
                call = lambda x=x, w=w: cuda.conv_forward(x, w, None, 1, 1)  # noqa: E731
                yield f"conv {n}×{c}×{side}² in {cuda.precision()}", call, moved, flops
            for name in ("epsilon", "alpha_beta"):
                passes = {"epsilon": 1, "alpha_beta": 8}[name]
                call = lambda x=x, w=w, R=R, z=z, name=name: cuda.conv_relevance(  # noqa: E731
                    x, w, None, R, RULES[name], 1, 1, z=z
                )
                yield f"conv {n}×{c}×{side}² {name}", call, moved, passes * flops


def other_affine():
    """Maps that the kernels of convolutions serve too."""
    n, c, o, side = 32, 128, 64, 56
    x, w, R = array(n, c, side, side), array(c, o, 4, 4), array(n, o, 2 * side, 2 * side)
    z = cuda.conv_transpose_forward(x, w, None, 2, 1)
    moved, flops = size(x.shape, w.shape, R.shape), 2 * n * c * side * side * o * 16
    yield "conv_transpose", lambda: cuda.conv_transpose_forward(x, w, None, 2, 1), moved, flops
    for name, passes in (("epsilon", 1), ("alpha_beta", 8)):
        call = lambda name=name: cuda.conv_transpose_relevance(x, w, None, R, RULES[name], 2, 1, z=z)  # noqa: E731
        yield f"conv_transpose {name}", call, moved, passes * flops
    n, nodes, channels = 16, 2048, 128
    v, A, S = array(n, nodes, channels), array(nodes, nodes), array(n, nodes, channels)
    moved, flops = size(v.shape, A.shape, S.shape), 2 * n * nodes * nodes * channels
    yield "aggregate", lambda: cuda.aggregate_forward(v, A), moved, flops
    yield "aggregate z_plus", lambda: cuda.aggregate_relevance(v, A, S, RULES["z_plus"]), moved, 4 * flops


def recurrent(steps=500, inputs=64):
    """Bytes: what is read of the record and written of signals, once; FLOPs: the products of a pass."""
    for layer, gates, kept in (("lstm", 4, 6), ("gru", 3, 6)):
        for width in (64, 512):
            w_x, w_h, b = array(inputs, gates * width), array(width, gates * width), array(gates * width)
            w = (w_x, w_h, b, array(width)) if layer == "gru" else (w_x, w_h, b)
            forward, gradient, relevance, multiplier = (
                getattr(cuda, f"{layer}_{name}") for name in ("forward", "gradient", "relevance", "multiplier")
            )
            for n in (1, 16, 256):
                x, G = array(n, steps, inputs), array(n, steps, width)
                record = forward(x, *w)[1]
                one = size((n, steps, width))
                block = 2 * n * steps * width * (width + inputs)
                name, read = f"{layer}{width} {n}", size((n, steps, inputs)) + (gates + kept) * one
                yield f"{name}", lambda x=x, w=w, f=forward: f(x, *w), (2 * gates + 2) * one, gates * block
                call = lambda x=x, w=w, G=G, r=record, f=gradient: f(x, *w, G, record=r)  # noqa: E731
                yield f"{name} gradient", call, read + (gates + 1) * one, gates * block
                call = lambda x=x, w=w, G=G, r=record, f=relevance: f(x, *w, G, RULES["epsilon"], record=r)  # noqa: E731
                passes = 1 if layer == "lstm" else 2
                yield f"{name} LRP-all", call, read + 2 * one, passes * block
                call = lambda x=x, w=w, G=G, r=record, f=multiplier: f(x, *w, x, G, record=r, record0=r)  # noqa: E731
                yield f"{name} DeepLIFT", call, 2 * read + (gates + 1) * one, gates * block


def normalised():
    """Statistics of runs of values, and windows over channels: each moves what it reads and writes once."""
    for shape, weights in (((64, 197, 768), (768,)), ((8, 4096, 4096), (4096,))):
        x, w = array(*shape), array(*weights)
        yield f"layer_norm of {shape}", lambda x=x, w=w: cuda.layer_norm_forward(x, w, w), size(shape, shape), 0
        call = lambda x=x, w=w: cuda.layer_norm_gradient(x, w, w, x)  # noqa: E731
        yield f"layer_norm gradient of {shape}", call, size(shape, shape, shape), 0
        call = lambda x=x, w=w: cuda.layer_norm_relevance(x, w, w, x, RULES["epsilon"], z=x)  # noqa: E731
        yield f"layer_norm epsilon of {shape}", call, size(*[shape] * 5), 0  # x again for its scales, and the product's
    shape = (32, 64, 112, 112)
    x, w = array(*shape), array(shape[1])
    yield "group_norm 32", lambda: cuda.group_norm_forward(x, w, w, 32), size(shape, shape), 0
    yield "local_response_norm", lambda: cuda.local_response_norm_forward(x, 5), size(shape, shape), 0
    small, large = (32, 64, 56, 56), (32, 64, 112, 112)
    v, G = array(*small), array(*large)
    for mode in ("nearest", "bilinear"):
        call = lambda mode=mode: cuda.upsample_forward(v, large[2:], mode)  # noqa: E731
        yield f"upsample {mode}", call, size(small, large), 0
        call = lambda mode=mode: cuda.upsample_gradient(v, large[2:], G, mode)  # noqa: E731
        yield f"upsample {mode} gradient", call, size(small, large), 0


SINGLE_BACKWARD = {
    "gradient": {},
    "gradient_times_input": {},
    "saliency": {},
    "guided_backprop": {},
    "deconvnet": {},
    "lrp": {"rule": "epsilon_plus"},
    "deep_taylor": {"low": -9.0, "high": 9.0},
    "deeplift": {},
}


def latency():
    """One digit from host memory and its attribution back, call by call and as one graph: end to end, with waits."""
    network, (images, _) = relprop.zoo("digits-cnn-relu"), relprop.digits()
    x = images[:1].astype(np.float32)
    for method, options in SINGLE_BACKWARD.items():
        call = lambda method=method, options=options: relprop.explain(  # noqa: E731
            network, x, method, backend="cuda", progress=False, **options
        )
        yield f"digits CNN {method}", call, 0, 0
        recorded = relprop.compile(network, x, method, backend="cuda", graph=True, **options)
        yield f"digits CNN {method}, one graph", lambda recorded=recorded: recorded(x), 0, 0


def seconds(call, least=0.2):
    """Of one call: the best of three runs that last at least so long."""
    call()
    cuda.synchronize()
    best, count = float("inf"), 1
    for _ in range(3):
        while True:
            began = perf_counter()
            for _ in range(count):
                call()
            cuda.synchronize()
            took = perf_counter() - began
            if took >= least:
                break
            count *= 2
        best = min(best, took / count)
    return best


def main(save: Annotated[str, typer.Option(help="Folder for the results")] = ""):
    """Measure every row and print a table."""
    if not cuda.devices():
        raise typer.BadParameter(f"no device ({cuda.no_device()})")
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True
    ).stdout.strip()
    results, copy = [], None
    for group in (elementwise, averages, rows, normalised, dense, conv, other_affine, recurrent, latency):
        for name, call, moved, flops in group():
            time = seconds(call)
            copy = copy or moved / time
            row = {"name": name, "seconds": time, "bytes": moved, "flops": flops, "of copy": moved / time / copy}
            results.append(row)
            bandwidth, rate = moved / time / 1e9, flops / time / 1e12
            print(f"{name:<32} {time * 1e6:10.1f} µs {bandwidth:8.0f} GB/s {row['of copy']:6.2f} {rate:8.2f} TFLOP/s")
    print(f"{len(results)} kernels on {driver}")
    if save:
        folder = Path(save)
        folder.mkdir(parents=True, exist_ok=True)
        result = {"device": driver, "machine": report.machine(), "rows": results}
        (folder / f"{driver.split(',')[0].replace(' ', '-').lower()}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
