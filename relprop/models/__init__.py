"""Networks from files, from other libraries, and those that ship inside the package."""

from pathlib import Path

__all__ = ["load"]


def load(path, **options):
    """Read a network from a file: the project's own, or an ONNX model.

    Parameters
        options  of the reader: `dtype` of `relprop.models.native.load` for a .safetensors file; `shapes` and
                 `batch_axis` of `relprop.models.onnx.load` for an .onnx file
    Raises
        ValueError  a file that is damaged, of another kind, or holds what there is no layer for.
        OSError     a file that cannot be read.
    Example
        >>> relprop.load("model.onnx")                                            # doctest: +SKIP
        >>> relprop.load("lstm.onnx", batch_axis=1, shapes={"x": (20, None, 8)})  # doctest: +SKIP
    """
    from relprop.models import native, onnx

    return (onnx if _is_onnx(path) else native).load(path, **options)


def _is_onnx(path):
    """By its name; or by its first bytes: a protocol buffer whose first field is ir_version."""
    if Path(path).suffix in (".onnx", ".safetensors"):
        return Path(path).suffix == ".onnx"
    with open(path, "rb") as file:
        start = file.read(9)
    return start[:1] == b"\x08" and start[8:] != b"{"
