#!/usr/bin/env bash
# What takes longer than a change should wait for: the thorough Hypothesis profile, and every statement on many networks.
# Run where relprop is installed with its `test` extra.
set -euo pipefail
cd "$(dirname "$0")/.."
HYPOTHESIS_PROFILE=thorough python -m pytest -n auto "$@"
relprop verify --cases 200
