"""The paper's experiments by name: data set, recipe, evaluation protocol and the figure to hold the result against."""

from keras_cacnet.experiments.experiment import Experiment, PaperFigure
from keras_cacnet.experiments.published import EXPERIMENTS, experiment_named

__all__ = ["EXPERIMENTS", "Experiment", "PaperFigure", "experiment_named"]
