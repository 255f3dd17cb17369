"""PyTorch's plain gradient, whatever the row asks: what one forward and one backward pass cost there."""

from dataclasses import replace

from bench import torch_

NAME = "PyTorch's gradient"
COMPARABLE = False  # its values answer another question


def prepare(row):
    return torch_.prepare(replace(row, method="gradient_times_input", options={}))
