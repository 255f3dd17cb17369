"""The build chain: what an import says where the extension is missing, stale or not needed, and the headers."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import relprop
from relprop import _core

ROOT = Path(__file__).parents[1]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror"]

# Every function of every rule and activation, in both precisions, reachable from device code.
PROBE = """
#include "math/pool.h"
#include "math/recurrent.h"
#include "relprop/activation.h"
#include "relprop/rules.h"
using namespace relprop::math;
template <class T, template <class> class Rule>
HD void touch(T* v) {
  Rule<T> rule{};
  T z[8] = {}, s[8], e[2] = {};
  for (int p = 0; p < rule.parts(); ++p)
    if constexpr (Rule<T>::max_parts > 0) {
      v[0] += rule.input_part(p, v[1]) * rule.weight_part(p, v[2]) + rule.bias_part(p, v[3]);
      rule.split(v[0], z, e, s);
      rule.kept(v[0], z, e, v[1], v[2]);
      v[3] += s[0] + acting_epsilon(rule.epsilon, rule.stabilizer, rule.denominator(0, z)) + T(rule.has_input(p));
    }
}
template <class T, template <class> class Activation>
HD void touch_activation(T* v) {
  const Activation<T> f{};
  v[0] += f.value(v[1]) + f.derivative(v[2]) + f.quotient(v[1], v[2]) + activation_ratio(f, v[1], v[3]);
  v[0] += guided(f, v[1], v[2]) + rectified(f, v[1], v[2]) + T(f.zero_at_zero());
}
template <class T>
HD void touch_products(T* v) {
  product_relevance(v[0], v[1], v[2], Gate::prop, v[3], v[4], v[5]);
  product_multiplier(v[0], v[1], v[2], v[3], Product::symmetric, v[4], v[5]);
  v[0] = pool_multiplier(pool_rise(v[0], v[1]), pool_fall(v[0], v[1]), v[2], v[3]);
}
#ifdef __CUDACC__
#define ENTRY __global__
#else
#define ENTRY
#endif
#define TOUCH(Rule) touch<float, Rule>(f); touch<double, Rule>(d);
#define TOUCH_ACTIVATION(A) touch_activation<float, A>(f); touch_activation<double, A>(d);
ENTRY void probe(float* f, double* d) {
  FOR_EACH_RULE(TOUCH)
  FOR_EACH_ACTIVATION(TOUCH_ACTIVATION)
  touch_products(f);
  touch_products(d);
}
"""


def python(code, *paths):
    """Run code with nothing on the path but what is named: no site-packages, no editable finder."""
    prelude = f"import sys; sys.path[:0] = {[str(p) for p in paths]!r}\n"
    return subprocess.run([sys.executable, "-I", "-S", "-c", prelude + code], capture_output=True, text=True)


def source_tree(tmp_path, **modules):
    """relprop's door alone in a folder, with given modules beside it."""
    package = tmp_path / "relprop"
    package.mkdir()
    shutil.copy(ROOT / "relprop" / "__init__.py", package)
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    return tmp_path


def test_a_source_tree_without_the_extension_says_what_to_do(tmp_path):
    run = python("import relprop", source_tree(tmp_path))
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1
    assert last.startswith("ImportError: relprop's compiled extension relprop._core was not found next to")
    assert str(tmp_path / "relprop") in last and "pip install -e ." in last


def test_an_extension_of_another_version_is_refused(tmp_path):
    run = python("import relprop", source_tree(tmp_path, _core="__version__ = '0.0.0'"))
    assert run.returncode == 1
    assert "was built for 0.0.0; install the project again" in run.stderr


def test_an_extension_that_does_not_load_keeps_its_own_words(tmp_path):
    run = python("import relprop", source_tree(tmp_path, _core="raise ImportError('libgomp.so.1: cannot open')"))
    assert run.stderr.strip().endswith("ImportError: libgomp.so.1: cannot open")


def test_pyref_needs_nothing_but_numpy():
    code = """
import pyref
ours = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(n for n in ours if not n.startswith("_")))
"""
    run = python(code, ROOT, Path(np.__file__).parents[1])
    assert run.stdout.strip() == "['numpy', 'pyref']", run.stderr


def test_the_extension_was_built_from_these_sources():
    """Otherwise every comparison with it is about other code: pip install -e . again."""
    sources = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "csrc").rglob("*") if p.is_file())
    lines = "".join(f"{s} {hashlib.sha256((ROOT / s).read_bytes()).hexdigest()}\n" for s in sources)
    assert _core.source_digest == hashlib.sha256(lines.encode()).hexdigest()
    assert _core.__version__ == relprop.__version__


@pytest.mark.skipif(not shutil.which("c++"), reason="no C++ compiler")
def test_each_header_stands_by_itself(tmp_path):
    """Any header may be included alone, or twice, without a warning."""
    headers = sorted(str(p.relative_to(ROOT / "csrc")) for p in (ROOT / "csrc/math").rglob("*.h"))
    assert "math/rules/gamma.h" in headers
    for i, header in enumerate(headers):
        (tmp_path / f"{i}.cpp").write_text(f'#include "{header}"\n#include "{header}"\n')
    (tmp_path / "probe.cpp").write_text(PROBE)
    command = ["c++", "-std=c++17", "-fsyntax-only", *WARNINGS, f"-I{ROOT}/csrc", f"-I{ROOT}/csrc/include"]
    run = subprocess.run([*command, *map(str, sorted(tmp_path.glob("*.cpp")))], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc: the headers are not compiled for a device")
def test_the_headers_are_device_code(tmp_path):
    """A forgotten HD is a warning to nvcc unless it is told otherwise."""
    source = tmp_path / "probe.cu"
    command = ["nvcc", "-std=c++17", "-arch=sm_80", "--Werror", "cross-execution-space-call", "-cubin"]
    command += [f"-I{ROOT}/csrc", f"-I{ROOT}/csrc/include", "-o", str(tmp_path / "probe.cubin"), str(source)]
    source.write_text(PROBE)
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    source.write_text(PROBE.replace("HD void touch(", "void touch("))
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0
