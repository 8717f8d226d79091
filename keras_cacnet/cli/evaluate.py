"""`keras-cacnet evaluate`."""

import argparse
from pathlib import Path

from keras_cacnet.cli.arguments import AddCommand, add_data, add_protocol, add_run, given_protocol


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("evaluate", run, "score a run, on whole images or by scales, mirror images and windows")
    add_run(parser)
    add_data(parser, required=True)
    parser.add_argument("--split", default="val", help="split to score")
    parser.add_argument(
        "--absent",
        choices=("ignore", "zero"),
        default="ignore",
        help="a class in neither truth nor prediction",
    )
    parser.add_argument("--json", help="where the scores go; RUN/evaluation_SPLIT.json by default")
    parser.add_argument("--markdown", help="also write the scores as a Markdown table to this file")
    parser.add_argument("--save-predictions", metavar="DIR", help="write an id PNG per image into this folder")
    add_protocol(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset, shares_images
    from keras_cacnet.evaluation import Protocol, evaluate, prediction_writer
    from keras_cacnet.files import write_atomically, write_json
    from keras_cacnet.pipeline.batches import evaluation_batches
    from keras_cacnet.training.run import Run

    given = given_protocol(options)
    protocol = given or Protocol()
    trained = Run(options.run)
    dataset = open_dataset(options.data, options.data_dir)
    trained.require_classes(dataset.classes, options.data)
    source = dataset.source(options.split)
    for seen in trained.config.get("trained_on", ()):
        if shares_images(dataset, options.split, seen.removeprefix(f"{dataset.name}/")):
            print(f"note: {options.run} was trained on {seen}, which has images of {options.split}: no score to report")
    writer = prediction_writer(source, options.save_predictions, trained.classes) if options.save_predictions else None
    report = evaluate(
        trained.load_model(options.checkpoint),
        evaluation_batches(source, dataset.classes),
        dataset.classes,
        absent=options.absent,
        count=len(source),
        protocol=given,
        on_prediction=writer,
    )
    print(report.to_text(protocol))
    path = Path(options.json) if options.json else trained.path / f"evaluation_{options.split}.json"
    facts = {
        "run": options.run,
        "data": options.data,
        "split": options.split,
        "checkpoint": options.checkpoint,
    }
    write_json(path, {**facts, "protocol": protocol.to_json(), **report.to_json()})
    print(f"written: {path}")
    if options.markdown:
        write_atomically(
            Path(options.markdown), lambda part: part.write_text(report.to_markdown(protocol, facts) + "\n")
        )
        print(f"written: {options.markdown}")
    return 0
