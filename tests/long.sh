#!/usr/bin/env bash
# What takes longer than a change should wait for: the thorough Hypothesis profile, all light models of
# ONNX against its evaluator, models exported from PyTorch in full size, every statement on many networks, and ten
# minutes of coverage-guided fuzzing. Run where relprop is installed with its extras `test` and `fuzz`.
set -euo pipefail
cd "$(dirname "$0")/.."
RELPROP_LONG=1 HYPOTHESIS_PROFILE=thorough python -m pytest -n auto "$@"
relprop verify --cases 200
python tests/fuzz.py onnx --seconds 400
python tests/fuzz.py native --seconds 200
