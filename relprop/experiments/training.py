"""Training, with PyTorch, which only this needs: the same seed gives the same weights on the same machine."""

from contextlib import contextmanager
from itertools import pairwise

import numpy as np

import relprop
from relprop.progress import bar

__all__ = ["classifier", "fit", "pytorch", "trained"]

DIMMEST = 0.1
DIMMED = ("photographs", "mosaics")


def pytorch():
    """The module torch.

    Raises
        ImportError  it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "training a network needs torch, which is not installed: pip install relprop[train]"
        ) from error
    return torch


@contextmanager
def _one_order(torch):
    """Within it PyTorch takes sums in one order: on one thread, by deterministic algorithms. Then as it was before."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


def fit(module, batches, loss, *, seed, steps, rate=3e-3, decay=1e-2):
    """Adam with decoupled weight decay and a one-cycle step size.

    batches  a generator's draw: random → the arguments of `loss`
    """
    torch = pytorch()
    random = np.random.default_rng([seed, 2])
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    module.train()
    with _one_order(torch):
        for _ in bar(range(steps), label="training"):
            optimizer.zero_grad()
            loss(module, *batches(random)).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return module.eval()


def trained(module, images, labels, *, seed, epochs, batch=64, rate=3e-3, decay=1e-2, dim=False):
    """A classifier trained on images, as a torch module in evaluation mode.

    dim  multiply each training image by a factor from DIMMEST to 1: photographs come in all brightnesses
    """
    torch = pytorch()
    x, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)

    def batches(random):
        chosen = torch.tensor(random.integers(0, len(x), batch))
        factor = random.uniform(DIMMEST if dim else 1, 1, (batch, *(1 for _ in x.shape[1:])))
        return x[chosen] * torch.tensor(factor, dtype=x.dtype), y[chosen]

    def loss(module, x, y):
        return torch.nn.functional.cross_entropy(module(x), y)

    return fit(module, batches, loss, seed=seed, steps=max(2, epochs * len(x) // batch), rate=rate, decay=decay)


def classifier(kind, problem, activation="relu", *, seed=0, epochs=None, data=None):
    """A network of a kind, trained on a problem's images, or on `data` in their place.

    kinds: "mlp" and "cnn" as in [ancona2017]; "deep" to watch relevance on a long way down: eight hidden layers of 96
    on digits, and the VGG-like network with batch normalisation on colour images; "bn" small and convolutional
    """
    torch = pytorch()
    torch.manual_seed(seed)
    shape, classes = problem.images.shape[1:], len(problem.classes)
    make, usual = ARCHITECTURES.get(f"{kind}-{problem.name}") or ARCHITECTURES[kind]
    module = make(torch.nn, shape, classes, ACTIVATIONS[activation])
    for layer in module:
        if hasattr(layer, "bias") and layer.weight.ndim > 1:  # PyTorch's own start is too narrow for deep networks
            gain = torch.nn.init.calculate_gain("tanh" if activation in ("tanh", "sigmoid") else "relu")
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.weight.data *= gain / torch.nn.init.calculate_gain("relu")
            torch.nn.init.zeros_(layer.bias)
    images, labels = data if data is not None else problem.train()
    trained(module, images, labels, seed=seed, epochs=epochs or usual, dim=problem.name in DIMMED)
    example = torch.tensor(problem.images[:2], dtype=torch.float32)
    return relprop.from_torch(module, example, name=f"{problem.name}-{kind}-{activation}")


ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus"}


def _mlp(nn, shape, classes, act):
    """[ancona2017] app. A.1: 784-512-512-10; as wide as the input where that is smaller."""
    inputs = int(np.prod(shape))
    width = min(512, inputs)
    act = getattr(nn, act)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, width), act(), nn.Linear(width, width), act(), nn.Linear(width, classes)
    )


def _deep_mlp(nn, shape, classes, act):
    """Eight hidden layers of 96."""
    sizes, act = (int(np.prod(shape)), *(8 * (96,)), classes), getattr(nn, act)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def _cnn(nn, shape, classes, act):
    """[ancona2017] app. A.1 for grey images, A.2 for colour."""
    act, (channels, side, _) = getattr(nn, act), shape
    if channels == 1:
        after = 64 * ((side - 4) // 2) ** 2
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), act(), nn.Conv2d(32, 64, 3), act(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(after, 128), act(), nn.Linear(128, classes),
        )  # fmt: skip
    after = 64 * (((side - 4) // 2 - 4) // 2) ** 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3), act(), nn.Conv2d(32, 32, 3), act(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Conv2d(32, 64, 3), act(), nn.Conv2d(64, 64, 3), act(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(after, 256), act(), nn.Dropout(0.5), nn.Linear(256, classes),
    )  # fmt: skip


def _vgg(nn, shape, classes, act):
    """Seven 3 × 3 convolutions of 16-16-M-32-32-M-64-64-M-64 channels with batch normalisation, and three dense."""
    layers, channels, side = [], shape[0], shape[1]
    for width in (16, 16, "M", 32, 32, "M", 64, 64, "M", 64):
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            side //= 2
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), getattr(nn, act)()]
            channels = width
    act = getattr(nn, act)
    head = [
        nn.Flatten(),
        nn.Linear(channels * side * side, 64),
        act(),
        nn.Linear(64, 64),
        act(),
        nn.Linear(64, classes),
    ]
    return nn.Sequential(*layers, *head)


def _small_bn(nn, shape, classes, act):
    """C16-C32 with batch normalisation and the same padding, then one dense layer on quarters."""
    act, (channels, side, _) = getattr(nn, act), shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), act(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), act(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (side // 2) ** 2, classes),
    )  # fmt: skip


def _texture(nn, shape, classes, act):
    """C16-C32-M-C64, averaged over the image: it reads textures of any place."""
    act, channels = getattr(nn, act), shape[0]
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), act(), nn.Conv2d(16, 32, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), act(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip


ARCHITECTURES = {  # name: (maker, epochs)
    "mlp": (_mlp, 20),
    "cnn": (_cnn, 8),
    "deep": (_vgg, 4),
    "deep-digits": (_deep_mlp, 60),
    "deep-mnist": (_deep_mlp, 10),
    "bn": (_small_bn, 20),
    "deep-textures": (_texture, 12),
    "deep-mosaics": (_texture, 16),
}
