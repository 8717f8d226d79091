"""Settings, the fields of a recipe: who chose their defaults, which values fit, and how KEY=VALUE changes them."""

from collections.abc import Iterable
from dataclasses import Field, field, fields, replace
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from keras_cacnet.wording import did_you_mean

Settings = TypeVar("Settings")

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a name",
    tuple: "whole numbers, separated by commas",
}
_BOOLS = {"true": True, "false": False}


class Origin(NamedTuple):
    """Who chose the value of a setting, the paper or, where it is silent, this project; and where, or why."""

    whose: str
    where: str

    def __str__(self) -> str:
        return f"{self.whose}: {self.where}"


def paper(where: str) -> Origin:
    """Declare a value that the paper gives.

    Example:
        >>> str(paper("Table 3"))
        'paper: Table 3'
    """
    return Origin("paper", where)


def ours(why: str) -> Origin:
    """Declare a value that the paper does not give, with the reason for it."""
    return Origin("ours", why)


def setting(default: Any, text: str, origin: Origin) -> Any:
    """Declare a setting, with its default, what it is, and who chose the default."""
    return field(default=default, metadata={"help": text, "origin": origin})


def setting_of(settings: Any, name: str) -> Field[Any]:
    """Find the declaration of a setting, by its name."""
    return next(entry for entry in fields(settings) if entry.name == name)


def require_type(settings: Any, name: str) -> None:
    """Refuse a value that is of another type than its setting.

    Raises:
        ValueError: it is; the message names the setting and what it takes.
    """
    value, kind = getattr(settings, name), _kind(type(settings), name)
    values, wanted = ((value,), kind) if kind is not tuple else (value, int)
    # A bool is an int to Python, and an int will do for a float.
    fits = kind is not tuple or (isinstance(value, tuple) and value)
    allowed = (int, float) if wanted is float else wanted
    fits = fits and all(isinstance(one, allowed) and isinstance(one, bool) == (wanted is bool) for one in values)
    if not fits and not (value is None and _may_be_none(type(settings), name)):
        raise ValueError(f"{name} must be {_KINDS[kind]}, got {value!r}")


def with_settings(recipe: Settings, settings: Iterable[str]) -> Settings:
    """Change a recipe by words such as `epochs=30`.

    Args:
        recipe: what the words change; everything else stays.
        settings: KEY=VALUE each. Numbers are written as in Python, bools as true and false, several numbers as
            1,2,3, and nothing, where a setting may have no value, as none. The last word for a key counts.

    Returns:
        The changed recipe.

    Raises:
        ValueError: a word without "=", a key that no recipe has (the message names the nearest one), a value of
            another type (it says which, with an example), or whatever a recipe refuses.

    Example:
        >>> from keras_cacnet.training import Recipe
        >>> changed = with_settings(Recipe(), ["epochs=30", "kernel_sizes=3,5", "weights=imagenet"])
        >>> changed.epochs, changed.kernel_sizes, changed.weights
        (30, (3, 5), 'imagenet')
        >>> with_settings(Recipe(), ["epoch=30"])
        Traceback (most recent call last):
        ValueError: no setting is called 'epoch'; did you mean epochs? The settings are split, ...
    """
    names = list(vars(recipe))
    given: dict[str, Any] = {}
    for word in settings:
        key, equals, text = (part.strip() for part in word.partition("="))
        if not equals or not key:
            raise ValueError(f"{word!r} is no setting: write KEY=VALUE, such as epochs=30")
        if key not in names:
            hint = did_you_mean(key, names) or "."
            raise ValueError(f"no setting is called {key!r}{hint} The settings are {', '.join(names)}")
        given[key] = _value(recipe, key, text)
    return replace(recipe, **given)  # type: ignore[type-var]


def changes(before: Settings, after: Settings) -> list[str]:
    """List the settings in which one recipe differs from another, as `with_settings` reads them.

    Example:
        >>> from keras_cacnet.training import Recipe
        >>> changes(Recipe(), Recipe(epochs=30, flip=False))
        ['epochs=30', 'flip=false']
    """
    new = vars(after)
    return [f"{name}={setting_text(new[name])}" for name, value in vars(before).items() if new[name] != value]


def setting_text(value: Any) -> str:
    """Write a value as `with_settings` reads it.

    Example:
        >>> setting_text((1, 2)), setting_text(None), setting_text(True), setting_text(1e-4)
        ('1,2', 'none', 'true', '0.0001')
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _value(settings: Any, key: str, text: str) -> Any:
    kind, may_be_none = _kind(type(settings), key), _may_be_none(type(settings), key)
    if text == "none" and may_be_none:
        return None
    try:
        if kind is tuple:
            return tuple(int(number) for number in text.strip("()").rstrip(",").split(","))
        if kind is bool:
            return _BOOLS[text.lower()]
        if kind is str and not text:
            raise ValueError
        return kind(text)
    except (ValueError, KeyError):
        example = setting_of(settings, key).default
        wanted = _KINDS[kind] + (", or none" if may_be_none else "")
        example = "imagenet" if example is None else setting_text(example)
        raise ValueError(f"{key} must be {wanted}, such as {key}={example}; got {text!r}") from None


def _kind(cls: type, name: str) -> type:
    """The type of a setting: int, float, bool, str or tuple (of int)."""
    hint = _hints(cls)[name]
    return get_origin(hint) if get_origin(hint) is tuple else (*get_args(hint), hint)[0]


def _may_be_none(cls: type, name: str) -> bool:
    return type(None) in get_args(_hints(cls)[name])


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)
