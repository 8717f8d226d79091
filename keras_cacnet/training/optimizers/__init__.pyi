from .adamw import AdamW as AdamW
from .loss_scale import LossScaleOptimizer as LossScaleOptimizer
from .schedules import PolyDecay as PolyDecay
from .schedules import Warmup as Warmup
from .schedules import cosine as cosine
from .schedules import poly as poly
from .sgd import SGD as SGD
