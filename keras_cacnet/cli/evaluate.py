"""`keras-cacnet evaluate`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_cacnet.cli.arguments import (
    AddCommand,
    add_data,
    add_protocol,
    add_run,
    given_protocol,
    naming_the_run,
    protocol_of,
)

if TYPE_CHECKING:
    from keras_cacnet.evaluation import Protocol
    from keras_cacnet.training.run import Run


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("evaluate", run, "score a run, on whole images or by scales, mirror images and windows")
    add_run(parser)
    add_data(parser, required=False, otherwise="the run's")
    parser.add_argument("--split", default="val", help="split to score")
    parser.add_argument(
        "--absent",
        choices=("ignore", "zero"),
        default="ignore",
        help="a class in neither truth nor prediction",
    )
    parser.add_argument("--boundary", action="store_true", help="also compare the outlines: the boundary F-score")
    parser.add_argument(
        "--json",
        help="where the scores go (default: RUN/evaluation_SPLIT.json; those of other data, or of images shown "
        "otherwise, have names of their own)",
    )
    parser.add_argument("--markdown", help="also write the scores as a Markdown table to this file")
    parser.add_argument("--save-predictions", metavar="DIR", help="write an id PNG per image into this folder")
    add_protocol(parser)


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import open_dataset, shares_images
    from keras_cacnet.datasets.folder import whole_name
    from keras_cacnet.evaluation import evaluate, prediction_writer
    from keras_cacnet.files import writable_file, write_atomically, write_json
    from keras_cacnet.pipeline.batches import evaluation_batches
    from keras_cacnet.training.run import Run

    given_protocol(options)  # wrong words are refused before anything is read
    # What is asked for is found to be unwritable now, and not when the scores are there.
    wanted = {name: writable_file(path) for name in ("json", "markdown") if (path := getattr(options, name))}
    trained = Run(options.run)
    protocol = protocol_of(options, trained)
    data, data_dir = trained.data(options.data, options.data_dir)
    with naming_the_run(None if options.data else options.run):
        dataset = open_dataset(data, data_dir)
    trained.require_classes(dataset.classes, data)
    source = dataset.source(options.split)
    for seen in trained.config.get("trained_on", ()):
        if shares_images(dataset, options.split, seen.removeprefix(f"{dataset.name}/")):
            print(f"note: {options.run} was trained on {seen}, which has images of {options.split}: no score to report")
    writer = prediction_writer(source, options.save_predictions, dataset.classes) if options.save_predictions else None
    report = evaluate(
        trained.load_model(options.checkpoint),
        evaluation_batches(source, dataset.classes),
        dataset.classes,
        absent=options.absent,
        count=len(source),
        protocol=protocol,
        origin=lambda index: source[index].image_origin,
        on_prediction=writer,
        boundary=options.boundary,
    )
    print(report.to_text(protocol))
    facts = {
        "run": options.run,
        "data": whole_name(dataset, data),
        "split": options.split,
        "checkpoint": options.checkpoint,
    }
    path = wanted.get("json", trained.path / _file_name(trained, facts, protocol, options))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**facts, "protocol": protocol.to_json(), **report.to_json()})
        print(f"written: {path}")
    except OSError as error:
        # The run of somebody else, or one on a read-only disk, can be scored all the same.
        if options.json:
            raise
        print(f"note: {path} could not be written ({error.strerror or error}); --json FILE names another place")
    if markdown := wanted.get("markdown"):
        markdown.parent.mkdir(parents=True, exist_ok=True)
        text = report.to_markdown(protocol, facts) + "\n"
        write_atomically(markdown, lambda part: part.write_text(text, encoding="utf-8"))
        print(f"written: {markdown}")
    return 0


def _file_name(trained: Run, facts: dict[str, str], protocol: Protocol, options: argparse.Namespace) -> str:
    """Name the file of the scores: those of other data or of another protocol replace none."""
    from keras_cacnet.files import json_digest

    plain = (trained.config["data"], trained.protocol, "best", "ignore")
    if (facts["data"], protocol, options.checkpoint, options.absent) == plain:
        return f"evaluation_{options.split}.json"
    how = {**facts, "run": "", "protocol": protocol.to_json(), "absent": options.absent}
    return f"evaluation_{options.split}_{json_digest(how)}.json"
