"""Views of images: a number of augmented crops of every image, the same whenever they are asked for."""

from dataclasses import dataclass

import tensorflow as tf

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.source import Source
from keras_cacnet.pipeline.augmentation import augment
from keras_cacnet.pipeline.batches import shuffled
from keras_cacnet.pipeline.calls import PARALLEL
from keras_cacnet.pipeline.examples import count_of, read
from keras_cacnet.pipeline.jitter import Jitter


@dataclass(frozen=True)
class Views:
    """How the views of a source's images are made, and in which order a run takes them.

    View v of image i is number v * N + i of all. It is what `augment` makes of the image by the seed (v, i), so runs of
    other seeds see the same views, and can share what is computed of them. With `flip`, every other view of an image
    is mirrored. What a view has beyond the image is filled up with the image's mirror image: features that are pooled
    over a view would see what is black there, which whole images have not.

    Args:
        count: views of every image.
        crop_size: height and width of the views.
        scale_range: see `augment`.
        flip: whether views 1, 3, 5... are mirrored.
        image_size: see `augment`.
        jitter: see `augment`; a view has the same colours and angle whenever it is asked for.

    Example:
        >>> views = Views(count=2, crop_size=64)
        >>> [int(views.number(g, images=3, seed=0)) // 3 for g in tf.range(9, dtype="int64")]  # the view of each epoch
        [0, 0, 0, 1, 1, 1, 0, 0, 0]
    """

    count: int
    crop_size: int
    scale_range: tuple[float, float] = (1.0, 1.0)
    flip: bool = True
    image_size: int | None = None
    jitter: Jitter | None = None

    def number(self, g: tf.Tensor, images: int, seed: int) -> tf.Tensor:
        """Compute the number of the view that is example g of a run: epoch e has view e mod `count` of every image.

        Args:
            g: number of the example, from the start of the run.
            images: images in the source.
            seed: of the order.
        """
        return g // images % self.count * images + shuffled(g, images, seed)

    def stream(self, source: Source, classes: ClassTable, first: int, last: int) -> tf.data.Dataset:
        """Make the views of the numbers `first` to `last`, the latter not among them, in order.

        Args:
            source: the examples.
            classes: the data set's classes.
            first: number of the first view.
            last: number of the view behind the last one.

        Returns:
            Images, float32 (crop_size, crop_size, 3) in 0..255, and masks, uint8 (crop_size, crop_size).
        """
        images = count_of(source)

        def view(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self.of(*read(source, classes, number % images), number // images, number % images)

        numbers = tf.data.Dataset.range(first, last)
        return numbers.map(view, num_parallel_calls=PARALLEL, deterministic=True)

    def of(self, image: tf.Tensor, mask: tf.Tensor, view: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Make view `view` of an image and its mask, which are number `index` of their source."""
        if self.flip:
            # Before anything else, so that what is filled up is on the right in all views.
            mirrored = view % 2 == 1
            image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
            mask = tf.cond(mirrored, lambda: tf.reverse(mask, [1]), lambda: mask)
        seed = tf.stack([tf.cast(view, "int64"), tf.cast(index, "int64")])
        return augment(image, mask, seed, self.crop_size, self.scale_range, False, self.image_size, True, self.jitter)
