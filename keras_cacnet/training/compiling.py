"""The network that a recipe describes, compiled: what of it is trained, by which loss and which optimizer."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_cacnet.models.cacnet import CaCNet
from keras_cacnet.models.freezing import freeze
from keras_cacnet.models.heads import HEAD_LAYERS
from keras_cacnet.models.settings import WHOLE_BACKBONE
from keras_cacnet.training.losses import loss_named
from keras_cacnet.training.metrics import MeanIoU, PixelAccuracy
from keras_cacnet.training.optimizers import SGD, AdamW, LossScaleOptimizer, Warmup, cosine, poly
from keras_cacnet.training.recipe import FROM_SCRATCH, PRECISIONS, Recipe


def network_arguments(recipe: Recipe) -> dict[str, Any]:
    """Give the arguments of `CaCNet` in a recipe, but for the number of classes.

    Example:
        >>> arguments = network_arguments(Recipe(precision="bfloat16", num_heads=2, kernel_sizes=(3, 5)))
        >>> arguments["dtype"], arguments["kernel_sizes"], arguments["input_size"]
        ('mixed_bfloat16', (3, 5), None)
    """
    names = (
        *("backbone", "weights", "output_stride", "head_channels", "num_heads", "dilation_rates", "input_size"),
        *("reweighting", "se_loss_weight", "global_pooling", "auxiliary_weight", "dropout"),
    )
    sizes = recipe.kernel_sizes
    return {
        **{name: getattr(recipe, name) for name in names},
        "kernel_sizes": sizes if len(sizes) == recipe.num_heads else sizes[0],
        "dtype": PRECISIONS[recipe.precision],
    }


def new_network(recipe: Recipe, num_classes: int) -> CaCNet:
    """Build the network of a recipe, in the scope of the strategy that it is trained under.

    Args:
        recipe: the settings.
        num_classes: number of classes.

    Returns:
        The network; batch norms are synchronized on one device as well, so that a run can go on with more.
    """
    return CaCNet(num_classes, **network_arguments(recipe), synchronized=True)


def compile_network(
    model: keras.Model,
    recipe: Recipe,
    num_classes: int,
    total_steps: int,
    class_weights: Sequence[float] | None = None,
) -> None:
    """Compile a network as a recipe says, in the scope of the strategy that it was built under.

    Args:
        model: the network, new or of another run.
        recipe: the settings.
        num_classes: number of classes.
        total_steps: the number of steps of the whole run, over which the learning rate falls.
        class_weights: a weight for each class in the loss.
    """
    model.loss_stride = recipe.loss_stride
    model.recompute = recipe.recompute
    freeze(model, recipe.freeze)
    optimizer = optimizer_of(recipe, total_steps)
    model.compile(
        # Small gradients would vanish in float16.
        optimizer=LossScaleOptimizer(optimizer) if recipe.precision == "float16" else optimizer,
        loss=loss_named(recipe.loss, class_weights, recipe.label_smoothing),
        metrics=[MeanIoU(num_classes), PixelAccuracy(num_classes)],
        jit_compile=False,
        accumulate=recipe.accumulate,
    )


def optimizer_of(recipe: Recipe, total_steps: int) -> keras.optimizers.Optimizer:
    """Build the optimizer of a recipe, with its learning rate over all steps of the run.

    Example:
        >>> adamw = optimizer_of(Recipe(optimizer="adamw", schedule="cosine", warmup_steps=10), total_steps=100)
        >>> type(adamw).__name__, round(float(adamw.learning_rate), 6)
        ('AdamW', 0.0001)
    """
    warmup, rate = recipe.warmup_steps, recipe.learning_rate
    rates = {
        "poly": lambda steps: poly(rate, steps, recipe.poly_power),
        "cosine": lambda steps: cosine(rate, steps),
        "constant": lambda _: rate,
    }
    after = rates[recipe.schedule](total_steps - warmup)
    settings: dict[str, Any] = {
        "learning_rate": Warmup(after, warmup) if warmup else after,
        "weight_decay": recipe.weight_decay,
        "multipliers": [(HEAD_LAYERS, recipe.head_factor)],
    }
    if recipe.ema:
        settings |= {"use_ema": True, "ema_momentum": recipe.ema}
    return AdamW(**settings) if recipe.optimizer == "adamw" else SGD(momentum=recipe.momentum, **settings)


def rate_warning(recipe: Recipe) -> str | None:
    """Say in words that the learning rate is meant for the other kind of start, for a run that begins afresh.

    Example:
        >>> rate_warning(Recipe(weights="imagenet")), rate_warning(Recipe(**FROM_SCRATCH))
        (None, None)
        >>> rate_warning(Recipe())
        'learning_rate=0.001 is for a pretrained backbone, and this one starts from random weights: ...'
    """
    scratch, default = FROM_SCRATCH["learning_rate"], Recipe.learning_rate
    if recipe.freeze != "none" and recipe.weights is None:
        return f"freeze={recipe.freeze} keeps what is random in the backbone as it is: give it weights, or train it"
    if recipe.freeze in WHOLE_BACKBONE:
        return None
    if recipe.weights is None and recipe.learning_rate < scratch / 2:
        rates = " ".join(f"{name}={value:g}" for name, value in FROM_SCRATCH.items())
        return (
            f"learning_rate={recipe.learning_rate} is for a pretrained backbone, and this one starts from random "
            f"weights: it would learn little; set {rates}, or give it weights"
        )
    if recipe.weights is not None and recipe.learning_rate >= scratch:
        return (
            f"learning_rate={recipe.learning_rate} is for a backbone that starts from random weights, and would "
            f"undo those of weights={recipe.weights}: set learning_rate={default} head_factor={Recipe.head_factor:g}"
        )
    return None
