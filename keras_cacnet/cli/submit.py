"""`keras-cacnet submit`."""

import argparse
from pathlib import Path

from keras_cacnet.cli.arguments import AddCommand, add_protocol, add_run, given_protocol, protocol_of

IMAGES = {
    "voc2012": "VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt, and what it lists in JPEGImages",
    "ade20k": "release_test/testing/ADE_test_00000001.jpg and so on",
}
"""Where the images of the test splits are looked for."""


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("submit", run, "predict a split and write the archive that its test server takes")
    parser.add_argument("data", metavar="DATA", help="voc2012 or ade20k")
    add_run(parser)
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder with the data set")
    parser.add_argument("--split", default="test", help="split to predict: test or val")
    parser.add_argument("--output", required=True, help="the archive: .tgz for voc2012, .zip for ade20k")
    parser.add_argument(
        "--competition",
        default="comp6",
        help="of VOC: comp5 is for networks that saw only VOC 2012's images and masks, comp6 for all others, as after "
        "ImageNet weights or SBD's masks",
    )
    add_protocol(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset
    from keras_cacnet.paper import archive_form, write_submission
    from keras_cacnet.paper.submission import archive_path
    from keras_cacnet.training.run import Run

    given_protocol(options)  # wrong words are refused before anything is read
    form = archive_form(options.data, options.split, options.competition)
    output = archive_path(options.output, form)
    trained = Run(options.run)
    protocol = protocol_of(options, trained)
    trained.require_classes(form.classes, options.data)
    # Before the data set, whose first use reads every file of it.
    model = trained.load_model(options.checkpoint)
    dataset = open_dataset(options.data, options.data_dir)
    if options.split not in dataset.splits:
        raise ValueError(f"{options.data_dir} has no {options.split} images; expected {IMAGES[options.data]}")
    source = dataset.source(options.split)
    recipe = trained.config.get("recipe", {})
    others = [f"weights={recipe['weights']}"] if recipe.get("weights") else []
    others += ["SBD's masks (split=trainaug)"] if recipe.get("split") == "trainaug" else []
    if form.data == "voc2012" and options.competition == "comp5" and others:
        print(f"note: comp5 is for networks that saw only VOC 2012; {options.run} had {' and '.join(others)}")
    write_submission(model, source, output, form, protocol)
    for finding in dataset.layout(options.split):
        if finding.level == "warning":
            print(finding)
    text = protocol.to_text()
    print(f"written and read back: {output}, {len(source)} images ({options.checkpoint} checkpoint; {text})")
    return 0
