"""Find the panel of a module of PSI, whose number is a name of the panel or is stated by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jfstore.core.ids import resolve_panel
from jfstore.core.validity import find_joined_panels
from jfstore.errors import BadValue, NotFound
from jfstore.formats.psi import name_module

if TYPE_CHECKING:
    from jfstore.core.table import Table

_MODULE = re.compile(r"[Mm]?([0-9]{1,6})", re.ASCII)
_PANEL_NAME = re.compile(r"[Mm]([0-9]{1,6})", re.ASCII)

Panels = str | Mapping[str, str]
"""A panel or detector Id, or panels by module, such as ``{"M044": ...}`` or ``"M044=...,M088=..."``."""


class ModulePanels:
    """The panels of modules.

    Parameters
    ----------
    table : Table
        What the repository holds, with the names of panels.
    stated : mapping of str to str
        Panels by module, as the user states them; see `split_panels`.

    Raises
    ------
    BadValue
        If a module or a panel is not one, or a module comes twice.
    NotFound
        If a short panel Id fits no panel.
    """

    def __init__(self, table: Table, stated: Mapping[str, str]) -> None:
        self._table = table
        self._named: dict[int, dict[str, str]] = {}
        for name, panel in table.panel_names.names.items():
            if (match := _PANEL_NAME.fullmatch(name)) and "_" not in panel:
                self._named.setdefault(int(match[1]), {})[name] = panel
        self._stated: dict[int, str] = {}
        for module, text in stated.items():
            match = _MODULE.fullmatch(module)
            if not match:
                raise BadValue(f"panels: {module!r} is not a module, such as M044")
            if (number := int(match[1])) in self._stated:
                raise BadValue(f"panels: module {name_module(number)} comes twice")
            self._stated[number] = str(resolve_panel(text, table.panel_names))

    def find(self, number: int) -> str:
        """Return the panel Id of a module.

        Raises
        ------
        NotFound
            If no panel is named so, and none is stated.
        BadValue
            If several panels have such names.
        """
        if number in self._stated:
            return self._stated[number]
        names, label = self._named.get(number, {}), name_module(number)
        if not names:
            raise NotFound(
                f"no panel is named {label}; jfstore panel ID --name {label} -m MESSAGE names it, "
                f"or state the panel with this import"
            )
        panels = list(names.values())
        if not all(self._are_one(panels[0], other) for other in panels[1:]):
            raise BadValue(f"{' and '.join(names)} are names of different panels; state the panel of {label}")
        return panels[0]

    def check(self, number: int, panel: str) -> None:
        """Raise BadValue if the number of a module is the name of another panel only."""
        names = self._named.get(number, {})
        if names and not any(self._are_one(panel, other) for other in names.values()):
            name, other = next(iter(names.items()))
            raise BadValue(f"{name} is the name of panel {other}, not of {panel}")

    def check_stated(self, numbers: set[int], where: str) -> None:
        """Check the panels that are stated, with the numbers of the modules that the source has.

        Raises
        ------
        BadValue
            If a module is not in the source, or its number is the name of another panel.
        """
        if unused := sorted(self._stated.keys() - numbers):
            known = ", ".join(map(name_module, sorted(numbers))) or "none"
            raise BadValue(
                f"{where} has no module {name_module(unused[0])}, for which a panel is stated; it has {known}"
            )
        for number, panel in self._stated.items():
            self.check(number, panel)

    def identify(self, panel: str) -> str:
        """Return one Id for all Ids of a panel."""
        return min(find_joined_panels(self._table, panel)) if self._table.are_joined else panel

    def _are_one(self, one: str, other: str) -> bool:
        return self.identify(one) == self.identify(other)


def split_panels(panels: Panels | None) -> tuple[str | None, dict[str, str]]:
    """Return the panel or detector Id, or the panels by module, that a user states.

    Examples
    --------
    >>> split_panels("M044=1-2-3,M088=1-2-4"), split_panels("1-2-3")
    ((None, {'M044': '1-2-3', 'M088': '1-2-4'}), ('1-2-3', {}))
    """
    if panels is None:
        return None, {}
    if not isinstance(panels, str):
        return None, dict(panels)
    if "=" not in panels:
        return panels, {}
    found: dict[str, str] = {}
    for text in panels.split(","):
        module, is_pair, panel = text.strip().partition("=")
        if not is_pair or not panel or module in found:
            raise BadValue(f"panels: expected MODULE=PANEL once for each module, such as M044=ID, not {text!r}")
        found[module] = panel
    return None, found
