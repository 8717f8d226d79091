"""The command `keras-cacnet`: parses, calls the library, prints. One module a command."""

import argparse
import sys
from collections.abc import Callable, Sequence

from keras_cacnet.cli import (
    ablate,
    check,
    evaluate,
    export,
    figure,
    import_data,
    predict,
    recipes,
    report,
    submit,
    summary,
    train,
)
from keras_cacnet.cli.startup import import_tensorflow
from keras_cacnet.training.signals import Stopped
from keras_cacnet.version import __version__

STOPPED = 0  # by a signal, with everything saved
BAD_INPUT = 2
INTERRUPTED = 130  # as shells report it
GOES_ON = {
    "train": "; what was saved is kept: go on with --resume",
    "ablate": "; what was finished is kept: the same command goes on",
    "import_data": "; what was written is kept: the same command goes on",
}
COMMANDS = (recipes, import_data, check, train, evaluate, predict, report, figure, submit, export, summary, ablate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line; `sys.argv` by default.

    Returns:
        The exit status: 0, 1 where the command ran and found something wrong, 2 for bad input, 130 after Ctrl-C;
        but 0 where SIGTERM or SIGINT stopped a training run, which is saved then.

    Example:
        >>> main(["evaluate", "nowhere", "--data", "scenes"])
        2
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not cost the rest of a report.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    held = ""
    try:
        if options.command not in (recipes.run, import_data.run):
            held = import_tensorflow()
        return options.command(options)
    except KeyboardInterrupt as interrupt:
        command = options.command.__module__.rpartition(".")[2]
        print(f"\n{str(interrupt) or 'interrupted'}{GOES_ON.get(command, '')}", file=sys.stderr)
        return STOPPED if command == "train" and isinstance(interrupt, Stopped) else INTERRUPTED
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        message = str(error)
    except Exception as error:
        from keras_cacnet.pipeline.examples import reading_error

        found = reading_error(error)
        if found is None:
            sys.stderr.write(held)
            raise
        message = found
    print(f"error: {message}", file=sys.stderr)
    return BAD_INPUT


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default of an option where it has one, and where its help does not say it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "(default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-cacnet", description="Train, score and deliver CaC-Net semantic segmentation."
    )
    parser.add_argument("--version", action="version", version=f"keras-cacnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, formatter_class=_Defaults)
        added.set_defaults(command=run)
        return added

    for module in COMMANDS:
        module.add(command)
    return parser
