"""What this package computes, in PyTorch, written from the papers' formulas: for comparisons of time and memory.

Everything is as PyTorch would have it: channels first, its own initial values, batch norms and optimizer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VOID = 255


def context_adaptive_convolution(x: Tensor, kernels: Tensor, rates: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """Equation 2: a kernel for every sample and channel, shared by the rates; (B, C, h, w) and (B, C, s, s)."""
    batch, channels, height, width = x.shape
    size = kernels.shape[-1]
    planes = x.reshape(1, batch * channels, height, width)
    filters = kernels.reshape(batch * channels, 1, size, size)
    weights = torch.zeros_like(planes)
    for rate in rates:
        found = functional.conv2d(planes, filters, padding=size // 2 * rate, dilation=rate, groups=batch * channels)
        weights = weights + torch.sigmoid(found)
    return weights.reshape(x.shape)


class CaC(nn.Module):
    """Section 3: X times the weights that its predicted kernels give, Equations 1 and 2."""

    def __init__(self, channels: int, size: int = 3) -> None:
        super().__init__()
        self.size = size
        self.query = nn.Conv2d(channels, size * size, 1, bias=False)
        self.key = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        query, key = self.query(x).flatten(2), self.key(x).flatten(2)
        kernels = self.norm(key @ query.transpose(1, 2) / (height * width))
        return x * context_adaptive_convolution(x, kernels.reshape(batch, channels, self.size, self.size))


def conv_norm_relu(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2 * dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Bottleneck(nn.Module):
    """He et al., "Deep Residual Learning", Figure 5, on the right."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            conv_norm_relu(inputs, width, 1, stride),
            conv_norm_relu(width, width, 3, 1, dilation),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.body(x), inplace=True)


class Network(nn.Module):
    """ResNet-50 at output stride 8 with CaC-Net's head, or with that of the FCN; class ids, or the loss of a batch."""

    def __init__(self, classes: int, heads: int = 2, pooled: bool = True, channels: int = 512) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255)
        self.stem = nn.Sequential(conv_norm_relu(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
        stages, inputs = [], 64
        for width, blocks, stride, dilation in ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 1, 2), (512, 3, 1, 4)):
            layers = []
            for block in range(blocks):
                layers.append(Bottleneck(inputs, width, stride if block == 0 else 1, dilation))
                inputs = 4 * width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.reduction = conv_norm_relu(2048, channels, 3)
        self.heads = nn.ModuleList(
            nn.Sequential(conv_norm_relu(channels, channels, 3), CaC(channels)) for _ in range(heads)
        )
        self.pooled = conv_norm_relu(channels, channels, 1) if pooled else None
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(channels * max(1, heads + pooled), classes, 1))
        auxiliary = [conv_norm_relu(1024, 256, 3), nn.Dropout(0.1), nn.Conv2d(256, classes, 1)]
        self.auxiliary = nn.Sequential(*auxiliary)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """By position, and the features of Res-4."""
        x = self.stem((images - self.mean) / self.std)
        for stage in self.stages[:3]:
            x = stage(x)
        res4 = x
        reduced = self.reduction(self.stages[3](x))
        branches = [head(reduced) for head in self.heads] or [reduced]
        if self.pooled is not None:
            branches.append(self.pooled(reduced.mean((2, 3), keepdim=True)).expand_as(reduced))
        return self.classifier(torch.cat(branches, dim=1)), res4

    def forward(self, images: Tensor) -> Tensor:
        logits, _ = self.logits(images)
        return enlarged(logits, images).argmax(dim=1)

    def loss(self, images: Tensor, masks: Tensor) -> Tensor:
        logits, res4 = self.logits(images)
        losses = [
            functional.cross_entropy(enlarged(one, images), masks, ignore_index=VOID)
            for one in (logits, self.auxiliary(res4))
        ]
        return losses[0] + 0.2 * losses[1]


def enlarged(logits: Tensor, images: Tensor) -> Tensor:
    return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)


def _as_it_is(function: Any) -> Any:
    return function


class Form(NamedTuple):
    """How PyTorch runs a network: the type it computes in, the order of its axes in memory, what compiles it."""

    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format
    compiled: Callable[[Any], Any] = _as_it_is


EAGER = Form()


def operation(shape: tuple[int, int, int, int], gradient: bool, form: Form = EAGER) -> Callable[[], Any]:
    """The context-adaptive convolution of (B, h, w, C) features."""
    batch, height, width, channels = shape
    x = torch.randn(batch, channels, height, width, dtype=form.dtype, requires_grad=gradient)
    kernels = torch.randn(batch, channels, 3, 3, dtype=form.dtype, requires_grad=gradient)
    run = form.compiled(context_adaptive_convolution)
    return _run(lambda: run(x, kernels), [x, kernels], gradient)


def layer(shape: tuple[int, int, int, int], gradient: bool, form: Form = EAGER) -> Callable[[], Any]:
    """The layer, in training where its gradient is asked for."""
    batch, height, width, channels = shape
    module = CaC(channels).to(form.dtype).train(gradient)
    x = torch.randn(batch, channels, height, width, dtype=form.dtype, requires_grad=gradient)
    run = form.compiled(module)
    return _run(lambda: run(x), [x, *module.parameters()], gradient)


def predict(network: str, size: int, batch: int, classes: int, form: Form = EAGER) -> Callable[[], Any]:
    """Class ids of a batch of images."""
    model = _network(network, classes).eval().to(memory_format=form.layout)
    images = (torch.rand(batch, 3, size, size) * 255).to(memory_format=form.layout)
    ids = form.compiled(model)

    def run() -> Any:
        with torch.inference_mode(), _narrow(images, form.dtype):
            return ids(images)

    return run


def train(network: str, size: int, batch: int, classes: int, form: Form = EAGER) -> Callable[[], Any]:
    """One step of stochastic gradient descent."""
    model = _network(network, classes).train().to(memory_format=form.layout)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    images = (torch.rand(batch, 3, size, size) * 255).to(memory_format=form.layout)
    masks = torch.randint(0, classes, (batch, size, size))
    loss_of = form.compiled(model.loss)

    def run() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with _narrow(images, form.dtype):
            loss = loss_of(images, masks)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def _narrow(images: Tensor, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _network(name: str, classes: int) -> Network:
    return Network(classes) if name == "cacnet" else Network(classes, heads=0, pooled=False)


def _run(forward: Callable[[], Tensor], inputs: list[Any], gradient: bool) -> Callable[[], Any]:
    upstream = torch.randn_like(inputs[0])

    def run() -> Any:
        if not gradient:
            with torch.inference_mode():
                return forward()
        result = forward()
        return result, torch.autograd.grad(result, inputs, upstream)

    return run
