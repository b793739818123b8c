# SPDX-License-Identifier: Apache-2.0
"""Ways to get an image into a board and start it."""

from __future__ import annotations

from hilagent.deploy.base import Progress, Transfer
from hilagent.deploy.boot import Started, load_verified, start_payload, transfer

__all__ = ["Progress", "Started", "Transfer", "load_verified", "start_payload", "transfer"]
