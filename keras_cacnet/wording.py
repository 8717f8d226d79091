"""What messages share: lists that end, and the nearest right word for a wrong one."""

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
