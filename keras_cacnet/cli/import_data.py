"""`keras-cacnet import`."""

import argparse
import shlex

from keras_cacnet.cli.arguments import AddCommand, shares

_CHOICES = ("format", "split", "seed", "group_by", "classes", "masks")


def add(command: AddCommand) -> None:
    """Add the command to the parser."""
    parser = command("import", run, "convert a data set in any usual form to the standard layout")
    parser.add_argument("source", metavar="SOURCE", help="the folder with images and annotations; it is only read")
    parser.add_argument(
        "--output",
        required=True,
        default=argparse.SUPPRESS,
        help="the folder to write; an interrupted import goes on there",
    )
    parser.add_argument(
        "--format",
        help="the form: cityscapes, voc, coco_panoptic, coco, labelme, yolo or masks (default: recognised)",
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--split",
        type=shares,
        default=argparse.SUPPRESS,
        metavar="TRAIN,VAL,TEST",
        help="shares of a random split (default: the source's own splits; 0.8,0.1,0.1 if it has none)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random split")
    parser.add_argument(
        "--group-by",
        default=argparse.SUPPRESS,
        metavar="PATTERN",
        help="a regular expression on the paths of images; images whose groups match the same text stay in one split",
    )
    parser.add_argument(
        "--classes",
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="names, and colours or ids if masks need them, one class a line (default: a list in the source)",
    )
    parser.add_argument(
        "--masks",
        default=argparse.SUPPRESS,
        help="how mask files encode classes: ids, colors or binary (default: found out)",
    )


def run(options: argparse.Namespace) -> int:
    from keras_cacnet.datasets import import_folder

    given = {name: getattr(options, name) for name in _CHOICES if name in options}
    report = import_folder(options.source, options.output, **given)
    print(report.to_text())
    words = f"--data {shlex.quote(options.output)}"
    print(f"\nNext:\n  keras-cacnet check {words}\n  keras-cacnet train {words} --output runs/mine")
    return 0
