"""ONNX Runtime, for forward passes: the same module of PyTorch, exported."""

import io

from bench.measure import Unavailable
from bench.torch_ import module, need

NAME = "ONNX Runtime"


def prepare(row):
    import os
    import warnings

    try:
        import onnxruntime
        import torch
    except ImportError as missing:
        raise Unavailable(f"{missing.name} is not installed") from None
    if row.method != "forward":
        raise Unavailable("ONNX Runtime has forward passes only")
    need("torch", torch)
    network = row.build()
    x = row.input(network)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module(network), (torch.from_numpy(x),), file, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]
