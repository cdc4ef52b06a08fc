# Client of service/calc, made by `wayfare service stub calc --lang python`: make it anew when the schema has changed.

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, NotRequired, Optional, TypedDict, Union

import wayfare


class AddArguments(TypedDict):
    a: int
    b: int


# What somebody wants.
Order = TypedDict(
    "Order",
    {
        "colour": "OrderColour",
        "lines": list["OrderLinesItem"],
        "note": NotRequired[Optional[str]],
        "price per piece": NotRequired[float],
        "tags": NotRequired[dict[str, str]],
        # Of which sort.
        "type": str,
    },
)


OrderColour = Literal["red", "dark blue"]


class OrderLinesItem(TypedDict):
    count: int


class Accepted(TypedDict):
    number: int


PlaceOrderResult = Union["Accepted", str]


class Tree(TypedDict):
    children: list[Tree]
    left: NotRequired[Tree]


# Counts, and keeps orders.
class Calc:
    def __init__(self, address: str = "service/calc", **options: Any) -> None:
        self._address = address
        self._options = options

    # Adds two numbers.
    def add(self, payload: AddArguments, **options: Any) -> int:
        return self._call("add", payload, options)

    def place_order(self, payload: Order, **options: Any) -> Optional[PlaceOrderResult]:
        return self._call("place-order", payload, options)

    # Takes its time.
    # As long as it is told.
    def slow(self, payload: int, *, on_progress: Optional[Callable[[list[Union[int, float]]], Any]] = None, **options: Any) -> None:
        if on_progress is not None:
            options["on_progress"] = lambda progress: on_progress(json.loads(progress))
        return self._call("slow", payload, options)

    def tree(self, **options: Any) -> Tree:
        return self._call("tree", None, options)

    def true(self, **options: Any) -> Any:
        return self._call("true", None, options)

    def _call(self, function: str, payload: Any, options: dict[str, Any]) -> Any:
        result = wayfare.call(self._address, function, json.dumps(payload), **{**self._options, **options})
        return json.loads(result) if result else None
