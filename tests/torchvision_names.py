"""Two names of torchvision, which zennit wants for networks that are not here, where torchvision is not installed."""

import importlib.util
import sys
from types import ModuleType

if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
    resnet = ModuleType("torchvision.models.resnet")
    resnet.Bottleneck = resnet.BasicBlock = type("Block", (), {})
    names = ("torchvision", "torchvision.models", resnet.__name__)
    sys.modules |= zip(names, (ModuleType(names[0]), ModuleType(names[1]), resnet), strict=True)
