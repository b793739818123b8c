# SPDX-License-Identifier: Apache-2.0
"""An arm64 ELF as the audit and the cut see it: bytes by address, symbols, functions."""

from .file import Elf, open_elf
from .lines import source_of
from .section import Section
from .symbols import Function, Symbol, Symbols

__all__ = ["Elf", "Function", "Section", "Symbol", "Symbols", "open_elf", "source_of"]
