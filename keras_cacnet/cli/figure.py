"""`keras-cacnet figure`."""

import argparse
from pathlib import Path

from keras_cacnet.cli.arguments import AddCommand, add_checkpoint, add_data, channels

ONLY_4 = ("channels", "count", "head", "seed")


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("figure", run, "draw the paper's Figure 3 (against a baseline) or 4 (channels of X, X*, W)")
    parser.add_argument("number", type=int, choices=(3, 4), help="of the figure")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files; with --data, names of its examples")
    parser.add_argument("--run", required=True, help="folder that train wrote")
    add_checkpoint(parser)
    parser.add_argument("--output", type=Path, required=True, help="the PNG")
    add_data(parser, required=False)
    parser.add_argument("--split", default="val", help="of the data set")
    labels = "ground truth of image files: a mask, or a folder of NAME.png; by default .../labels/SPLIT/NAME.png"
    parser.add_argument("--labels", type=Path, help=f"{labels} of .../images/SPLIT/NAME.jpg, where it is there")
    parser.add_argument("--baseline", metavar="RUN", help="Figure 3: the run of the baseline's column")
    group = parser.add_argument_group("Figure 4")
    for name, text, settings in (
        ("--channels", "random (default), largest-change, or a list such as 3,17,40", {"type": channels}),
        ("--count", "channels per image (default: 1)", {"type": int}),
        ("--head", "number of the head (default: 1)", {"type": int}),
        ("--seed", "draws the channels (default: 0)", {"type": int}),
    ):
        group.add_argument(name, default=argparse.SUPPRESS, help=text, **settings)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.files import user_path, writable_file, write_atomically
    from keras_cacnet.paper.figures import context_figure, file_examples, named_examples, predictions_figure
    from keras_cacnet.training.run import Run

    given = {name: getattr(options, name) for name in ONLY_4 if name in options}
    if options.number == 3 and given:
        raise ValueError(f"--{next(iter(given))} goes with Figure 4")
    if options.number == 4 and options.baseline:
        raise ValueError("--baseline goes with Figure 3")
    if "seed" in given and given.get("channels", "random") != "random":
        raise ValueError("--seed draws channels at random; --channels chooses them otherwise: give one of the two")
    output = user_path(options.output)
    if output.suffix.lower() != ".png" or output.is_dir():
        raise ValueError(f"the figure is a PNG; give --output the name of one, not {output}")
    writable_file(output)
    trained = Run(options.run)
    classes = trained.classes
    baseline = Run(options.baseline) if options.baseline else None
    if baseline is not None:
        trained.require_classes(baseline.classes, str(options.baseline))
    if options.data is None:
        examples = file_examples(options.images, options.labels)
    elif options.labels is not None:
        raise ValueError("--labels goes with image files; --data has masks of its own")
    else:
        dataset = open_dataset(options.data, options.data_dir)
        trained.require_classes(dataset.classes, str(options.data))
        classes = dataset.classes
        examples = named_examples(dataset.source(options.split), options.images, f"{options.data} {options.split}")
    inputs = {
        file.resolve() for example in examples for file in (example.image, example.mask) if isinstance(file, Path)
    }
    if output.resolve() in inputs:
        raise ValueError(f"the figure would overwrite {output}, one of its images: choose another name")
    model = trained.load_model(options.checkpoint)
    if options.number == 3:
        networks = {} if baseline is None else {"Baseline": baseline.load_model(options.checkpoint)}
        picture = predictions_figure({**networks, "Ours": model}, examples, classes)
    else:
        by = given.pop("channels", "random")
        picture, chosen = context_figure(model, examples, classes, by=by, **given)
        how = (
            f"drawn with seed {given.get('seed', 0)}" if by == "random" else by if isinstance(by, str) else "as listed"
        )
        for example, of_head in zip(examples, chosen, strict=True):
            for head, shown in of_head.items():
                print(f"{example.name}: {head} channels {', '.join(map(str, shown))} ({how})")
    if examples[0].mask is None:
        print("note: no ground truth was found, so its column is left out; --labels names it")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, picture.savefig)
    width, height = picture.bbox.size
    print(f"written: {output}, {width:.0f}x{height:.0f} pixels")
    return 0
