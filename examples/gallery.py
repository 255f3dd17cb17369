"""Make the pictures of docs/gallery.md from the shipped digits and models: python examples/gallery.py [NAME …]

Minutes on one core. The same machine, fonts and matplotlib give the same bytes. The picture of a page needs Chromium,
its driver and the extra `browser`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import pyref
import relprop
from pyref import metrics
from relprop import view

FOLDER = Path(__file__).parents[1] / "docs" / "gallery"
METHODS = {
    "saliency": "saliency",
    "gradient × input": "gradient_times_input",
    "ε-LRP": "lrp",
    "DeepLIFT": "deeplift",
    "integrated gradients": "integrated_gradients",
}
IMAGES, _ = relprop.digits()
DPI = 85


def explained(network, x, **methods):
    return {name: relprop.explain(network, x, method, progress=False).values for name, method in methods.items()}


def overlays():
    """Four methods on three digits: the input, the heatmap, and the heatmap over the input."""
    network, x = relprop.zoo("digits-cnn-softplus"), IMAGES[[37, 12, 25]]
    maps = explained(network, x, **{k: v for k, v in METHODS.items() if k != "saliency"})
    rows = {"input": [p for k in range(3) for p in (("input", x[k]), None)]}
    for name, values in maps.items():
        rows[name] = [p for k in range(3) for p in (values[k], ("overlay", values[k], x[k]))]
    note = "digits-cnn-softplus. Each panel has its own scale: blue negative, white zero, red positive."
    return view.panels_figure(rows, size=0.95, note=note)


def clipped():
    """One scale for all panels; where it ends below the largest value, the figure says how many values that clips."""
    network, x = relprop.zoo("digits-mlp-tanh"), IMAGES[37:38]
    maps = explained(network, x, **METHODS)
    rows = {"no. 37": [("input", x[0]), *(values[0] for values in maps.values())]}
    unit = "attribution (unit of the logit)"
    return view.panels_figure(rows, titles=("input", *maps), shared="all", clip=97, unit=unit)


def sensitivity():
    """Sensitivity-n: means over forty digits, with their bootstrap intervals."""
    network, x = relprop.zoo("digits-mlp-tanh"), IMAGES[:40]
    target = network(x).argmax(axis=1)
    maps = explained(network, x, **METHODS, occlusion="occlusion")
    measured = metrics.sensitivity_n(network, x, maps, target=target)
    return view.measurement_figure(measured, log=("x",), title="Sensitivity-n, digits-mlp-tanh")


def removal():
    """What the output says when features go, most relevant first and least relevant first."""
    network, x = relprop.zoo("digits-mlp-tanh"), IMAGES[:40]
    target = network(x).argmax(axis=1)
    maps = explained(network, x, **{name: METHODS[name] for name in ("saliency", "integrated gradients")})
    measured = metrics.morf_lerf(network, x, maps, target=target)
    return view.measurement_figure(measured, title="MoRF and LeRF, digits-mlp-tanh")


def convergence():
    """Cosine similarity convergence: z⁺ forgets on its way down what it was asked."""
    network, x = relprop.zoo("digits-cnn-relu"), IMAGES[:40]
    asked = {"z⁺": ("lrp", {"rule": "z_plus"}), "ε-LRP": ("lrp", {"rule": pyref.Epsilon(0)}), "gradient": "gradient"}
    return view.convergence_figure(metrics.cosine_convergence(network, x, asked), title="digits-cnn-relu")


def flow():
    """The ledger: relevance node by node, and what biases and the stabiliser keep."""
    network = relprop.zoo("digits-cnn-relu")
    return view.flow_figure(network, relprop.explain(network, IMAGES[37:38], rule="epsilon", epsilon=0.1))


def saturation():
    """The output flattens before the input is reached, and its gradient falls."""
    network, alphas = relprop.zoo("digits-cnn-tanh"), tuple(np.arange(21) / 20)
    return view.saturation_figure(relprop.explain(network, IMAGES[:40], "interior_gradients", alphas=alphas))


def words():
    """A recurrent network reads a digit row by row: each step on the colour of its relevance."""
    network, x = relprop.zoo("digits-lstm"), IMAGES[37:38]
    a = relprop.explain(network, x, rule="epsilon", epsilon=0.01)
    names = [f"row {k}" for k in range(8)]
    title = f"digits-lstm reads a digit in eight steps: output {a.output[0]:.3g}"
    return view.tokens_figure(names, a.values[0, 0], title=title, width=5)


def interior():
    """Interior gradients on the way from mid-grey to the digit."""
    network, alphas = relprop.zoo("digits-cnn-tanh"), tuple(np.arange(1, 9) / 8)
    return view.interior_frames(relprop.explain(network, IMAGES[37:38], "interior_gradients", alphas=alphas))


def page():
    """The page of `relprop explain --html` in a browser, a map read by keyboard, as PNG."""
    import shutil

    from selenium import webdriver
    from selenium.webdriver.common.keys import Keys

    network = relprop.zoo("digits-cnn-relu")
    a = relprop.explain(network, IMAGES[37:38], rule="epsilon", epsilon=0.1)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder:
        for flag in (
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-sync",
            "hide-scrollbars",
            f"user-data-dir={folder}/profile",
        ):
            options.add_argument(f"--{flag}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        size = {"width": 620, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(view.write_explanation(f"{folder}/page.html", a, network).as_uri())
        second = browser.find_elements("css selector", ".view")[1]
        second.send_keys(Keys.ENTER)
        browser.execute_script("scrollTo(0, 0)")
        png = browser.get_screenshot_as_png()
        browser.quit()
    return png


PICTURES = {
    f"{function.__name__}.{suffix}": function
    for suffix, functions in {
        "png": (overlays, clipped, sensitivity, removal, convergence, flow, saturation, words, page),
        "gif": (interior,),
    }.items()
    for function in functions
}


def write(name, folder=FOLDER):
    """Make one picture and write it; return its path."""
    made, path = PICTURES[name](), Path(folder) / name
    if isinstance(made, bytes):
        path.write_bytes(made)
    elif isinstance(made, list):
        view.save_animation(made, path, dpi=75)
    else:
        view.save_figure(made, path, dpi=DPI)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        path = write(name)
        print(f"{path.stat().st_size / 1000:6.1f} kB  {path}")
