"""How a run begins: afresh, from another run's network, or where it was broken off."""

import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_cacnet.datasets import count_labels, fingerprint, require_layout, shares_images
from keras_cacnet.datasets.folder import whole_name
from keras_cacnet.datasets.label_checking import judged_labels
from keras_cacnet.datasets.source import SegmentationDataset, Source, grouped
from keras_cacnet.files import user_path, write_json
from keras_cacnet.training.checkpoint_file import Progress
from keras_cacnet.training.checkpoints import Checkpoints, TrainingWarning
from keras_cacnet.training.cluster import is_chief, require_agreement
from keras_cacnet.training.compiling import compile_network, new_network, rate_warning
from keras_cacnet.training.losses.frequencies import CLASS_WEIGHTS, class_weights
from keras_cacnet.training.recipe import ONE_IMAGE, Recipe
from keras_cacnet.training.run import Run, begun

_PACKAGES = ("keras-cacnet", "keras", "tensorflow", "keras-cv", "tensorflow-datasets", "numpy", "pillow")


@dataclass(frozen=True)
class Job:
    """What a run is: its settings, its data, where it goes and where it comes from.

    Args:
        recipe: the settings.
        dataset: the data.
        output: the folder of the run; new or empty, unless `resume`. Where several machines share a run, a folder
            that all of them see.
        resume: go on from the last checkpoint of that folder, exactly; recipe and data have to be the same, the
            devices need not. Where there is no run yet, it begins.
        start_from: the folder of another run, whose best network this one starts from, with a new optimizer; its
            network has to be that of this run; where its classes are others, all is kept but the classifiers. A run
            that goes on needs it no more.
        save_every: the number of steps between two checkpoints within an epoch; by default there is one an epoch.
        data: how the user named the data, for the record; its own name by default.
        data_dir: where the user said that it is, for the record.
        recipe_name: the name of the recipe, for the record.
    """

    recipe: Recipe
    dataset: SegmentationDataset
    output: str | os.PathLike[str]
    _: KW_ONLY
    resume: bool = False
    start_from: str | os.PathLike[str] | None = None
    save_every: int | None = None
    data: str = ""
    data_dir: str | os.PathLike[str] | None = None
    recipe_name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, Recipe):
            raise ValueError(f"recipe must be a keras_cacnet.training.Recipe, got {self.recipe!r}")
        if not hasattr(self.dataset, "source"):
            raise ValueError(f"dataset must be what keras_cacnet.datasets.open_dataset gives, got {self.dataset!r}")


class Start(NamedTuple):
    """A run before its next step.

    Args:
        source: the examples that it is trained on.
        scored: the examples that it is scored on, if any.
        digest: of the contents of the source.
        steps_per_epoch: the number of steps of an epoch.
        model: its network, compiled.
        progress: how far it has come.
        checkpoints: what writes its checkpoints into its folder.
    """

    source: Source
    scored: Source | None
    digest: str
    steps_per_epoch: int
    model: keras.Model
    progress: Progress
    checkpoints: Checkpoints


def begin(job: Job, strategy: tf.distribute.Strategy) -> Start:
    """Decide how a run begins, and leave its record in its folder.

    What is quickly seen to be wrong is refused first, before the network is built and the data is read.

    Args:
        job: the run.
        strategy: the devices; all processes of a run have to begin it.

    Returns:
        The run, ready for its next step.

    Raises:
        ValueError, OSError: as for `train`.
    """
    recipe, dataset, settings = job.recipe, job.dataset, job.recipe.to_json()
    checkpoints = Checkpoints(job.output, job.save_every, chief=is_chief(strategy), patience=recipe.early_stopping)
    folder, chief = checkpoints.folder, checkpoints.chief
    former = Run(folder) if job.resume and begun(folder) else None
    if former:
        former.require_same(settings, dataset.classes, dataset.name)
    goes_on = former is not None and checkpoints.exist
    other = _other_run(job, former, goes_on)
    seen = former.config["trained_on"] if former else _seen(other, f"{dataset.name}/{recipe.split}")
    source = _training_source(recipe, dataset, strategy.num_replicas_in_sync)
    scored = _scored_source(recipe, dataset, seen)
    steps_per_epoch = len(source) // recipe.batch_size
    total_steps = _total_steps(recipe, steps_per_epoch)
    counted = recipe.class_weights in CLASS_WEIGHTS
    weights = None if recipe.class_weights is None or counted else class_weights(recipe.class_weights, dataset.classes)
    progress, doubts = Progress(), [] if former or other else [rate_warning(recipe)]
    require_agreement(strategy, [goes_on, settings])
    with _claimed(folder, anew=former is None) if chief else nullcontext():
        keras.utils.set_random_seed(recipe.seed)
        if not goes_on:
            with strategy.scope():
                given = other.network_for(recipe, dataset.classes) if other else None
                model = given.network if given else new_network(recipe, len(dataset.classes))
            model.classes, model.image_size = dataset.classes, recipe.image_size
            if other and given and given.new and chief:
                print(f"start: {other.path} has other classes; {given.to_text()}")
        scored_split = None if scored is None else recipe.validation_split
        splits = [split for split in (recipe.split, scored_split) if split is not None]
        layout = require_layout(dataset, splits)
        facts = None
        if former is None:
            findings, facts = judged_labels(dataset, recipe.split, scored_split, counted)
            lines = grouped((*layout, *findings))
            doubts += [f"{dataset.name}: {line.removeprefix('warning: ')}" for line in lines]
        for doubt in filter(None, doubts if chief else ()):
            warnings.warn(doubt, TrainingWarning, stacklevel=3)
        images = {split: len(dataset.source(split)) for split in dataset.splits}
        digests = {split: fingerprint(dataset, split) for split in splits}
        if former:
            former.require_files(images, digests)
        require_agreement(strategy, [images, digests])
        if not goes_on and counted:
            weights = class_weights(str(recipe.class_weights), facts or count_labels(dataset, recipe.split))
        with strategy.scope():
            if goes_on:
                model, progress = checkpoints.resume()
            else:
                compile_network(model, recipe, len(dataset.classes), total_steps, weights)
        if chief and former is None:
            record = {"recipe": settings, "images": images, "digests": digests, "steps_per_epoch": steps_per_epoch}
            if weights is not None:
                record["class_weights"] = dict(zip(dataset.classes.names, weights, strict=True))
            write_json(folder / "classes.json", dataset.classes.to_json())
            write_json(folder / "config.json", {**_origin(job, other), "trained_on": seen, **record, **environment()})
    return Start(source, scored, digests[recipe.split], steps_per_epoch, model, progress, checkpoints)


def environment() -> dict[str, Any]:
    """Collect what a record says of the command, the versions and the machine."""
    return {
        "command": sys.argv,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "hardware": {"processors": os.cpu_count(), "machine": platform.machine(), "accelerators": _accelerators()},
    }


def _accelerators() -> str:
    """The names of the GPUs that TensorFlow sees."""
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return ", ".join(found.get("device_name", "GPU") for found in details) or "none"


def _other_run(job: Job, former: Run | None, goes_on: bool) -> Run | None:
    """The run whose network is the start, if that is still to be taken."""
    if former is None:
        return None if job.start_from is None else Run(job.start_from)
    recorded = (former.config["start_from"] or {}).get("run")
    if job.start_from is not None and str(user_path(job.start_from).absolute()) != recorded:
        raise ValueError(f"{former.path} started from {recorded or 'no other run'}, not from {job.start_from}")
    # Its own checkpoints hold all; the other run may be gone by now.
    return None if recorded is None or goes_on else Run(recorded)


def _seen(other: Run | None, split: str) -> list[str]:
    """The splits that a network has seen, those of former runs included, as DATASET/SPLIT."""
    return list(dict.fromkeys([*(other.config["trained_on"] if other else ()), split]))


def _training_source(recipe: Recipe, dataset: SegmentationDataset, replicas: int) -> Source:
    source = dataset.source(recipe.split)
    if len(source) == 1 and recipe.global_pooling:
        raise ValueError(f"{dataset.name}/{recipe.split}: {ONE_IMAGE}")
    if len(source) < recipe.batch_size:
        raise ValueError(
            f"batch_size={recipe.batch_size} is more than {dataset.name} has images in {recipe.split}, {len(source)}: "
            "set a smaller batch_size, or add images"
        )
    if recipe.batch_size % replicas:
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared by {replicas} devices: set a multiple of {replicas}, "
            "or take fewer devices"
        )
    return source


def _total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    total = steps_per_epoch * recipe.epochs
    if recipe.warmup_steps >= total:
        raise ValueError(f"warmup_steps={recipe.warmup_steps} leaves none of the {total} steps of the run: take fewer")
    return total


def _scored_source(recipe: Recipe, dataset: SegmentationDataset, seen: Sequence[str]) -> Source | None:
    split = recipe.validation_split
    if split is None or (split == "val" and split not in dataset.splits):
        if recipe.early_stopping is not None:
            patience = f"early_stopping={recipe.early_stopping}"
            raise ValueError(f"{patience} needs a score, and {dataset.name} has no val split: leave it out")
        return None
    for other in seen:
        if shares_images(dataset, split, other.removeprefix(f"{dataset.name}/")):
            raise ValueError(
                f"validation_split={split!r} has images of {other}, which the network is trained on: its scores would "
                "be those of training images; set validation_split=none, or train on another split"
            )
    return dataset.source(split)


@contextmanager
def _claimed(folder: Path, anew: bool) -> Iterator[None]:
    """Make the folder of a run, see that it can be written, and take it away again where the run does not begin."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise OSError(
                f"{folder} cannot be written ({error.strerror or error}): name another folder (output, --output)"
            ) from error
        # What file managers leave, and the first file of a run that was killed before its config.json, are nothing.
        held = [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.name != "classes.json"]
        if anew and held:
            raise ValueError(
                f"{folder} holds something already, such as {held[0]}: name a new folder (output, --output), or go on "
                "with the run that is there (resume, --resume)"
            )
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


def _origin(job: Job, other: Run | None) -> dict[str, Any]:
    """How the user named what the run is made of, and the run that it starts from."""
    start = None
    if other:
        name = other.config["recipe_name"]
        start = {"run": str(other.path.absolute()), "checkpoint": "best", "recipe_name": name}
    return {
        "recipe_name": job.recipe_name,
        "data": whole_name(job.dataset, job.data),
        "data_dir": None if job.data_dir is None else str(user_path(job.data_dir).absolute()),
        "start_from": start,
    }
