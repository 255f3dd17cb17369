"""The command line, as people use it: what it prints and writes, its exit codes, and its one-line errors."""

import json
import subprocess
import sys

import numpy as np
import pytest
from cases import NETWORK, X
from PIL import Image

import pyref
import relprop
import relprop.cpu
from relprop import cli, demo
from relprop.source import open_input, open_model

COMMANDS = ("demo", "explain", "verify", "report", "methods", "metrics", "info")
RNG = np.random.default_rng(4)


@pytest.fixture
def model(tmp_path):
    """A model file."""
    relprop.save(NETWORK, tmp_path / "small.safetensors")
    return str(tmp_path / "small.safetensors")


@pytest.fixture
def batch(tmp_path):
    """An input file."""
    np.save(tmp_path / "x.npy", X)
    return str(tmp_path / "x.npy")


def ran(capsys, *argv):
    """(exit code, what went to stdout, what went to stderr)."""
    code = cli.run(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def printed_json(capsys, *argv):
    code, out, err = ran(capsys, *argv, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(capsys, command):
    code, out, _ = ran(capsys, command, "--help")
    assert code == 0
    assert f"Example:  relprop {command}" in " ".join(out.split("\n")).replace("│", "")
    assert "--json" in out


def test_help_names_the_commands(capsys):
    code, out, _ = ran(capsys, "--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    assert "--debug" in out


def test_version(capsys):
    assert ran(capsys, "--version") == (0, relprop.__version__ + "\n", "")


# ── explain ────────────────────────────────────────────────────────────────────────────────────────────


def test_explain_prints_output_residual_and_the_largest_attributions(capsys, model, batch):
    about = printed_json(capsys, "explain", model, batch, "--method", "deeplift", "--target", "2", "--top", "2")
    a = relprop.explain(NETWORK, X, "deeplift", 2)
    assert [s["output"] for s in about["samples"]] == list(a.output)
    assert [s["residual"] for s in about["samples"]] == list(a.delta)
    assert [s["predicts"] for s in about["samples"]] == list(NETWORK(X).argmax(axis=1))
    sizes = np.sort(np.abs(a.values), axis=None)[::-1][:2]
    assert [abs(t["value"]) for t in about["top"]] == list(sizes)
    assert a.values[tuple(about["top"][0]["index"])] == about["top"][0]["value"]
    assert about["files"] == []


def test_explain_takes_a_rule_and_its_options(capsys, tmp_path, model, batch):
    out = tmp_path / "r.npy"
    argv = ("explain", model, batch, "--rule", "epsilon", "--option", "epsilon=0.5", "--option", "bias=ignore")
    code, text, _ = ran(capsys, *argv, "--save", str(out), "--ledger")
    assert code == 0
    assert (np.load(out) == relprop.explain(NETWORK, X, rule="epsilon", epsilon=0.5, bias="ignore").values).all()
    assert "stabilizer" in text
    assert f"written: {out}" in text


def test_explain_draws_and_keeps_everything(capsys, tmp_path, model, batch):
    png, npz = tmp_path / "r.png", tmp_path / "r.npz"
    about = printed_json(capsys, "explain", model, batch, "--plot", str(png), "--save", str(npz), "--ledger")
    assert about["files"] == [str(npz), str(png)]
    assert [row["node"] for row in about["ledger"]] == ["dense2", "tanh1", "dense1"]
    with Image.open(png) as image:
        assert image.width > 100
    assert "bias/dense1" in np.load(npz)


def test_explain_says_where_no_sum_is_promised(capsys, model, batch):
    code, out, _ = ran(capsys, "explain", model, batch, "--method", "saliency", "--ledger")
    assert code == 0
    assert "promises no sum" in out
    assert "no ledger" in out


def test_explain_reads_one_sample_without_its_batch_axis(capsys, tmp_path, model):
    np.save(tmp_path / "one.npy", X[0])
    about = printed_json(capsys, "explain", model, str(tmp_path / "one.npy"))
    assert len(about["samples"]) == 1


def test_a_state_dict_is_a_model_of_its_architecture(capsys, tmp_path):
    from safetensors.numpy import save_file

    from relprop.models.architectures import parameter_shapes

    state = {n: RNG.normal(size=shape).astype(np.float32) for n, shape in parameter_shapes("mnist_mlp").items()}
    save_file(state, tmp_path / "weights.safetensors")
    named = f"mnist_mlp:{tmp_path / 'weights.safetensors'}"
    x = RNG.normal(size=(2, 784)).astype(np.float32)
    assert np.array_equal(open_model(named)(x), relprop.build("mnist_mlp", weights=state)(x))
    np.save(tmp_path / "x.npy", x)
    assert ran(capsys, "explain", named, str(tmp_path / "x.npy"), "--rule", "epsilon")[0] == 0
    code, _, err = ran(capsys, "explain", named.replace("mlp", "cnn"), str(tmp_path / "x.npy"))
    assert code == 1 and "weights.safetensors" in err and err.count("\n") == 1
    with pytest.raises(ValueError, match=r"there is no file none\.pth with weights of vgg16"):
        open_model("vgg16:none.pth")


def test_images_are_scaled_to_the_range_of_the_network(tmp_path):
    network = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(RNG.normal(size=(12, 2)))], shape=(1, 3, 4))
    colour = pyref.Network.sequential([pyref.Flatten(), pyref.Dense(RNG.normal(size=(36, 2)))], shape=(3, 3, 4))
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 23
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.kron(pixels, np.ones((2, 2), np.uint8))).save(tmp_path / "big.png")
    path = str(tmp_path / "a.png")
    assert (open_input(path, network) == (-1 + 2 * (pixels / 255))[None, None]).all()
    assert (open_input(path, network, low=0, high=1, invert=True) == (1 - pixels / 255)[None, None]).all()
    assert (open_input(path, colour, low=0, high=1)[0, 2] == pixels / 255).all()
    with pytest.raises(ValueError, match=r"is 8 × 6 pixels, the model reads 4 × 3; pass --resize"):
        open_input(str(tmp_path / "big.png"), network)
    assert open_input(str(tmp_path / "big.png"), network, resize=True).shape == (1, 1, 3, 4)


def test_patterns_are_learnt_from_the_inputs_that_fit_names(capsys, tmp_path):
    images, _ = relprop.digits()
    network = relprop.zoo("digits-cnn-relu")
    patterns = pyref.fit_patterns(network, [images[:100], images[100:]], backend=relprop.cpu)
    a = relprop.explain(network, images[17:18], "pattern_attribution", patterns=patterns)
    out = tmp_path / "out.npy"
    argv = ("explain", "digits-cnn-relu", "digits:17", "--method", "pattern_attribution", "--fit", "digits")
    printed_json(capsys, *argv, "--save", str(out))
    values = np.load(out)
    assert (values == a.values).all()
    assert values.any()


def test_a_shipped_digit_is_explained(capsys, tmp_path):
    about = printed_json(capsys, "explain", "digits-cnn-relu", "digits:17", "--rule", "epsilon_plus")
    _, labels = relprop.digits()
    assert about["samples"][0]["predicts"] == labels[17]
    assert about["model"] == "digits-cnn-relu"


@pytest.mark.parametrize("method", pyref.METHODS)
def test_every_method_is_within_reach_or_says_what_it_lacks(capsys, tmp_path, method):
    argv = ["explain", "digits-mlp-relu", "digits:3", "--method", method, "--json", "--plot", str(tmp_path / "a.png")]
    code, out, err = ran(capsys, *argv)
    if code == 0:
        about = json.loads(out)
        assert about["method"] == method
        assert len(out) < 5000, "settings are said in few words"
        assert (tmp_path / "a.png").is_file()
    else:
        words = {"pattern": "needs the option 'patterns'", "grad_cam": "convolution", "excitation": "clip"}
        assert any(key in method and text in err for key, text in words.items()), err


# ── verify ─────────────────────────────────────────────────────────────────────────────────────────────


def test_verify_says_what_holds(capsys):
    about = printed_json(capsys, "verify", "--only", "A10", "--cases", "2")
    assert about["ok"]
    assert [row["id"] for row in about["rows"]] == ["A10"]
    code, out, _ = ran(capsys, "verify", "--only", "A10", "--cases", "2")
    assert code == 0
    assert "holds" in out
    assert "1 of 1 hold; 2 cases, seed 0" in out


def test_verify_exits_with_1_if_a_statement_fails_or_a_falsifier_does_not_bite(capsys, monkeypatch):
    from pyref import theorems
    from pyref.theorems import Case, Outcome, Theorem

    def made(id, statement, falsifier):
        cases = (Case("outside", lambda draw: Outcome(falsifier)),)
        return Theorem(id, "one is one", "[nobody]", "exact", lambda draw: Outcome(statement), cases)

    table = {"Z1": made("Z1", 0, 1), "Z2": made("Z2", 1, 1), "Z3": made("Z3", 0, 0)}
    monkeypatch.setattr(theorems, "THEOREMS", table)
    assert ran(capsys, "verify", "--only", "Z1")[0] == 0
    for only, words in (("Z2", "residual 1"), ("Z3", "falsifier does not bite: outside")):
        code, out, _ = ran(capsys, "verify", "--only", only)
        assert code == 1
        assert "FAILS" in out
        assert words in out
    assert ran(capsys, "verify", "--json")[0] == 1


# ── methods, metrics, info ──────────────────────────────────────────────────────────────────────────────────────


def test_methods_lists_every_table(capsys):
    tables = printed_json(capsys, "methods")
    assert [row["name"] for row in tables["methods"]] == list(pyref.METHODS)
    assert [row["name"] for row in tables["rules"]] == list(pyref.RULES)
    assert [row["name"] for row in tables["composites"]] == list(pyref.COMPOSITES)
    assert [row["layer"] for row in tables["layers"]] == list(pyref.LAYERS)
    code, out, _ = ran(capsys, "methods")
    assert code == 0
    assert all(name in out for name in (*pyref.METHODS, *pyref.RULES, *pyref.LAYERS))


def test_metrics_lists_the_table(capsys):
    rows = printed_json(capsys, "metrics")
    assert [row["name"] for row in rows] == list(pyref.METRICS)
    assert all(row["equation"] and row["better"] and row["source"] for row in rows)
    code, out, _ = ran(capsys, "metrics")
    assert code == 0
    assert all(name in out for name in pyref.METRICS)


def test_info_says_what_was_built(capsys):
    about = printed_json(capsys, "info")
    assert about["versions"]["relprop"] == relprop.__version__
    assert about["backends"]["pyref"].startswith("built")
    assert about["built"]["CUDA kernels"] == relprop._core.cuda_build
    assert about["backends"]["cuda"].startswith("built" if relprop._core.cuda else "not built: RELPROP_CUDA=")
    assert "digits-cnn-relu" in about["models"]
    assert ran(capsys, "info")[0] == 0


# ── demo ───────────────────────────────────────────────────────────────────────────────────────────────


def test_demo_writes_a_picture_and_numbers_and_says_where(capsys, tmp_path):
    code, out, err = ran(capsys, "demo", "--out", str(tmp_path), "--network", "mlp", "--count", "20")
    assert (code, err) == (0, "")
    assert f"Picture: {tmp_path / 'demo.png'}" in out
    assert f"Numbers: {tmp_path / 'demo.json'}" in out
    with Image.open(tmp_path / "demo.png") as image:
        assert image.width > 1000
    numbers = json.loads((tmp_path / "demo.json").read_text())
    methods = {row["method"]: row for row in numbers["methods"]}
    assert list(methods) == list(demo.METHODS)
    for row in methods.values():
        assert list(row["cells"]) == list(demo.ACTIVATIONS)
        assert np.shape(row["cells"]["relu"]["values"]) == (8, 8)
        assert row["notice"] in " ".join(out.split())


def test_the_demo_shows_what_the_paper_says():
    """Orderings of the offline experiment: ε-LRP departs under sigmoid and softplus, DeepLIFT does not."""
    table = demo.make_table(0, "mlp", 40, progress=False)
    lrp = {a: cell.correlation for a, cell in table.row("lrp").items()}
    deeplift = {a: cell.correlation for a, cell in table.row("deeplift").items()}
    assert table.same_under_relu < 1e-4
    assert max(lrp["sigmoid"], lrp["softplus"]) < demo.DEPARTS < min(lrp["relu"], lrp["tanh"])
    assert min(deeplift.values()) > 0.95
    for activation in demo.ACTIVATIONS:
        assert table.cells["saliency", activation].correlation < deeplift[activation]
        assert table.cells["saliency", activation].residual is None
        assert table.cells["integrated_gradients", activation].correlation > 1 - 1e-9
    assert "departs under sigmoid" in demo.remark(table, "lrp")


# ── errors ─────────────────────────────────────────────────────────────────────────────────────────────


ERRORS = [
    (("explain", "digits-cnn-rleu", "digits:1"), 1, "did you mean 'digits-cnn-relu'?"),
    (("explain", "nowhere.safetensors", "digits:1"), 1, "there is no model file nowhere.safetensors"),
    (("explain", "MODEL", "nothing.npy"), 1, "there is no file nothing.npy"),
    (("explain", "MODEL", "digits:1"), 1, "has shape (1, 1, 8, 8), expected (any, 4)"),
    (("explain", "MODEL", "digits:200"), 1, "digits:200: expected a number from 0 to 199"),
    (("explain", "MODEL", "MODEL"), 1, "expected .npy or an image"),
    (("explain", "MODEL", "X", "--fit", "X"), 1, "lrp has no option 'patterns'"),
    (("explain", "MODEL", "X", "--method", "pattern_net"), 1, "on the command line --fit DATA"),
    (("explain", "MODEL", "X", "--method", "lpr"), 1, "did you mean 'lrp'?"),
    (("explain", "MODEL", "X", "--rule", "epsilom"), 1, "did you mean 'epsilon'?"),
    (("explain", "MODEL", "X", "--target", "3"), 1, "target is 3, expected a class from 0 to 2"),
    (("explain", "MODEL", "X", "--target", "c"), 2, "--target c: expected a class"),
    (("explain", "MODEL", "X", "--option", "epsilon"), 2, "--option epsilon: expected name=value"),
    (("explain", "MODEL", "X", "--option", "epsilom=1"), 1, "lrp has no option 'epsilom'"),
    (("explain", "MODEL", "X", "--backend", "cdua"), 1, "there is no backend 'cdua'; did you mean 'cuda'?"),
    (("explain", "MODEL", "X", "--save", "a.txt"), 1, "a.txt ends in '.txt', expected .npy or .npz"),
    (("explain", "MODEL", "X", "--plot", "a.gif"), 1, "a.gif ends in '.gif', expected one of .png, .svg, .pdf"),
    (("explain", "MODEL"), 2, "INPUT"),
    (("verify", "--only", "A99"), 1, "there is no statement 'A99'"),
    (("verify", "--cases", "0"), 1, "cases is 0, expected at least 1"),
    (("verify", "--cases", "few"), 2, "'--cases'"),
    (("demo", "--network", "rnn"), 1, "network is 'rnn', expected one of 'mlp', 'cnn'"),
    (("demo", "--digit", "200"), 1, "digit is 200, expected a number from 0 to 199"),
    (("reproduce",), 2, "--list names them"),
    (("reprodcue",), 2, "reprodcue"),
    (("methods", "--jsn"), 2, "--jsn"),
]


@pytest.mark.parametrize(("argv", "code", "words"), ERRORS, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_errors_take_one_line_without_a_traceback(capsys, model, batch, argv, code, words):
    files = {"MODEL": model, "X": batch}
    got, out, err = ran(capsys, *(files.get(a, a) for a in argv))
    assert got == code
    assert out == ""
    assert err.startswith("relprop: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_broken_model_file_is_one_line(capsys, tmp_path, model, batch):
    data = (tmp_path / "small.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-9])
    code, _, err = ran(capsys, "explain", str(tmp_path / "cut.safetensors"), batch)
    assert code == 1
    assert err.count("\n") == 1
    assert "cut.safetensors" in err


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="there is no shipped model 'x'"):
        cli.run(["explain", "x", "digits:1", "--debug"])


def test_the_process_exits_with_the_code_and_prints_plain_text(model, batch):
    command = [sys.executable, "-c", "from relprop.cli import main; main()", "explain", model, batch]
    good = subprocess.run(command, capture_output=True, text=True, env={"NO_COLOR": "1", "PATH": ""})
    assert (good.returncode, good.stderr) == (0, "")
    assert "\x1b" not in good.stdout
    bad = subprocess.run([*command, "--method", "none"], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith("relprop: there is no method 'none'")
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize("room", [60, 80, 160])
def test_tables_fit_and_what_is_short_is_not_broken(room):
    cells = [20, 300, 8, 1, 12]
    widths = cli._fitted([20, 300, 15, 40, 12], cells, room)
    assert sum(widths) + 3 * len(widths) <= room
    if room >= 80:
        assert all(w >= c for w, c in zip(widths, cells, strict=True) if c <= 12)
        assert widths[0] == 20
