#!/usr/bin/env bash
# What a machine with an NVIDIA GPU can show, in stages that each end within 9 minutes and go on where they stopped:
#
#   tests/gpu.sh build       the extension with CUDA kernels for this device, in an environment of its own, build/gpu/venv
#   tests/gpu.sh test        the parity tests, whole networks, and what is of the device itself
#   tests/gpu.sh sanitize    a part of them under compute-sanitizer: memcheck, racecheck, initcheck
#   tests/gpu.sh bench       time and bandwidth of the kernels, into bench/results/cuda
#
# Each prints a table of its steps. Exit code 0: all passed; 1: a step failed; 3: time is up, run it again.
# What is installed beside it is used as it is, and nothing is downloaded: numpy, scikit-build-core, pybind11, cmake,
# ninja and scipy-openblas64 to build; pytest, hypothesis and mpmath to test; nvcc on PATH. PYTHON names the interpreter.
# A step that passed is not run again until the sources change; rm -r build/gpu forgets everything.
set -uo pipefail
cd "$(dirname "$0")/.."

stage=${1:-}
limit=${GPU_SECONDS:-520}
venv=$PWD/build/gpu/venv
python=$venv/bin/python
state=$PWD/build/gpu/$stage
export PYTHONUNBUFFERED=1
sources=$(find csrc relprop pyref tests -type f \( -name '*.py' -o -name '*.cu*' -o -name '*.h' -o -name '*.cpp' -o -name '*.cmake' \) -print0 |
  sort -z | xargs -0 cat | sha256sum | cut -c1-16)

left() { echo $((limit - SECONDS)); }

# step NAME COMMAND...: run it within the time that is left, unless it passed before with the same sources.
step() {
  local name=$1 began=$SECONDS log="$state/$1.log" code
  shift
  if [ "$(cat "$state/$name.passed" 2>/dev/null)" = "$sources" ]; then
    rows+=("$name|passed before|")
    return 0
  fi
  if [ "$(left)" -lt 20 ]; then
    rows+=("$name|not begun|")
    unfinished=1
    return 0
  fi
  timeout "$(left)" "$@" >"$log" 2>&1
  code=$?
  if [ $code -eq 0 ]; then
    echo "$sources" >"$state/$name.passed"
    rows+=("$name|passed|$((SECONDS - began)) s  $(grep -E ' (passed|skipped)|kernels|ERROR SUMMARY' "$log" | tail -n 1)")
  elif [ $code -eq 124 ]; then
    rows+=("$name|time is up|$((SECONDS - began)) s")
    unfinished=1
  else
    rows+=("$name|FAILED|$((SECONDS - began)) s  see $log")
    failed=1
    tail -n 40 "$log"
  fi
}

close() {
  printf '\n%s on %s\n' "$stage" "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"
  printf '%s\n' "${rows[@]}" | awk -F'|' '{printf "  %-44s %-14s %s\n", $1, $2, $3}'
  [ "$failed" = 0 ] || exit 1
  [ "$unfinished" = 0 ] || { echo "time is up: run tests/gpu.sh $stage again"; exit 3; }
}

rows=() failed=0 unfinished=0
mkdir -p "$state"

# Without a device every test would be skipped, and that would look like success.
needs_device() {
  (cd / && "$python" -c 'import relprop.cuda as c; assert c.devices(), "no device: " + c.no_device()') || exit 1
}

# One process for each test file: what hangs or faults takes nothing else with it.
tests_of() { "$python" -m pytest -q -p no:cacheprovider -rs "$@"; }
export -f tests_of
export python

parity=(tests/test_parity*.py)

case $stage in
  build)
    # Where the compiler and the device are of one machine `native` is enough; GPU_ARCHITECTURE names another.
    step environment "${PYTHON:-python3}" -m venv --system-site-packages --without-pip "$venv"
    step extension env CMAKE_ARGS="-DRELPROP_CUDA=on -DRELPROP_CUDA_ARCHITECTURES=${GPU_ARCHITECTURE:-native}" \
      "$python" -m pip install --quiet --no-index --no-build-isolation --no-deps -Cbuild-dir=build/gpu/cmake -e .
    step device bash -c 'cd / && "$0" -c "
import relprop.cuda as c
assert c.devices(), c.no_device()
print(len(c.KERNELS), \"kernels for\", c.devices())"' "$python"
    ;;
  test)
    needs_device
    for file in "${parity[@]}" tests/test_device.py tests/test_cuda_network.py tests/test_capture.py; do
      step "$(basename "$file" .py)" bash -c 'tests_of "$@"' - "$file" -k "cuda and not emulated"
    done
    step test_cuda bash -c 'tests_of "$@"' - tests/test_cuda.py
    step test_cuda_recurrent bash -c 'tests_of "$@"' - tests/test_cuda_recurrent.py -k "cuda and not emulated"
    step synchronous env RELPROP_CUDA_SYNC=1 bash -c 'tests_of "$@"' - tests/test_parity.py -k "cuda and not emulated and epsilon"
    ;;
  sanitize)
    needs_device
    # Few examples: a kernel runs a hundred times slower here.
    export HYPOTHESIS_PROFILE=sanitize
    for tool in memcheck racecheck initcheck; do
      for file in "${parity[@]}" tests/test_device.py tests/test_capture.py; do
        step "$tool-$(basename "$file" .py)" compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
          "$python" -m pytest -q -p no:cacheprovider "$file" -k "cuda and not emulated and float32"
      done
    done
    ;;
  bench)
    needs_device
    step kernels "$python" -m bench.cuda_kernels --save bench/results/cuda
    ;;
  *)
    sed -n '2,12p' "$0"
    exit 2
    ;;
esac
close
