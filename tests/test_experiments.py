"""Runs of experiments: whole files or none, resumed byte for byte, and verdicts that can come out either way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bound import rounding

from relprop import cli
from relprop.experiments import EXPERIMENTS, command, find
from relprop.experiments import run as runs
from relprop.experiments.charts import Curve, curves_figure
from relprop.experiments.experiment import Expectation, Experiment, Picture, Piece, Table, conclude
from relprop.experiments.ordering import DIFFERS, HOLDS, UNDECIDED, all_of, is_so, mean_error, more
from relprop.experiments.run import Settings, reproduce

# ---- a small experiment: one network's weight, three draws ----


def draw(k, run):
    return {"values": run.rng(f"draw-{k}").normal(size=run.samples) + float(run["model"]["dense3"][0, 0])}


def model(run):
    from relprop.models import zoo

    network = zoo.load("digits-mlp-relu", "float32")
    return {"dense3": np.asarray(list(network.nodes.values())[-1].layer.w)}


def toy_pieces(run):
    return [Piece("model", model), *(Piece(f"draw-{k}", partial(draw, k)) for k in range(3))]


def toy_numbers(run):
    return {"values": [run[f"draw-{k}"]["values"] for k in range(3)]}


def toy_pictures(run, n):
    mean, error = mean_error(n["values"])
    return [
        Picture("toy", "A curve.", curves_figure({"toy": {"draws": Curve(range(len(mean)), mean, error)}}, "k", ""))
    ]


def toy_tables(run, n):
    return [Table("toy", "Draws", ("draw", "first"), [[k, v[0]] for k, v in enumerate(n["values"])])]


TOY = Experiment(
    id="T", name="toy", title="Draws", paper="sixt2020", figure="none", claim="The numbers are large.",
    expectations=(Expectation("they spread", lambda n: is_so(np.std(n["values"]) > 0, f"{np.std(n['values']):.2f}")),),
    sources={"none": "Nothing is read."}, samples=(8, 4),
    pieces=toy_pieces, numbers=toy_numbers, pictures=toy_pictures, tables=toy_tables,
)  # fmt: skip
SETTINGS = Settings("toy", "none", 4, 0, "pyref", True)


def contents(folder):
    """Every file but the times."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    assert files.pop("times.json")
    return files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    reproduce(TOY, SETTINGS, folder)
    return contents(folder)


# ---- interrupted and resumed ----


class Killed(BaseException):
    pass


def test_a_run_that_stops_at_any_write_ends_with_the_same_bytes(whole, tmp_path, monkeypatch):
    """Stopped with each of its files written but not yet renamed into place, and gone on from there."""
    real, seen = os.replace, []
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(b), real(a, b)))
    reproduce(TOY, SETTINGS, tmp_path / "counted")
    assert len(seen) == len(whole) + 1  # and the times
    for at in range(len(seen)):
        count = iter(range(1000))

        def replace_or_die(a, b, at=at, count=count):
            if next(count) == at:
                raise Killed
            real(a, b)

        monkeypatch.setattr(os, "replace", replace_or_die)
        with pytest.raises(Killed):
            reproduce(TOY, SETTINGS, tmp_path / str(at))
        monkeypatch.setattr(os, "replace", real)
        reproduce(TOY, SETTINGS, tmp_path / str(at), resume=True)
        assert contents(tmp_path / str(at)) == whole


def test_kill_9_at_random_moments_then_resume_gives_the_same_bytes(whole, tmp_path):
    folder = tmp_path / "run"
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from test_experiments import TOY, SETTINGS, reproduce;"
        "print('ready', flush=True); reproduce(TOY, SETTINGS, sys.argv[1], resume=True)"
    )
    words = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    reproduce(TOY, SETTINGS, folder, resume=True)
    assert contents(folder) == whole


def test_a_file_that_was_being_written_is_not_kept(tmp_path):
    reproduce(TOY, SETTINGS, tmp_path)
    (tmp_path / "pieces" / "draw-2.part.npz").write_bytes(b"half")
    (tmp_path / "pieces" / "draw-2.npz").unlink()
    reproduce(TOY, SETTINGS, tmp_path, resume=True)
    assert not list(tmp_path.rglob("*.part*"))


def test_a_finished_piece_is_not_made_again(tmp_path):
    reproduce(TOY, SETTINGS, tmp_path)

    def never(run):
        raise AssertionError

    again = replace(TOY, pieces=lambda run: [Piece(p.name, never) for p in toy_pieces(run)])
    reproduce(again, SETTINGS, tmp_path, resume=True)


def test_another_seed_gives_other_numbers(whole, tmp_path):
    reproduce(TOY, replace(SETTINGS, seed=1), tmp_path)
    assert contents(tmp_path)["numbers.json"] != whole["numbers.json"]


# ---- what a run refuses ----


def test_a_run_is_not_written_over_or_mixed(tmp_path):
    reproduce(TOY, SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="holds a run already: --resume"):
        reproduce(TOY, SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="was started with seed 0, not 3"):
        reproduce(TOY, replace(SETTINGS, seed=3), tmp_path, resume=True)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="holds other things"):
        reproduce(TOY, SETTINGS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_missing_is_named_with_its_extra(tmp_path):
    with pytest.raises(
        ImportError, match=r"toy needs no_such_module, which is not installed: pip install relprop\[train\]"
    ):
        reproduce(replace(TOY, needs={"train": ("no_such_module", "numpy")}), SETTINGS, tmp_path / "run")


def test_objects_are_not_stored(tmp_path):
    run = runs.Run(TOY, SETTINGS, tmp_path)
    with pytest.raises(TypeError, match="no plain arrays: a"):
        run.store("x", {"a": [{}, None]})


# ---- verdicts ----


def test_an_ordering_holds_fails_or_is_open():
    rng = np.random.default_rng(0)
    small = rng.normal(size=50)
    assert more(small + 1, small, "ab").verdict == HOLDS
    assert more(small, small + 1, "ab").verdict == DIFFERS
    assert more(small, small, "ab").verdict == DIFFERS  # equal is not more
    assert more(small, rng.normal(size=50), "ab").verdict == UNDECIDED
    assert more(small + 1, small, "ab", effect=2).verdict == DIFFERS


def test_verdicts_follow_from_expectations():
    yes, no, open_ = (is_so(True, ""), is_so(False, ""), replace(is_so(True, ""), verdict=UNDECIDED))

    def verdict(*outcomes):
        tests = tuple(Expectation(f"e{k}", lambda n, o=o: o, "fewer layers") for k, o in enumerate(outcomes))
        return conclude(replace(TOY, expectations=tests), {})

    assert verdict(yes, yes)[0] == HOLDS
    assert verdict(no, no)[0] == DIFFERS
    assert verdict(yes, no)[0] == "differs because “e1” does not hold"
    assert verdict(no, open_, yes)[0] == "differs because “e0” does not hold; “e1” is not decided"
    assert verdict(yes, open_)[0] == "not decided: “e1”; the rest holds"
    assert [row.get("because") for row in verdict(yes, no)[1]] == [None, "fewer layers"]
    tests = (Expectation("e0", lambda n: no, "fewer layers"),)
    assert "because" not in conclude(replace(TOY, expectations=tests), {}, ours=False)[1][0]
    assert all_of([yes, open_]).verdict == UNDECIDED and all_of([yes, open_, no]).verdict == DIFFERS


def test_numbers_are_plain_json():
    value = {"a": np.float32(0.5), "b": np.array([[1.0, np.nan]]), "c": (np.int64(3), np.inf), 4: np.bool_(True)}
    assert runs._plain(value) == {"a": 0.5, "b": [[1.0, None]], "c": [3, None], "4": True}


# ---- the table, the page and the command ----


def test_every_experiment_says_what_it_needs_to():
    from relprop.experiments import EXPERIMENTS as table

    assert len({e.id for e in table.values()}) == len(table)
    references = (Path(__file__).parents[1] / "pyref/REFERENCES.md").read_text()
    for name, e in table.items():
        assert name == e.name and f"[{e.paper}]" in references
        assert e.claim and e.figure and e.expectations and all(x.says for x in e.expectations)
        assert e.samples[0] >= e.samples[1] >= 0 and all(find(id) is find(name) is e for id in e.id.split(", "))


def test_the_page_needs_nothing_else_and_says_what_was_found(whole):
    page = whole["index.html"].decode()
    assert "The numbers are large." in page and "holds</span>" in page and 'src="data:image/svg+xml;base64,' in page
    about = json.loads(whole["numbers.json"])
    assert about["verdict"] == HOLDS and about["settings"]["seed"] == 0


def test_the_command_lists_and_refuses(capsys):
    assert cli.run(["reproduce", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(EXPERIMENTS)
    for words, says in (
        ([], "name an experiment"),
        (["saturatoin"], "there is no experiment 'saturatoin'"),
        (["interior-gradients", "--data", "moon:x"], "has no data source 'moon:x'"),
        (["interior-gradients", "--samples", "0"], "samples is 0"),
        (["--all", "--samples", "3"], "belong to one experiment"),
    ):
        assert cli.run(["reproduce", *words]) != 0
        assert says in capsys.readouterr().err


def test_all_makes_a_page_over_the_runs_and_names_what_was_left_out(tmp_path, monkeypatch):
    poor = replace(TOY, id="P", name="poor", needs={"train": ("no_such_module",)})
    monkeypatch.setattr(command, "EXPERIMENTS", {"toy": TOY, "poor": poor})
    monkeypatch.setattr(command, "find", {"toy": TOY, "poor": poor}.__getitem__)
    rows = command.run_all(tmp_path, quick=True, backend="pyref")
    assert [bool(row["page"]) for row in rows] == [True, False]
    page = (tmp_path / "index.html").read_text()
    assert 'href="toy/index.html"' in page and "needs no_such_module" in page


# ---- experiments themselves, in their smallest form ----


@pytest.mark.parametrize("name", ["digit-flip", "psi-ablation"])
def test_an_experiment_on_what_ships_makes_its_page(name, tmp_path):
    row = command.run_one(name, tmp_path, samples=4, quick=True)
    about = json.loads((tmp_path / "numbers.json").read_text())
    assert row["verdict"] == about["verdict"] and (tmp_path / "index.html").exists()
    assert {p.suffix for p in tmp_path.iterdir()} >= {".png", ".svg", ".csv", ".json", ".html"}
    verdict, rows = conclude(EXPERIMENTS[name], about["numbers"])
    assert verdict == about["verdict"] and rows == about["expectations"]  # from numbers.json alone


def test_a_verdict_turns_with_the_numbers(tmp_path):
    """Sensitivity-n with the curves of two methods exchanged is against the paper."""
    command.run_one("sensitivity-n", tmp_path, samples=4, quick=True)
    numbers = json.loads((tmp_path / "numbers.json").read_text())["numbers"]
    assert conclude(EXPERIMENTS["sensitivity-n"], numbers)[1][0]["verdict"] == HOLDS
    for network in numbers.values():
        pcc = network["pcc"]
        pcc["occlusion-1"], pcc["saliency"] = pcc["saliency"], pcc["occlusion-1"]
    verdicts = [row["verdict"] for row in conclude(EXPERIMENTS["sensitivity-n"], numbers)[1]]
    assert verdicts[0] == DIFFERS and verdicts[3] == DIFFERS


def test_sources_say_what_they_need():
    from relprop.experiments.problem import open_problem

    for source, words in (
        ("mnist", "--data mnist:FOLDER"),
        ("digits:x", "it takes no path"),
        ("mnits", "no data source"),
    ):
        with pytest.raises(ValueError, match=words):
            open_problem(source)


def test_mosaics_have_exact_boxes_and_parts_do_not_overlap():
    pytest.importorskip("skimage")
    from relprop.data.photographs import OBJECTS, TEXTURES, mosaics, photograph, texture_crops

    images, labels, boxes = mosaics(6, "test")
    assert images.shape == (6, 1, 40, 40) and set(labels) == set(range(len(OBJECTS)))
    assert (boxes.sum(axis=(1, 2)) == 20 * 20).all()
    train, label = texture_crops(4, "train")
    for image, k in zip(train[:3], label[:3], strict=True):  # each crop is in the left two thirds of its photograph
        ground = photograph(TEXTURES[k])
        windows = np.lib.stride_tricks.sliding_window_view(ground[:, : 2 * ground.shape[1] // 3], image.shape[1:])
        assert (windows == image[0]).all(axis=(2, 3)).any()


def test_molecules_are_what_rdkit_says():
    pytest.importorskip("rdkit")
    from relprop.data.molecules import PAIRS, molecules

    known = molecules()
    assert len({m.smiles for m in known}) == len(known) > 1000 and 0.2 < np.mean([m.label for m in known]) < 0.8
    for m in known[:50]:
        assert m.label == m.group.any() and (m.atoms[m.group, 0] + m.atoms[m.group, 2] == 1).all()  # carbon and oxygen
        assert (m.atoms[:, :-1].sum(axis=1) == 1).all() and (m.pairs.sum(axis=1) == 1).all()
        assert (m.bonds == (m.pairs[:, : PAIRS.index("2 apart")].sum(axis=1) == 1)).all()
        assert len(m.pairs) == len(m.atoms) * (len(m.atoms) - 1) // 2


@pytest.mark.peers
def test_training_leaves_pytorch_as_it_was():
    """Threads and algorithms are the caller's; the same seed gives the same weights all the same."""
    torch = pytest.importorskip("torch")
    from relprop.experiments.training import trained

    images, labels = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    weights = []
    for _ in range(2):
        torch.manual_seed(1)
        module = trained(torch.nn.Linear(3, 2), images, labels, seed=0, epochs=2)
        weights.append(module.weight.detach().numpy().tobytes())
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert weights[0] == weights[1]


def test_the_graph_network_is_the_one_that_is_trained():
    pytest.importorskip("rdkit")
    torch = pytest.importorskip("torch")
    from relprop.data.molecules import molecules
    from relprop.experiments.molecules import LAYERS, WIDTH, edges, graph_network, score

    rng = np.random.default_rng(0)
    outputs = dict.fromkeys(LAYERS, WIDTH) | {"out": 2}
    inputs = dict.fromkeys(LAYERS, WIDTH) | {"atom": 7, "pair": 7}
    net = torch.nn.ModuleDict({name: torch.nn.Linear(inputs[name], outputs[name]) for name in LAYERS}).double()
    weights = {}
    for name in LAYERS:
        w, b = rng.normal(size=(inputs[name], outputs[name])), rng.normal(size=outputs[name])
        weights |= {f"{name} w": w, f"{name} b": b}
        net[name].weight.data, net[name].bias.data = torch.tensor(w.T), torch.tensor(b)
    sizes = {name: np.abs(array) for name, array in weights.items()}
    for m in molecules()[:3]:
        x = {"atoms": m.atoms[None], "pairs": m.pairs[None]}
        with torch.no_grad():
            expected = score(torch, net, *map(torch.tensor, (m.atoms, m.pairs, *edges(m)))).numpy()
        operations = 6 * (WIDTH + len(m.pairs))  # the longest sums, layer after layer
        bound = rounding(operations, graph_network(sizes, m)(x)[0])
        assert (np.abs(graph_network(weights, m)(x)[0] - expected) <= bound).all()


def test_on_imagenet_a_network_must_be_named(tmp_path):
    pytest.importorskip("torch", reason="without PyTorch its absence is the first complaint")
    pytest.importorskip("sklearn", reason="without scikit-learn its absence is the first complaint")
    from test_data import write_imagenet

    write_imagenet(tmp_path / "files")
    with pytest.raises(ValueError, match="name a network by --model"):
        command.run_one("saturation", tmp_path / "run", data=f"imagenet:{tmp_path / 'files'}:32", samples=2, quick=True)


def test_imagenet_is_explained_for_the_users_network(tmp_path):
    """Nothing is trained, so PyTorch is not needed."""
    from test_data import write_imagenet

    import relprop

    write_imagenet(tmp_path / "files")
    network = relprop.build("vgg16_bn", classes=2, size=32, width=1 / 16)
    relprop.save(network, tmp_path / "model.safetensors")
    asked = {"data": f"imagenet:{tmp_path / 'files'}:32", "samples": 2, "quick": True}
    command.run_one("saturation", tmp_path / "run", model=tmp_path / "model.safetensors", **asked)
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())["numbers"]
    assert np.shape(numbers["curves"]["probability"]) == (2, 21)


def test_without_an_lstm_nothing_is_said_of_one(tmp_path):
    """An expectation that a source cannot test is not decided: it does not hold by default."""
    command.run_one("perturbation", tmp_path, samples=4, quick=True)
    numbers = json.loads((tmp_path / "numbers.json").read_text())["numbers"]
    by_words = {row["says"]: row["verdict"] for row in conclude(EXPERIMENTS["perturbation"], numbers)[1]}
    assert by_words["they correlate less through an LSTM"] == HOLDS
    only = {name: numbers[name] for name in ("mlp-relu",)}
    by_words = {row["says"]: row["verdict"] for row in conclude(EXPERIMENTS["perturbation"], only)[1]}
    assert by_words["they correlate less through an LSTM"] == UNDECIDED
    assert by_words["ε-LRP departs from the others under sigmoid and softplus"] == UNDECIDED


def test_saturation_follows_layers_from_a_third_of_the_way():
    """Paper: mixed3b to mixed5b. A first layer is linear in α but for its kinks, whatever the network learned."""
    import relprop
    from relprop.experiments.saturation import LAYERS, inner

    network = relprop.build("vgg16_bn", classes=2, size=32, width=1 / 16)
    activations = [n.name for n in network.nodes.values() if n.layer.kind == "activation"]
    assert [activations.index(name) for name in inner(network)] == [5, 8, 11, 14] and LAYERS == 4


def test_digits_are_flipped_in_all_tasks(tmp_path):
    command.run_one("digit-flip", tmp_path, samples=4, quick=True)
    change = json.loads((tmp_path / "numbers.json").read_text())["numbers"]["change"]
    assert list(change) == ["8 to 3", "8 to 6", "9 to 1", "4 to 1"]
    assert all(np.shape(values) == (4, 10) for by_map in change.values() for values in by_map.values())
    flipped = {"change": {task: {**by_map, "ψ signed": by_map["random"]} for task, by_map in change.items()}}
    verdicts = [row["verdict"] for row in conclude(EXPERIMENTS["digit-flip"], flipped)[1]]
    assert verdicts[2:] == [DIFFERS] * 3  # random in place of the signed map, against the paper in all tasks


@pytest.fixture(scope="module")
def modified(tmp_path_factory):
    """The smallest form of the experiments on modified backpropagation, on a network that ships."""
    import relprop

    folder = tmp_path_factory.mktemp("modified")
    relprop.save(relprop.zoo("digits-cnn-relu"), folder / "model.safetensors")
    asked = {"data": "digits", "model": folder / "model.safetensors", "samples": 2, "quick": True}
    for name in ("random-logit", "cosine-convergence", "cascading-randomization"):
        command.run_one(name, folder / name, **asked)
    return folder


@pytest.mark.parametrize(
    "name, numbers",
    [("random-logit", "ssim"), ("cosine-convergence", "median"), ("cascading-randomization", "ssim")],
)
def test_patterns_and_contrastive_ebp_are_compared(name, numbers, modified):
    found = json.loads((modified / name / "numbers.json").read_text())["numbers"][numbers]
    assert {"PatternNet", "PatternAttribution", "contrastive EBP"} <= set(found)
    assert all(np.isfinite(np.array(v, dtype=float)).all() for v in found.values())


def test_patterns_are_estimated_once_and_are_those_of_the_network(modified):
    import pyref
    import relprop

    with np.load(modified / "cosine-convergence" / "pieces" / "patterns.npz") as file:
        stored = {name: file[name] for name in file.files}
    network = pyref.merge_batchnorm(relprop.zoo("digits-cnn-relu"))
    for name, a in stored.items():
        w = network.nodes[name].layer.w
        response = (w * a).reshape(len(w), -1).sum(axis=1) if w.ndim == 4 else (w * a).sum(axis=0)
        there = a.reshape(len(w), -1).any(axis=1) if w.ndim == 4 else a.any(axis=0)
        bound = rounding(w.size, np.abs(w * a).sum(), np.float32)  # w·a = 1 by the definition of a pattern
        assert there.any() and (np.abs(response - there) <= bound).all()


def test_vectors_are_sent_from_several_layers(modified):
    numbers = json.loads((modified / "cosine-convergence" / "numbers.json").read_text())["numbers"]
    starts = numbers["from"]
    assert len(starts) == 3 and next(iter(starts.values()))["gradient"] == numbers["median"]["gradient"]
    reached = [sum(v is not None for v in by_name["gradient"]) for by_name in starts.values()]
    assert reached == [4, 3, 2]  # layers with weights below each start read the cosine
    assert "starts.csv" in {p.name for p in (modified / "cosine-convergence").iterdir()}


def test_the_reviews_of_the_user_are_read(tmp_path):
    from test_data import write_reviews

    from relprop.experiments.text_perturbation import open_texts

    write_reviews(tmp_path)
    texts = open_texts(f"imdb:{tmp_path}")
    assert texts.labels.tolist() == [0, 1] and texts.ids.shape == (2, 500) and texts.classes == ("negative", "positive")
    assert [texts.words[k] for k in texts.ids[1] if k] == ["<start>", "fine", "<unk>", "<unk>", "film"]
    with pytest.raises(ValueError, match="imdb lies in files of yours"):
        open_texts("imdb")


def test_words_are_removed_from_a_shallow_network_and_an_lstm(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from relprop.experiments import text_perturbation as text

    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (12, 7))
    ids[:, 0] = 0
    texts = text.Texts(ids, np.arange(12) // 6, (ids, np.arange(12) // 6), ("<pad>", *"abcdefgh"), ("no", "yes"))
    monkeypatch.setattr(text, "open_texts", lambda source: texts)
    monkeypatch.setattr(text, "QUICK_STEPS", 20)
    command.run_one("text-perturbation", tmp_path, samples=6, quick=True)
    numbers = json.loads((tmp_path / "numbers.json").read_text())["numbers"]
    for name in ("mlp", "lstm"):
        assert numbers[name]["steps"] == list(range(8)) and 0 <= numbers[name]["accuracy"] <= 1
        assert numbers[name]["curves"]["occlusion-1 MoRF"][0][0] == 0  # nothing is removed yet
    assert "<pad>" not in (tmp_path / "index.html").read_text()


def test_the_marked_numbers_are_the_right_attributions(tmp_path, monkeypatch):
    from relprop.experiments import lstm_arithmetic as toy

    x, numbers, places = toy.draw(50, np.random.default_rng(0))
    assert (x.sum(axis=-1) == numbers).all() and ((x != 0).sum(axis=(1, 2)) == toy.LENGTH).all()
    for k in (0, 1):
        assert (np.argwhere(x[..., k + 1]) == np.stack([np.arange(50), places[:, k]], axis=1)).all()
    assert (places[:, 0] < places[:, 1]).all()
    first, second = (numbers[np.arange(50), places[:, k]] for k in (0, 1))
    for task, answer in (("addition", first + second), ("subtraction", first - second)):
        assert (toy.truth(numbers, places, toy.SIGN[task]).sum(axis=1) == answer).all()
    pytest.importorskip("torch")
    monkeypatch.setattr(toy, "STEPS", 20)
    command.run_one("lstm-arithmetic", tmp_path, samples=5, quick=True)
    about = json.loads((tmp_path / "numbers.json").read_text())
    assert about["expectations"][0]["verdict"] == DIFFERS  # twenty steps are too few to learn to add
    assert set(about["numbers"]["addition"]["error"]) == set(toy.METHODS)


def test_networks_are_also_trained_on_where_pixels_are_missing(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from relprop.experiments import roar, training

    seen = []

    def classifier(kind, problem, activation="relu", *, seed=0, epochs=None, data=None):
        if data is not None:
            seen.append(np.asarray(data[0]))
        return relprop.zoo("digits-cnn-relu", "float32")

    import relprop

    monkeypatch.setattr(training, "classifier", classifier)
    monkeypatch.setattr(roar, "PLACES", ("FullGrad",))
    run = runs.Run(EXPERIMENTS["roar"], Settings("roar", "digits", 10, 0, "pyref", True), tmp_path)
    maps = {"FullGrad": np.arange(64.0).reshape(1, 1, 8, 8).repeat(10, axis=0)}
    run._kept = {"maps-train": maps, "maps-test": maps}
    found = roar._accuracy("FullGrad", run, places=True)
    assert found["accuracy"].shape == (1, 3) and found["at"].tolist() == [0, *roar.QUICK_FRACTIONS]
    for images, kept in zip(seen, (64, 45, 19), strict=True):  # the k greatest are black, the image is not there
        assert (images.reshape(10, 64) == (np.arange(64) < kept)).all()


@pytest.mark.parametrize("name", ["perturbation", "sensitivity-n"])
def test_the_users_network_is_explained_once_under_a_name_of_its_own(name, tmp_path):
    """It has no activation of the paper's four: what is said about those is not decided."""
    import relprop

    relprop.save(relprop.zoo("digits-cnn-tanh"), tmp_path / "model.safetensors")
    asked = {"model": tmp_path / "model.safetensors", "samples": 2, "quick": True}
    command.run_one(name, tmp_path / "run", **asked)
    about = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert list(about["numbers"]) == ["model"] and about["expectations"][-1]["verdict"] == UNDECIDED


@pytest.mark.parametrize("name", ["interior-gradients", "saturation"])
def test_paths_start_at_a_black_image(name, tmp_path, monkeypatch):
    """On digits, whose zero is grey: at α = 0 the output must be that of paper."""
    import pyref
    import relprop
    from relprop.experiments.problem import open_problem

    seen = []
    of = (runs.Run, "explain") if name == "interior-gradients" else (pyref, "saturation")
    real = getattr(*of)

    def spy(*words, **options):
        seen.append(options.get("baseline"))
        return real(*words, **options)

    monkeypatch.setattr(*of, spy)
    relprop.save(relprop.zoo("digits-cnn-relu"), tmp_path / "model.safetensors")
    asked = {"data": "digits", "model": tmp_path / "model.safetensors", "samples": 2, "quick": True}
    command.run_one(name, tmp_path / "run", **asked)
    black = open_problem("digits").black
    assert (black == -1).all() and seen and all(np.array_equal(baseline, black) for baseline in seen)
