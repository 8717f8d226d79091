# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CaC-Net in a notebook
#
# From a data set to a network that serves, in about five minutes on two processor cores and less on a GPU. Everything runs as it
# is; change one line to take your own photographs instead of the generated scenes.

# %% [markdown]
# ## Install
#
# A released version. From a checkout it is `%pip install ".[imagenet,tflite]"`.

# %% tags=["install"]
# %pip install --quiet "keras-cacnet[imagenet,tflite]"

# %% [markdown]
# TensorFlow logs its start; level 2 leaves out its notes and warnings.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf
from IPython.display import Image
from PIL import Image as Pictures

import keras_cacnet as kc

print(f"keras_cacnet {kc.__version__}, Keras {keras.__version__}, TensorFlow {tf.__version__}")
print(f"GPUs: {len(tf.config.list_physical_devices('GPU'))}")

# %% [markdown]
# ## Data
#
# `"scenes"` is generated on first use and needs no login. Replace it with the path of a folder that has `images/train/NAME.jpg`,
# `labels/train/NAME.png`, the same under `val`, and `classes.txt`. `kc.datasets.import_folder("raw", "photographs")` converts data
# in another form (VOC, COCO, Cityscapes, LabelMe, YOLO, masks in colour) to such a folder.

# %%
DATA = "scenes"  # or "/content/drive/MyDrive/photographs"

data = kc.datasets.open_dataset(DATA)
classes = data.classes
print(kc.datasets.check_dataset(data, progress=False).to_text())

# %% [markdown]
# ## What the network will see
#
# Random crops, scaled and mirrored at random, different in every epoch. Masks hold class ids, and 255 where nothing is to be learnt.

# %%
EPOCHS, STEPS, CROP = 6, 50, 96

train = kc.pipeline.training_batches(
    data.source("train"), classes, batch_size=8, crop_size=CROP, steps=STEPS, seed=0, scale_range=(0.75, 1.5)
)
val = kc.pipeline.evaluation_batches(data.source("val"), classes)
images, masks = next(iter(train))
kc.visualization.batch_figure(images, masks, classes).savefig("batch.png")
Image("batch.png")

# %% [markdown]
# ## A network from random weights, by `fit`
#
# Enough for drawings. The auxiliary head, which helps in training only, is no part of the model's output and therefore not in the
# summary's rows; its parameters are in the totals.

# %%
model = kc.CaCNet(len(classes), backbone="resnet14_narrow", head_channels=64)
model.summary()

# %% [markdown]
# From random weights the rate is 0.02. It falls to 0 over all steps of the training, so `poly` has to know how many there are.

# %%
loss, metrics = kc.losses.SegmentationCrossentropy(), [kc.metrics.MeanIoU(len(classes))]
rate = kc.optimizers.poly(0.02, total_steps=EPOCHS * STEPS)
model.compile(kc.optimizers.SGD(rate), loss, metrics=metrics)
history = model.fit(train, epochs=EPOCHS, validation_data=val, shuffle=False, verbose=2)

# %% [markdown]
# On several GPUs of one machine, build and compile the model under `tf.distribute.MirroredStrategy().scope()`, with
# `kc.CaCNet(..., synchronized=True)` and a batch size that is a multiple of the number of GPUs. Nothing else changes.

# %% [markdown]
# ## A pretrained backbone, by `kc.training.train`
#
# What photographs need. First the heads only, at 0.02, on features of a frozen EfficientNet-Lite0 that are computed once; then the
# whole network, at a tenth of the rate. A run keeps everything about itself in its folder, and can be resumed.
# `kc.training.fitted` would fit the sizes to your images; here they are small, and the runs short, to be quick.

# %%
SIZES = ["image_size=192", "crop_size=128"]

frozen = kc.training.with_settings(kc.training.RECIPES["laptop"].recipe, [*SIZES, "epochs=4", "cached_views=2"])
kc.training.train(kc.training.Job(frozen, data, "runs/frozen"), verbose=2)
tuned = kc.training.with_settings(kc.training.RECIPES["finetune"].recipe, [*SIZES, "epochs=1"])
kc.training.train(kc.training.Job(tuned, data, "runs/tuned", start_from="runs/frozen"), verbose=2)

# %% [markdown]
# ## The curve, and the scores
#
# From here on, `model` is the network from random weights; `kc.training.Run("runs/tuned").load_model()` would be the other one.

# %%
Image("runs/frozen/curve.png")

# %%
report = kc.evaluation.evaluate(model, data, progress=False)
print(report.to_text())

# %% [markdown]
# ## The worst images first
#
# Wrong labels are often among them, and so is what the training images lack.

# %%
model.classes = classes
segmenter = kc.Segmenter(model)
found = []
source = data.source("val")
for index in range(len(source)):
    image, mask = kc.datasets.read_example(source[index], classes)
    result, known = segmenter(image), mask != kc.datasets.VOID
    found.append((float((result.ids == mask)[known].mean()), image, mask, result))
found.sort(key=lambda one: one[0])
worst = found[:4]
columns = {"Ground truth": [one[2] for one in worst], "Predicted": [one[3].ids for one in worst]}
kc.visualization.comparison_figure([one[1] for one in worst], columns, classes).savefig("worst.png")
Image("worst.png")

# %% [markdown]
# A result shows itself as an overlay, and knows its areas.

# %%
image, result = worst[0][1], worst[0][3]
print({name: round(area.share, 3) for name, area in result.areas().items()})
result

# %% [markdown]
# ## What the context does: weighting maps
#
# X are features, W the weights that the scene gives them, X\* = X · W. **Darker is larger**: where W is dark the channel was kept.

# %%
Pictures.fromarray(image).save("scene.png")
kc.evaluation.predict_files(model, ["scene.png"], "pictures", classes, weighting=True, count=1, progress=False)
Image("pictures/scene_weighting.png")

# %% [markdown]
# ## Save, load, go on
#
# At the end of a training the rate is 0, so compile the network with a new one to train it further. Import `keras_cacnet` before
# loading a network.

# %%
model.save("cacnet.keras")
again = keras.models.load_model("cacnet.keras")
print(f"the same: {bool(np.array_equal(again.predict(image[None], verbose=0), model.predict(image[None], verbose=0)))}")
again.compile(kc.optimizers.SGD(kc.optimizers.poly(0.002, total_steps=STEPS)), loss, metrics=metrics)
again.fit(train, epochs=1, shuffle=False, verbose=2)

# %% [markdown]
# ## Other classes
#
# A preset is a folder that holds a network. With other classes, everything but the classifiers is kept.

# %%
model.save_to_preset("preset")
other = kc.CaCNet.from_preset("preset", num_classes=3)

# %% [markdown]
# ## Serve it
#
# The SavedModel needs neither Keras nor this package; here it is called in a process that has neither.

# %%
kc.export.saved_model(model, "served/1", classes)
QUERY = """
import sys
sys.modules["keras"] = sys.modules["keras_cacnet"] = None  # neither can be imported
import tensorflow as tf
image = tf.io.decode_png(tf.io.read_file("scene.png"), 3)
ids = tf.saved_model.load("served/1").signatures["serving_default"](images=image[None])["class_ids"]
print(ids.shape)
"""
answer = subprocess.run([sys.executable, "-c", QUERY], capture_output=True, text=True, check=True)
print(answer.stdout)

# %% [markdown]
# ## Take it to a phone

# %%
from ai_edge_litert.interpreter import Interpreter

kc.export.tflite(model, "cacnet.tflite", classes)
run = Interpreter("cacnet.tflite").get_signature_runner("serving_default")
print(f"pixels as in Keras: {(run(images=image[None])['class_ids'][0] == result.ids).mean():.2%}")

# %% [markdown]
# ## Common mistakes, and what they look like
#
# | mistake | what you see |
# |---|---|
# | images in 0..1 | one class nearly everywhere, for they are black to the network; `ids`, `scores` and `Segmenter` refuse them |
# | masks of 0 and 255 | `check` says that 255 is void; nothing but background is learnt |
# | `CaCNet(1)` | an error: the background is a class, so a binary task has two |
# | batches of one image | the pooled branch's batch norm has nothing to compare, and predictions would be of another network than training had; `fit` and `train` refuse them |
# | a rate that is too high | the loss is NaN; `train` stops, and the last good checkpoint stays |
# | a rate for pretrained weights, and random ones | the score hardly moves; `train` warns |

# %%
wrong = model.predict(image[None] / 255, verbose=0).argmax(axis=-1)
print(f"in 0..1: {np.bincount(wrong.ravel()).max() / wrong.size:.0%} of the pixels have one class")
try:
    kc.evaluation.ids(model, image / 255)
except ValueError as error:
    print(f"ids: {error}")
try:
    kc.CaCNet(1)
except ValueError as error:
    print(f"CaCNet(1): {error}")
two = np.where(mask == 0, 0, 255)[None]
print(f"0 and 255: {(two == 255).mean():.0%} of the pixels are void")
wild = keras.models.clone_model(keras.Model(model.inputs, model.outputs))
wild.compile(kc.optimizers.SGD(1e30), loss)
print(f"a rate that is far too high: loss {wild.fit(train, epochs=1, shuffle=False, verbose=0).history['loss'][0]}")
