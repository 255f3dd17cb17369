"""PyTorch modules as torchvision writes them: activations in place and used again, `+=`, functional calls, branches.

Only tests import this, where PyTorch is installed. `width` is a factor of the number of channels.
"""

import torch
import torch.nn.functional as F
from torch import nn


def vgg16(width=1, classes=1000, batchnorm=False):
    layers, c = [], 3
    for stage, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            out = max(1, round(stage * width))
            layers.append(nn.Conv2d(c, out, 3, padding=1))
            layers += [nn.BatchNorm2d(out)] if batchnorm else []
            layers.append(nn.ReLU(inplace=True))
            c = out
        layers.append(nn.MaxPool2d(2, 2))
    return VGG(nn.Sequential(*layers), c, max(1, round(4096 * width)), classes)


class VGG(nn.Module):
    def __init__(self, features, c, hidden, classes):
        super().__init__()
        self.features, self.avgpool = features, nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(c * 49, hidden), nn.ReLU(True), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout(), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Bottleneck(nn.Module):
    """One ReLU object, in place, in three places; `out += identity`."""

    def __init__(self, c, out, stride=1, downsample=None):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, out, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv3, self.bn3 = nn.Conv2d(out, 4 * out, 1, bias=False), nn.BatchNorm2d(4 * out)
        self.relu, self.downsample = nn.ReLU(inplace=True), downsample

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet50(nn.Module):
    def __init__(self, width=1, classes=1000, blocks=(3, 4, 6, 3)):
        super().__init__()
        c = max(1, round(64 * width))
        self.conv1, self.bn1 = nn.Conv2d(3, c, 7, 2, 3, bias=False), nn.BatchNorm2d(c)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        for stage, count in enumerate(blocks, start=1):
            out, layers = max(1, round(64 * 2 ** (stage - 1) * width)), []
            for k in range(count):
                stride = 2 if k == 0 < stage - 1 else 1
                fits = stride == 1 and c == 4 * out
                shortcut = nn.Sequential(nn.Conv2d(c, 4 * out, 1, stride, bias=False), nn.BatchNorm2d(4 * out))
                layers.append(Bottleneck(c, out, stride, None if fits else shortcut))
                c = 4 * out
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(c, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


class DenseNet(nn.Module):
    """A dense block, a transition, and functional ReLUs in place."""

    def __init__(self, c=4, growth=3, layers=3, classes=5):
        super().__init__()
        self.first = nn.Conv2d(3, c, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c + k * growth) for k in range(layers))
        self.convs = nn.ModuleList(nn.Conv2d(c + k * growth, growth, 3, padding=1, bias=False) for k in range(layers))
        c = c + layers * growth
        self.transition = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(True), nn.Conv2d(c, c // 2, 1), nn.AvgPool2d(2))
        self.norm, self.classifier = nn.BatchNorm2d(c // 2), nn.Linear(c // 2, classes)

    def forward(self, x):
        features = [self.first(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)), inplace=True)))
        x = F.relu(self.norm(self.transition(torch.cat(features, 1))), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class BasicConv2d(nn.Module):
    def __init__(self, c, out, **options):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(c, out, bias=False, **options), nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


def transformed(x):
    """torchvision's `transform_input`."""
    channels = []
    for k, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        channels.append(torch.unsqueeze(x[:, k], 1) * (deviation / 0.5) + (mean - 0.5) / 0.5)
    return torch.cat(channels, 1)


class GoogLeNetBlock(nn.Module):
    def __init__(self, c, ones, before3, threes, before5, fives, pooled):
        super().__init__()
        self.branch1 = BasicConv2d(c, ones, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(c, before3, kernel_size=1), BasicConv2d(before3, threes, kernel_size=3, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(c, before5, kernel_size=1), BasicConv2d(before5, fives, kernel_size=3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv2d(c, pooled, kernel_size=1)
        )  # fmt: skip

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    BLOCKS = (
        ("3a", 64, 96, 128, 16, 32, 32), ("3b", 128, 128, 192, 32, 96, 64), ("4a", 192, 96, 208, 16, 48, 64),
        ("4b", 160, 112, 224, 24, 64, 64), ("4c", 128, 128, 256, 24, 64, 64), ("4d", 112, 144, 288, 32, 64, 64),
        ("4e", 256, 160, 320, 32, 128, 128), ("5a", 256, 160, 320, 32, 128, 128), ("5b", 384, 192, 384, 48, 128, 128),
    )  # fmt: skip

    def __init__(self, width=1, classes=1000, transform_input=True):
        super().__init__()

        def w(channels):
            return max(1, round(channels * width))

        self.transform_input = transform_input
        self.conv1 = BasicConv2d(3, w(64), kernel_size=7, stride=2, padding=3)
        self.conv2 = BasicConv2d(w(64), w(64), kernel_size=1)
        self.conv3 = BasicConv2d(w(64), w(192), kernel_size=3, padding=1)
        for k in (1, 2, 3):
            setattr(self, f"maxpool{k}", nn.MaxPool2d(3, 2, ceil_mode=True))
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        c = w(192)
        for name, *widths in self.BLOCKS:
            widths = [w(k) for k in widths]
            setattr(self, f"inception{name}", GoogLeNetBlock(c, *widths))
            c = widths[0] + widths[2] + widths[4] + widths[5]
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(0.2), nn.Linear(c, classes)

    def forward(self, x):
        x = transformed(x) if self.transform_input else x
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        for name, *_ in self.BLOCKS:
            x = getattr(self, f"inception{name}")(x)
            x = self.maxpool3(x) if name == "3b" else self.maxpool4(x) if name == "4e" else x
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))


class InceptionA(nn.Module):
    def __init__(self, c, w, pool_features):
        super().__init__()
        self.branch1x1 = BasicConv2d(c, w(64), kernel_size=1)
        self.branch5x5_1 = BasicConv2d(c, w(48), kernel_size=1)
        self.branch5x5_2 = BasicConv2d(w(48), w(64), kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(c, w(64), kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(w(64), w(96), kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(w(96), w(96), kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(c, w(pool_features), kernel_size=1)
        self.out = w(64) + w(64) + w(96) + w(pool_features)

    def forward(self, x):
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), branch3x3dbl, branch_pool], 1)


class InceptionB(nn.Module):
    def __init__(self, c, w):
        super().__init__()
        self.branch3x3 = BasicConv2d(c, w(384), kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(c, w(64), kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(w(64), w(96), kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(w(96), w(96), kernel_size=3, stride=2)
        self.out = w(384) + w(96) + c

    def forward(self, x):
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), branch3x3dbl, F.max_pool2d(x, kernel_size=3, stride=2)], 1)


class InceptionC(nn.Module):
    def __init__(self, c, w, channels_7x7):
        super().__init__()
        c7, wide, tall = w(channels_7x7), {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1)}
        tall["padding"] = (3, 0)
        self.branch1x1 = BasicConv2d(c, w(192), kernel_size=1)
        self.branch7x7_1 = BasicConv2d(c, c7, kernel_size=1)
        self.branch7x7_2, self.branch7x7_3 = BasicConv2d(c7, c7, **wide), BasicConv2d(c7, w(192), **tall)
        self.branch7x7dbl_1 = BasicConv2d(c, c7, kernel_size=1)
        self.branch7x7dbl_2, self.branch7x7dbl_3 = BasicConv2d(c7, c7, **tall), BasicConv2d(c7, c7, **wide)
        self.branch7x7dbl_4, self.branch7x7dbl_5 = BasicConv2d(c7, c7, **tall), BasicConv2d(c7, w(192), **wide)
        self.branch_pool = BasicConv2d(c, w(192), kernel_size=1)
        self.out = 4 * w(192)

    def forward(self, x):
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        dbl = self.branch7x7dbl_1(x)
        for k in (2, 3, 4, 5):
            dbl = getattr(self, f"branch7x7dbl_{k}")(dbl)
        branch_pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), branch7x7, dbl, branch_pool], 1)


class InceptionD(nn.Module):
    def __init__(self, c, w):
        super().__init__()
        self.branch3x3_1 = BasicConv2d(c, w(192), kernel_size=1)
        self.branch3x3_2 = BasicConv2d(w(192), w(320), kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(c, w(192), kernel_size=1)
        self.branch7x7x3_2 = BasicConv2d(w(192), w(192), kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(w(192), w(192), kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(w(192), w(192), kernel_size=3, stride=2)
        self.out = w(320) + w(192) + c

    def forward(self, x):
        branch7x7x3 = self.branch7x7x3_1(x)
        for k in (2, 3, 4):
            branch7x7x3 = getattr(self, f"branch7x7x3_{k}")(branch7x7x3)
        branch_pool = F.max_pool2d(x, kernel_size=3, stride=2)
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), branch7x7x3, branch_pool], 1)


class InceptionE(nn.Module):
    def __init__(self, c, w):
        super().__init__()
        rows, columns = {"kernel_size": (1, 3), "padding": (0, 1)}, {"kernel_size": (3, 1), "padding": (1, 0)}
        self.branch1x1 = BasicConv2d(c, w(320), kernel_size=1)
        self.branch3x3_1 = BasicConv2d(c, w(384), kernel_size=1)
        self.branch3x3_2a, self.branch3x3_2b = (BasicConv2d(w(384), w(384), **k) for k in (rows, columns))
        self.branch3x3dbl_1 = BasicConv2d(c, w(448), kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(w(448), w(384), kernel_size=3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = (BasicConv2d(w(384), w(384), **k) for k in (rows, columns))
        self.branch_pool = BasicConv2d(c, w(192), kernel_size=1)
        self.out = w(320) + 4 * w(384) + w(192)

    def forward(self, x):
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = torch.cat([self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)], 1)
        dbl = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        dbl = torch.cat([self.branch3x3dbl_3a(dbl), self.branch3x3dbl_3b(dbl)], 1)
        branch_pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), branch3x3, dbl, branch_pool], 1)


class InceptionV3(nn.Module):
    def __init__(self, width=1, classes=1000, transform_input=True):
        super().__init__()

        def w(channels):
            return max(1, round(channels * width))

        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = BasicConv2d(3, w(32), kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(w(32), w(32), kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(w(32), w(64), kernel_size=3, padding=1)
        self.maxpool1, self.maxpool2 = nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = BasicConv2d(w(64), w(80), kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(w(80), w(192), kernel_size=3)
        self.blocks, c = [], w(192)
        for name, kind, *rest in (
            ("5b", InceptionA, 32), ("5c", InceptionA, 64), ("5d", InceptionA, 64), ("6a", InceptionB),
            ("6b", InceptionC, 128), ("6c", InceptionC, 160), ("6d", InceptionC, 160), ("6e", InceptionC, 192),
            ("7a", InceptionD), ("7b", InceptionE), ("7c", InceptionE),
        ):  # fmt: skip
            block = kind(c, w, *rest)
            setattr(self, f"Mixed_{name}", block)
            self.blocks.append(f"Mixed_{name}")
            c = block.out
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(), nn.Linear(c, classes)

    def forward(self, x):
        x = transformed(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.fc(torch.flatten(self.dropout(self.avgpool(x)), 1))


class Functional(nn.Module):
    """No module but those with parameters, one of them used twice; sums and products with constants and in place."""

    def __init__(self):
        super().__init__()
        self.conv, self.shared, self.out = nn.Conv2d(3, 4, 3, padding="same"), nn.Linear(8, 8), nn.Linear(8, 3)
        self.up = nn.ConvTranspose2d(4, 2, 3, 2, 1, 1)
        self.register_buffer("tilt", torch.tensor([1.0, -2.0]).reshape(2, 1, 1))

    def forward(self, x):
        x = F.leaky_relu(self.conv(x), 0.1)
        x = F.elu(self.up(F.max_pool2d(x, 2))) * self.tilt
        x = F.interpolate(x, scale_factor=0.5, mode="nearest")
        x = F.pad(x, (1, 0), value=0.5)[:, :, 1:, :2]
        x /= 2
        x = (1 - x).permute(0, 2, 3, 1).reshape(x.shape[0], -1)
        a, b = self.shared(x[:, :8]).chunk(2, dim=1)
        x = torch.cat([torch.tanh(a) * torch.sigmoid(b), F.softplus(a - b)], dim=-1)
        return self.out(F.hardswish(self.shared(x)) + x)


class Reader(nn.Module):
    """Embedding, recurrent layers, and a dense layer on their last states or on the mean over time."""

    def __init__(self, kind, batch_first, layers, bidirectional, last, c=4, h=3):
        super().__init__()
        self.embedding, self.last, self.batch_first = nn.Embedding(7, c), last, batch_first
        self.rnn = kind(c, h, layers, batch_first=batch_first, bidirectional=bidirectional, dropout=0.2 * (layers > 1))
        self.out = nn.Linear(2 * h if bidirectional else h, 2)

    def forward(self, ids):
        x = self.embedding(ids)
        return self.read(x if self.batch_first else x.transpose(0, 1))

    def read(self, x):
        sequence, states = self.rnn(x)
        if self.last:
            h = states[0] if isinstance(states, tuple) else states
            return self.out(torch.cat([h[-2], h[-1]], 1) if self.rnn.bidirectional else h[-1])
        return self.out(sequence.mean(1 if self.batch_first else 0))


class Sequences(Reader):
    """`Reader` without ids: it reads vectors."""

    def forward(self, x):
        return self.read(x if self.batch_first else x.transpose(0, 1))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, image, context):
        return F.relu(self.left(image)) * torch.sigmoid(self.right(context))
