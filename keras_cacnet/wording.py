"""What messages share: lists that end, ranges and sizes to read, and the nearest right word for a wrong one."""

import difflib
from collections.abc import Iterable


def listed(items: Iterable[object], limit: int = 8, separator: str = ", ", none: str = "nothing") -> str:
    """Join items, and count those beyond a limit.

    Args:
        items: what to list.
        limit: how many are shown.
        separator: between two items; use a newline and an indent for one item a line.
        none: the text where there are no items.

    Example:
        >>> listed(["a", "b", "c"], limit=2)
        'a, b and 1 more'
        >>> print(listed(["a.png", "b.png", "c.png"], limit=2, separator="\\n  "))
        a.png
          b.png
          and 1 more
        >>> listed([])
        'nothing'
    """
    texts = [str(item) for item in items]
    if not texts:
        return none
    shown = separator.join(texts[:limit])
    if len(texts) <= limit:
        return shown
    joint = separator if "\n" in separator else " "
    return f"{shown}{joint}and {len(texts) - limit} more"


def ranges_text(numbers: Iterable[int]) -> str:
    """Write whole numbers in ascending order, with runs of three and more joined.

    Example:
        >>> ranges_text([12, 0, 1, 2, 4, 5])
        '0-2, 4, 5, 12'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def did_you_mean(word: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """Suggest the nearest known word, as the end of a message; empty where none is near.

    Case and the kind of separator do not count.

    Example:
        >>> did_you_mean("Batch-Size", ["batch_size", "crop_size"])
        '; did you mean batch_size?'
        >>> did_you_mean("xyz", ["batch_size"])
        ''
    """
    plain = {str(name).lower().replace("-", "_"): str(name) for name in known}
    near = difflib.get_close_matches(str(word).lower().replace("-", "_"), list(plain), n=1, cutoff=cutoff)
    return f"; did you mean {plain[near[0]]}?" if near else ""


def size_text(size: float) -> str:
    """Write a number of bytes to be read.

    Example:
        >>> size_text(1_234_000_000), size_text(20_000)
        ('1.2 GB', '0.02 MB')
    """
    if size >= 5e8:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.{0 if size >= 1e7 else 2}f} MB"
