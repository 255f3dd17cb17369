#!/usr/bin/env bash
# What takes longer than a change should wait for: the thorough Hypothesis profile, all light models of
# ONNX against its evaluator, models exported from PyTorch in full size, and every statement on many networks.
# Run where relprop is installed with its `test` extra.
set -euo pipefail
cd "$(dirname "$0")/.."
RELPROP_LONG=1 HYPOTHESIS_PROFILE=thorough python -m pytest -n auto "$@"
relprop verify --cases 200
