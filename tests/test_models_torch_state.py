"""`attribute` keeps a module's network while the module is what it was: never a result of what it was before."""

import gc
import os
import threading
from collections import OrderedDict
from functools import partial
from types import MethodType
from weakref import ref

import numpy as np
import pytest

import relprop
from relprop.models import torch as importer
from relprop.models.torch_state import state_of

torch = pytest.importorskip("torch", reason="needs PyTorch, which the extra `torch` installs")

from outside import randomize  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

LONG = os.environ.get("RELPROP_LONG") == "1"


class Leaf(nn.Module):
    """What a module can hold, and be changed in: all of it matters to what it computes."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.act = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.LeakyReLU(0.25)
        self.rnn = nn.GRU(3, 2, batch_first=True)
        self.register_buffer("tilt", torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        self.mask = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)  # no buffer
        self.array = np.array([1.0, 3.0, 2.0])
        self.hidden = [nn.Linear(3, 3, dtype=torch.float64)]  # not registered
        self.settings = {"power": 1, "training": False}
        slope = [0.5]
        self.enclosed, self.slope = (lambda x: x * slope[0]), slope
        self.scaled = partial(torch.mul, other=3.0)

    def forward(self, x):
        x = self.act(self.norm(self.first(x))) * self.tilt + self.mask * torch.as_tensor(self.array)
        x = self.scaled(self.enclosed(self.hidden[0](x))) ** self.settings["power"]
        x = -x if self.settings["training"] else x
        return self.read(self.rnn(x.unsqueeze(1))[0][:, 0])

    def read(self, x):
        return x * 2


def halved(module, x):
    return functional.relu(module.first(x))


def assigned(name, value):
    return lambda m: setattr(m, name, value)


def stepped(m):
    optimizer = torch.optim.SGD(m.parameters(), lr=0.1)
    m(torch.ones(2, 3, dtype=torch.float64)).sum().backward()
    optimizer.step()


def exchanged(m):
    """The values stay, their place does not: what lies at the old one is anybody's."""
    old = m.first.weight.data
    m.first.weight.data = old.clone()
    old.zero_()


def in_place(m):
    with torch.no_grad():
        m.first.weight[0] += 1


def rewritten(m):
    kind = type(m)
    m.__class__ = type("Leaf", (kind,), {"read": lambda self, x: x * 5})


CHANGES = {
    "in place": in_place,
    "through .data": lambda m: m.first.weight.data.mul_(2),
    "through NumPy": lambda m: m.first.weight.detach().numpy().__setitem__(0, 7.0),
    "assigned to .data": lambda m: setattr(m.first.weight, "data", torch.eye(3, dtype=torch.float64)),
    "another storage": exchanged,
    "a step of an optimiser": stepped,
    "a state dict": lambda m: m.load_state_dict(randomize(Leaf(), 9).state_dict()),
    "statistics": lambda m: m.norm.running_var.mul_(4),
    "recurrent bias": lambda m: m.rnn.bias_hh_l0.data.add_(1),
    "buffer": lambda m: m.tilt.neg_(),
    "tensor that is no buffer": lambda m: m.mask.add_(1),
    "array": lambda m: m.array.__setitem__(0, -5.0),
    "hidden module": lambda m: m.hidden[0].weight.data.neg_(),
    "number": lambda m: setattr(m.act, "negative_slope", 0.75),
    "eps": lambda m: setattr(m.norm, "eps", 1.0),
    "entry of a dict": lambda m: m.settings.update(power=2),
    "entry called training": lambda m: m.settings.update(training=True),
    "enclosed variable": lambda m: m.slope.__setitem__(0, 4.0),
    "partial": assigned("scaled", partial(torch.mul, other=4.0)),
    "submodule": assigned("act", nn.Tanh()),
    "hook": lambda m: m.first.register_forward_hook(lambda module, args, y: y * 3) and None,
    "method of the object": lambda m: setattr(m, "forward", MethodType(halved, m)),
    "method of the class": rewritten,
}


@pytest.fixture
def exports(monkeypatch):
    """How often something was exported."""
    count = []
    export = importer._export
    monkeypatch.setattr(importer, "_export", lambda *args: count.append(1) or export(*args))
    return count


X = torch.tensor([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], dtype=torch.float64)


def values(module, x=X):
    return relprop.attribute(module, x, "gradient_times_input", 1)


def fresh(module):
    return relprop.explain(relprop.from_torch(module, X), X, "gradient_times_input", 1).values


def test_a_module_that_stays_is_exported_once(exports):
    module = randomize(Leaf(), 1)
    first = values(module)
    module.train(not module.training)  # networks are those of evaluation mode
    assert torch.equal(values(module), first) and values(module, X[:1]).shape == (1, 3)
    assert len(exports) == 1


def output(module):
    with torch.no_grad():
        return module(X)


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_shows_in_the_state(name):
    module = randomize(Leaf(), 1)
    before, y = state_of(torch, module), output(module)
    assert state_of(torch, module) == before
    CHANGES[name](module)
    assert state_of(torch, module) != before
    assert torch.equal(output(module.eval()), y) == (name == "another storage")


def test_a_method_exchanged_on_its_class_shows_in_the_state(monkeypatch):
    module = randomize(Leaf(), 1)
    before = state_of(torch, module)
    monkeypatch.setattr(Leaf, "read", lambda self, x: x * 3)
    assert state_of(torch, module) != before


@pytest.mark.parametrize("name", CHANGES if LONG else ["statistics", "another storage"])
def test_what_changes_is_exported_again(name, exports):
    module = randomize(Leaf(), 1)
    before = values(module)
    CHANGES[name](module)
    after = values(module)
    assert len(exports) == 2
    assert torch.equal(after, fresh(module))
    assert torch.equal(after, before) == (name == "another storage")


def test_each_form_of_inputs_has_its_network(exports):
    module = nn.Tanh()
    inputs = [torch.ones(1, k) for k in range(1, 4)] + [torch.ones(1, 3, dtype=torch.float64)]
    for x in [*inputs, *inputs]:
        assert relprop.attribute(module, x, "gradient", 0).dtype == x.dtype
    assert len(exports) == len(inputs)


def test_networks_go_with_their_module():
    module = randomize(Leaf(), 1)
    values(module)
    (entry,) = (n for m, (_, n) in importer._REMEMBERED._kept.items() if m is module)
    kept, network = ref(module), ref(next(iter(entry.values())))
    del module, entry
    gc.collect()
    assert kept() is None and network() is None


@pytest.mark.parametrize("held", [threading.Lock(), torch.eye(2).to_sparse()], ids=["lock", "sparse"])
def test_what_cannot_be_compared_is_exported_each_time(held, exports):
    module = nn.Tanh()
    module.held = OrderedDict(deep=[held])
    for _ in range(2):
        relprop.attribute(module, X, "gradient", 0)
    assert len(exports) == 2
