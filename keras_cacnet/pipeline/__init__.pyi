from .augmentation import augment as augment
from .batches import evaluation_batches as evaluation_batches
from .batches import training_batches as training_batches
from .batches import window_batches as window_batches
from .calls import call as call
from .examples import reading_error as reading_error
from .jitter import Jitter as Jitter
from .views import Views as Views
