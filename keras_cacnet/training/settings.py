"""Settings as people write them, KEY=VALUE: read, checked against a recipe's fields, and written."""

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from keras_cacnet.training.recipes import KINDS, Recipe, may_be_none, setting_kind

_BOOLS = {"true": True, "false": False}


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Change a recipe by words such as `epochs=30`.

    Args:
        recipe: what the words change; everything else stays.
        settings: KEY=VALUE each. Numbers are written as in Python, bools as true and false, several numbers as
            1,2,3, and nothing, where a setting may have no value, as none. Of a key that comes twice the last counts.

    Returns:
        The changed recipe.

    Raises:
        ValueError: a word without "=", a key that no recipe has (the message names the nearest that one has), a
            value of another type (it says which, with an example), or a value outside its range.

    Example:
        >>> changed = with_settings(Recipe(), ["epochs=30", "kernel_sizes=3,5", "weights=imagenet"])
        >>> changed.epochs, changed.kernel_sizes, changed.weights
        (30, (3, 5), 'imagenet')
        >>> with_settings(Recipe(), ["epoch=30"])
        Traceback (most recent call last):
        ValueError: no setting is called 'epoch' (did you mean 'epochs'?); the settings are split, ...
    """
    changes: dict[str, Any] = {}
    for word in settings:
        key, equals, text = word.partition("=")
        key, text = key.strip(), text.strip()
        if not equals or not key:
            raise ValueError(f"{word!r} is no setting: write KEY=VALUE, such as epochs=30")
        changes[key] = _value(_known(key), text)
    return Recipe(**{**vars(recipe), **changes})


def changes(before: Recipe, after: Recipe) -> list[str]:
    """The settings in which one recipe differs from another, as `with_settings` reads them.

    Example:
        >>> changes(Recipe(), Recipe(epochs=30, flip=False))
        ['epochs=30', 'flip=false']
    """
    new = vars(after)
    return [f"{name}={shown(new[name])}" for name, value in vars(before).items() if new[name] != value]


def shown(value: Any) -> str:
    """Write a value as `with_settings` reads it.

    Example:
        >>> shown((1, 2)), shown(None), shown(True), shown(1e-4)
        ('1,2', 'none', 'true', '0.0001')
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Words the question whether another name was meant; nothing where none is near.

    Example:
        >>> nearest("learningrate", ["learning_rate", "epochs"]), nearest("x", ["epochs"])
        (" (did you mean 'learning_rate'?)", '')
    """
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _known(key: str) -> str:
    names = [entry.name for entry in fields(Recipe)]
    if key not in names:
        raise ValueError(f"no setting is called {key!r}{nearest(key, names)}; the settings are {', '.join(names)}")
    return key


def _value(key: str, text: str) -> Any:
    kind = setting_kind(key)
    if text == "none" and may_be_none(key):
        return None
    try:
        if kind is tuple:
            return tuple(int(number) for number in text.strip("()").rstrip(",").split(","))
        if kind is bool:
            return _BOOLS[text.lower()]
        if kind is str and (not text or text == "none"):
            raise ValueError
        return kind(text)
    except (ValueError, KeyError):
        example = next(entry.default for entry in fields(Recipe) if entry.name == key)
        wanted = KINDS[kind] + (", or none" if may_be_none(key) else "")
        example = "imagenet" if example is None else shown(example)
        raise ValueError(f"{key} must be {wanted}, such as {key}={example}; got {text!r}") from None
