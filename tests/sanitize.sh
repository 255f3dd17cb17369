#!/usr/bin/env bash
# Kernels of the CPU under AddressSanitizer and UndefinedBehaviorSanitizer: builds tests/sanitize.cpp and runs it.
# Needs cmake, and a Python with scipy-openblas64: PYTHON=.venv/bin/python tests/sanitize.sh [where to build]
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/sanitize}
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DRELPROP_WERROR=ON -DRELPROP_SANITIZE=ON -DRELPROP_PORTABLE=ON \
  -DRELPROP_CUDA=off -DPython_EXECUTABLE="$(realpath -s "${PYTHON:-.venv/bin/python}")"
cmake --build "$build" --target relprop_sanitized --parallel 2
OMP_NUM_THREADS=2 "$build/relprop_sanitized"
