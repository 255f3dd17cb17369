"""The laws of the house that no import contract can see: lists, stems, names, docstrings, and who states a formula."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

import pytest

import pyref
from relprop import _core

ROOT = Path(__file__).parents[1]
PYREF = sorted((ROOT / "pyref").rglob("*.py"))
RELPROP = sorted((ROOT / "relprop").rglob("*.py"))
CSRC = sorted(p for p in (ROOT / "csrc").rglob("*") if p.suffix in {".h", ".cuh", ".cpp", ".cu"})


def shown(path):
    return str(path.relative_to(ROOT))


# ---- one table, the same in both languages ----


def test_the_rule_lists_are_equal():
    """Names and their order, fields and their order, on both sides. (Parts under every option: test_formula.)"""
    compiled = {name: names for name, _, names in _core.rule_list()}
    assert list(compiled) == list(pyref.RULES)
    for name, rule in pyref.RULES.items():
        assert compiled[name] == tuple(f.name for f in fields(rule))
        assert rule.name == name


def test_the_activation_lists_are_equal():
    compiled = dict(_core.activation_list())
    assert list(compiled) == list(pyref.ACTIVATIONS)
    for name, activation in pyref.ACTIVATIONS.items():
        assert compiled[name] == tuple(f.name for f in fields(activation))


def test_the_stub_of_the_extension_is_complete():
    tree = ast.parse((ROOT / "relprop" / "_core.pyi").read_text())
    stated = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    stated |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
    real = {n for n in dir(_core) if not n.startswith("__") or n == "__version__"}
    assert stated == real


# ---- stems and names ----

# What no textbook states: the host/device macro, the list itself, exp and its kin, and what NumPy computes for it.
MACHINE_ONLY = {"hd", "all", "elementary", "arithmetic", "fold"}


def strays(csrc, reference):
    """Files of csrc whose stem no file of the reference has."""
    stems = {p.stem for p in reference}
    return [p for p in csrc if p.parts[0] not in {"bind", "machine"} and p.stem not in stems | MACHINE_ONLY]


def test_every_stem_of_csrc_exists_in_pyref():
    """One stem in every folder. bind/ and include/ are doors, named after what they open; machine/ is the host's."""
    kernels = [p.relative_to(ROOT / "csrc") for p in CSRC if "include" not in p.parts]
    assert Path("math/rules/gamma.h") in kernels
    assert strays(kernels, PYREF) == []
    assert strays([Path("cuda/dense2.cu")], PYREF) == [Path("cuda/dense2.cu")]


def test_every_listed_rule_has_its_file_on_both_sides():
    for name in set(pyref.RULES):
        assert (ROOT / f"pyref/rules/{name}.py").exists()
        assert (ROOT / f"csrc/math/rules/{name}.h").exists()


def test_no_drawer():
    """Words that name no room: a file that wants one of them is two files."""
    drawers = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}
    tops = ("pyref", "relprop", "csrc", "tests", "bench", "docs", "examples", ".ci")
    files = [p for top in tops for p in (ROOT / top).rglob("*") if "__pycache__" not in p.parts]
    assert len(files) > 20
    assert [shown(p) for p in files if drawers & set(re.split(r"[_\W]+", p.stem.lower()))] == []


# ---- pyref is NumPy and nothing else ----


def imported(source):
    """Top-level packages that a module imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.split(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0] if node.module and not node.level else "pyref"


def test_pyref_imports_numpy_and_the_standard_library():
    allowed = {"numpy", "pyref", *sys.stdlib_module_names}
    for path in PYREF:
        assert set(imported(path.read_text())) <= allowed, shown(path)
    assert set(imported("import numpy\ndef f():\n    from scipy.special import erf")) == {"numpy", "scipy"}


def test_compiled_code_has_one_door():
    """Only modules of relprop itself open relprop._core, and nothing loads a library in any other way."""
    openers = [shown(p) for p in [*PYREF, *RELPROP] if re.search(r"(?<!numpy\.)_core", p.read_text())]
    assert "relprop/__init__.py" in openers
    assert [p for p in openers if Path(p).parent != Path("relprop")] == []
    loaders = {"ctypes", "cffi", "numba", "pythran", "cython"}
    assert [shown(p) for p in [*PYREF, *RELPROP] if loaders & set(imported(p.read_text()))] == []


def public():
    """(name, object) of pyref's functions and classes."""
    named = ((name, getattr(pyref, name)) for name in pyref.__all__)
    return [(name, value) for name, value in named if inspect.isfunction(value) or inspect.isclass(value)]


def test_all_is_what_pyref_offers():
    assert len(set(pyref.__all__)) == len(pyref.__all__)
    assert all(hasattr(pyref, name) for name in pyref.__all__)


@pytest.mark.parametrize(("name", "value"), public(), ids=[name for name, _ in public()])
def test_every_public_name_is_described(name, value):
    """A dataclass without a docstring is given its signature as one, which describes nothing."""
    assert value.__doc__ and not value.__doc__.startswith(f"{name}("), name


KEY = re.compile(r"\[([a-z]+[12]\d{3}[a-z]?)\]")


def test_every_source_that_is_cited_is_listed():
    listed = set(KEY.findall((ROOT / "pyref/REFERENCES.md").read_text()))
    cited = {(key, shown(p)) for p in [*PYREF, *RELPROP, *CSRC] for key in KEY.findall(p.read_text())}
    assert len(cited) > 10
    assert sorted((key, where) for key, where in cited if key not in listed) == []


def modules():
    return ["pyref", *(m.name for m in pkgutil.walk_packages(pyref.__path__, "pyref."))]


@pytest.mark.parametrize("module", modules())
def test_every_example_prints_what_it_says(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


# ---- tolerances are derived, not chosen ----

TOLERANCE = re.compile(r"\b(?:[ar]tol\s*=|approx\()")


def test_tolerances_come_from_bound():
    found = [shown(p) for p in sorted((ROOT / "tests").glob("*.py")) if TOLERANCE.search(p.read_text())]
    assert [f for f in found if f != "tests/bound.py"] == []
    assert TOLERANCE.search("np.testing.assert_allclose(a, b, r" + "tol=0.1)")


# ---- a formula is stated twice, in pyref and in csrc/math, and never a third time ----

# In a schedule or a binding: a mathematical function, or a number that is not an integer.
C_FORMULA = re.compile(
    r"\b(?:std::|::)?(?:sqrt|cbrt|exp|exp2|expm1|log|log2|log1p|pow|tanh|sinh|cosh|sin|cos|tan|atan2?|erfc?|hypot|"
    r"fabs|fmin|fmax|copysign|rsqrt|__fdividef|__expf|__logf)f?\s*\(|\b\d+\.\d*(?:e[+-]?\d+)?f?\b|\b\d+e-\d+f?\b"
)
C_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", re.DOTALL)


def c_formulas(source):
    """What a schedule must not hold; comments and strings may say anything."""
    return C_FORMULA.findall(C_COMMENT.sub("", source))


@pytest.mark.parametrize(
    ("line", "is_formula"),
    [
        ("s[o] = R[o] / (z[o] + 1e-6f);", True),
        ("a[i] = std::exp(z[i]);", True),
        ("r += x * expf(s);", True),
        ("half = 0.5 * z;", True),
        ("for (long o = 0; o < n; ++o) r[i] += w[i * n + o] * s[o];  // exp(z) / 2.0", False),
        ('rule.split(R[o], z, e, s); check(status, "exp(1.5)");', False),
    ],
)
def test_the_schedule_check_bites(line, is_formula):
    assert bool(c_formulas(line)) == is_formula


def test_schedules_and_bindings_hold_no_formula():
    found = {shown(p): c_formulas(p.read_text()) for p in CSRC if p.parts[-2] in {"cpu", "cuda", "bind"}}
    assert "csrc/bind/rules.cpp" in found
    assert {path: hits for path, hits in found.items() if hits} == {}


TRANSCENDENTAL = {"exp", "exp2", "expm1", "log", "log2", "log1p", "logaddexp", "tanh", "sinh", "cosh", "erf", "erfc"}
ELEMENTWISE = TRANSCENDENTAL | {"sqrt", "abs", "absolute", "sign", "maximum", "minimum", "where", "clip", "square"}
SIZE = 4  # operations: below it two papers may well share a line, such as (a - b) / (c - d)


def called(node):
    """The last word of what a call calls: np.tanh and torch.tanh are both tanh."""
    f = node.func
    return f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""


def shape_of(node):
    """(a formula up to the names in it and the order of + and *, its number of operations)."""
    if isinstance(node, ast.BinOp):
        (a, n), (b, m) = shape_of(node.left), shape_of(node.right)
        if isinstance(node.op, ast.Add | ast.Mult):
            a, b = sorted((a, b))
        return f"({a} {type(node.op).__name__} {b})", n + m + 1
    if isinstance(node, ast.UnaryOp):
        a, n = shape_of(node.operand)
        return f"{type(node.op).__name__} {a}", n + 1
    if isinstance(node, ast.Compare):
        parts = [shape_of(v) for v in (node.left, *node.comparators)]
        signs = " ".join(type(op).__name__ for op in node.ops)
        return f"({signs} {' '.join(p for p, _ in parts)})", sum(n for _, n in parts) + 1
    if isinstance(node, ast.Call) and called(node) in ELEMENTWISE:
        parts = [shape_of(v) for v in node.args]
        return f"{called(node)}({', '.join(p for p, _ in parts)})", sum(n for _, n in parts) + 1
    if isinstance(node, ast.Constant):
        return repr(node.value), 0
    return "·", 0


def is_formula(node):
    """Divides, raises to a power, or calls an elementwise function; // and % are the arithmetic of shapes."""
    return any(
        (isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div | ast.Pow))
        or (isinstance(n, ast.Call) and called(n) in ELEMENTWISE)
        for n in ast.walk(node)
    )


def formulas(source):
    """{shape: first line} of every formula in a Python source, parts of formulas included."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr):
            shape, size = shape_of(node)
            if size >= SIZE and is_formula(node):
                found.setdefault(shape, node.lineno)
    return found


def stated_more_than_once(sources):
    """[(shape, places)] of formulas that several files state."""
    places = defaultdict(list)
    for name, source in sources.items():
        for shape, line in formulas(source).items():
            places[shape].append(f"{name}:{line}")
    return sorted((shape, where) for shape, where in places.items() if len(where) > 1)


def test_a_formula_has_one_home_in_python():
    """No two files of pyref and relprop state the same formula.

    Caught: an expression of four operations or more, with a division, a power or an elementwise function in
    it, that appears in two files, whatever its variables are called, whichever library's function it calls and
    in whatever order it adds and multiplies. Not caught: the same mathematics in another algebraic form, or
    taken apart into several lines. Tests are free to state a formula again: that is what an oracle is.
    """
    assert stated_more_than_once({shown(p): p.read_text() for p in [*PYREF, *RELPROP]}) == []


def test_relprop_adds_no_mathematics():
    """No transcendental function in relprop: an activation or a path is pyref's, or csrc/math's, to state."""
    for path in RELPROP:
        calls = {called(n) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
        assert not calls & TRANSCENDENTAL, shown(path)


@pytest.mark.parametrize(
    "again",
    [
        "s = R / np.where(z >= 0, z + e, z - e)",
        "def f(relevance, total, eps):\n    return relevance / torch.where(total >= 0, eps + total, total - eps)",
    ],
)
def test_the_formula_check_bites(again):
    """A stabilised share, stated a second time under other names and in another order; a smaller one is let be."""
    first = "def share(R, z, epsilon):\n    return R / np.where(z >= 0, z + epsilon, z - epsilon)"
    assert stated_more_than_once({"pyref/one.py": first, "relprop/two.py": again})
    other = "s = R / np.where(z > 0, z + e, z - e)"
    assert not any("Div" in s for s, _ in stated_more_than_once({"pyref/one.py": first, "relprop/two.py": other}))
    shapes = "n = (size + 2 * pad - (k - 1) * d - 1) // stride + 1"
    assert not stated_more_than_once({"a.py": shapes, "b.py": shapes})
