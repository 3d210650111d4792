# SPDX-License-Identifier: Apache-2.0
"""Choices from a list, earlier spellings, suggestions: some versions of typer lack them.

An option is ``Annotated[str, typer.Option(...), OneOf("a", "b"), Formerly("--old")]``.
"""

from __future__ import annotations

import enum
import functools
import inspect
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, Union

import typer
from typer.core import TyperCommand, TyperGroup
from typing_extensions import Annotated, get_type_hints

# typer contains click under a private name since 0.20 and imports it before that. The base class of
# its usage errors is not public in either, but has the same name in both.
ClickException: Any = next(
    each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException"
)


class OneOf:
    """The only words that an option accepts; help, completion and errors list them."""

    def __init__(self, *values: str) -> None:
        self.values = values


class Formerly:
    """Earlier spellings of an option: still accepted, not shown in the help."""

    def __init__(self, *spellings: str) -> None:
        self.spellings = spellings


class Command(TyperCommand):
    """A command that also accepts earlier spellings of its options."""

    earlier: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: List[str]) -> List[str]:  # noqa: ANN401 - click's context
        """Replace the earlier spellings, up to a bare ``--``, then parse.

        Raises:
            ClickException: An option does not exist, or a value is not accepted.
        """
        end = args.index("--") if "--" in args else len(args)
        try:
            return super().parse_args(ctx, [*map(self._today, args[:end]), *args[end:]])
        except ClickException as error:
            # typer puts the name of Python's exception before its text, since 0.29.
            error.message = error.message.replace("Value error, ", "", 1)
            raise

    def _today(self, word: str) -> str:
        option, equals, value = word.partition("=")
        return self.earlier.get(option, option) + equals + value


class Group(TyperGroup):
    """Commands by name; the error for an unknown name suggests the nearest ones."""

    def resolve_command(self, ctx: Any, args: List[str]) -> Any:  # noqa: ANN401 - click's types
        """Return the command.

        Raises:
            ClickException: There is no command of that name; the message suggests similar ones.
        """
        try:
            return super().resolve_command(ctx, args)
        except ClickException as error:
            if "Did you mean" not in error.message:  # typer adds it since 0.20
                import difflib

                commands = [name for name, each in self.commands.items() if not each.hidden]
                near = difflib.get_close_matches(args[0], commands)
                if near:
                    error.message += f" Did you mean {', '.join(map(repr, near))}?"
            raise


def resolve(function: Callable[..., None]) -> Callable[..., None]:
    """Turn annotations from text into objects, which typer does not do below Python 3.10.

    A choice becomes an enumeration, which typer needs; `plain` turns its members back into words.
    """
    # Given the function itself, Python below 3.11 would add Optional to a default of None.
    scope = {"__annotations__": function.__annotations__, "__module__": function.__module__}
    hints = get_type_hints(type("Scope", (), scope), include_extras=True)
    function.__annotations__ = {name: _with_choices(hint) for name, hint in hints.items()}
    return function


def signature(function: Callable[..., None]) -> inspect.Signature:
    """Return a resolved function's signature; defaults of choices become members, too."""
    own = inspect.signature(function)
    return own.replace(
        parameters=[_with_member(each, function) for each in own.parameters.values()]
    )


def plain(value: Any) -> Any:  # noqa: ANN401 - any option's value
    """Return the word of a choice's member, and any other value unchanged."""
    return value.value if isinstance(value, enum.Enum) else value


def command_class(function: Callable[..., None]) -> Type[Command]:
    """Return the class of a resolved function's command, with earlier spellings of options."""
    earlier: Dict[str, str] = {}
    for name, hint in function.__annotations__.items():
        metadata = _metadata(hint)
        for each in metadata:
            if isinstance(each, Formerly):
                own = f"--{name.replace('_', '-')}"
                today = next(filter(None, map(_long_name, metadata)), own)
                earlier.update(dict.fromkeys(each.spellings, today))
    return type("Command", (Command,), {"earlier": earlier}) if earlier else Command


def _long_name(declared: Any) -> str:  # noqa: ANN401 - metadata of an Annotated
    """Return the first long spelling of a typer.Option, "" without one.

    typer stores the first spelling, long or short, as the option's default.
    """
    words = (getattr(declared, "default", None), *(getattr(declared, "param_decls", None) or ()))
    return next((word for word in words if isinstance(word, str) and word.startswith("--")), "")


def _with_choices(hint: Any) -> Any:  # noqa: ANN401 - an annotation
    metadata = _metadata(hint)
    choice = next((each for each in metadata if isinstance(each, OneOf)), None)
    if choice is None or hint.__origin__ not in (str, Optional[str]):  # or already resolved
        return hint
    kind = _choice(choice.values)
    base: Any = Optional[kind] if hint.__origin__ == Optional[str] else kind
    return Annotated[(base, *metadata)]


@functools.lru_cache(maxsize=None)  # creating an enumeration is slow: one for all commands
def _choice(values: Tuple[str, ...]) -> Any:  # noqa: ANN401 - a type checker cannot follow it
    make: Any = enum.Enum
    return make("Choice", {word: word for word in values}, type=str)


def _with_member(parameter: inspect.Parameter, function: Callable[..., None]) -> inspect.Parameter:
    kind = _choice_kind(function.__annotations__.get(parameter.name))
    if kind is None or not isinstance(parameter.default, str):
        return parameter
    return parameter.replace(default=kind(parameter.default))


def _choice_kind(hint: Any) -> Optional[Type[enum.Enum]]:  # noqa: ANN401 - an annotation
    base: Any = getattr(hint, "__origin__", None) if _metadata(hint) else None
    kinds = base.__args__ if getattr(base, "__origin__", None) is Union else (base,)
    return next((each for each in kinds if isinstance(each, type(enum.Enum))), None)


def _metadata(hint: Any) -> Tuple[Any, ...]:  # noqa: ANN401 - an annotation
    return tuple(getattr(hint, "__metadata__", ()))
