"""Values of a scenario file's options, read by the type of the field they are for. It owns the
words in which a wrong value is refused; it must not know files, paths or what an option does.
"""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin


class OptionError(ValueError):
    """A value does not fit its option; the text says what would."""


def option_value(value: Any, hint: Any, least: float = 0) -> Any:
    """Return `value` as a field with this type hint takes it; numbers are `least` or more.

    Raises:
        OptionError: it does not fit.
    """
    if get_origin(hint) in (Union, types.UnionType):
        [inner] = [each for each in get_args(hint) if each is not type(None)]
        return None if value is None else option_value(value, inner, least)
    if get_origin(hint) is Literal:
        return _one_of(value, get_args(hint))
    if get_origin(hint) is tuple:
        return _several(value, get_args(hint), least)
    if hint is bool:
        if not isinstance(value, bool):
            raise OptionError("must be true or false, without quotes")
    elif hint is str:
        if not isinstance(value, str):
            raise OptionError(f'must be a text; write it in quotes: "{value}"')
    else:
        kinds, called = ((int,), "a whole number") if hint is int else ((int, float), "a number")
        if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
            raise OptionError(f"must be {called}, {least} or more")
    return value


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise OptionError(f"must be one of {', '.join(map(str, allowed))}")
    return value


def _several(value: Any, hints: tuple[Any, ...], least: float) -> tuple[Any, ...]:
    inner, any_number = hints[0], hints[-1] is Ellipsis
    wanted = "a list, each entry in [ ]" if any_number else f"a list of {len(hints)}: [10, 5]"
    if not isinstance(value, list) or not (any_number or len(value) == len(hints)):
        raise OptionError(f"must be {wanted}")
    return tuple(option_value(each, inner, least) for each in value)
