"""How settings write a loss: names, and sums of them. It needs no Keras."""

from keras_cacnet.arguments import require_number
from keras_cacnet.wording import did_you_mean

NAMES = ("crossentropy", "focal", "ohem", "dice", "tversky", "lovasz")
"""The losses."""

SMOOTHED = ("crossentropy", "ohem")
"""Those that take label smoothing."""


def loss_terms(text: str, label_smoothing: float = 0.0) -> list[tuple[float, str]]:
    """Read a loss that is written as a name or a sum of them.

    Args:
        text: such as `dice` or `crossentropy+0.5*dice`.
        label_smoothing: what is wanted of those that take it.

    Returns:
        The factor and the name of every term.

    Raises:
        ValueError: a name that no loss has, with the nearest one; a factor that is none; or a label smoothing that
            none of them takes.

    Example:
        >>> loss_terms("0.5*focal + dice")
        [(0.5, 'focal'), (1.0, 'dice')]
        >>> loss_terms("crossentropie")
        Traceback (most recent call last):
        ValueError: loss='crossentropie': no loss is called 'crossentropie'; did you mean crossentropy? There are ...
    """
    terms = []
    for part in text.split("+"):
        factor, star, name = (word.strip() for word in part.rpartition("*"))
        if name not in NAMES:
            hint = did_you_mean(name, NAMES) or "."
            raise ValueError(f"loss={text!r}: no loss is called {name!r}{hint} There are {', '.join(NAMES)}")
        try:
            terms.append((require_number("loss", float(factor) if star else 1.0), name))
        except ValueError:
            raise ValueError(f"loss={text!r}: {factor!r} is no factor; write 0.5*{name}") from None
    if label_smoothing and not any(name in SMOOTHED for _, name in terms):
        raise ValueError(
            f"label_smoothing={label_smoothing} would have no effect: loss={text} has none of {', '.join(SMOOTHED)}"
        )
    return terms
