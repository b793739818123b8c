# SPDX-License-Identifier: Apache-2.0
"""hcall contracts as data: profiles in YAML, a strict loader, header and table."""

from hilagent.abi.contract import ORIGINS, UNKNOWN, Contract, Profile, Result, Server
from hilagent.abi.header import Mismatch, c_header, check, defines
from hilagent.abi.load import as_json, load, profiles
from hilagent.abi.tables import Table, table

__all__ = [
    "ORIGINS", "UNKNOWN", "Contract", "Mismatch", "Profile", "Result", "Server", "Table",
    "as_json", "c_header", "check", "defines", "load", "profiles", "table",
]  # fmt: skip
