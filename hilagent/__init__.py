# SPDX-License-Identifier: Apache-2.0
"""hilagent: proves what a board's EL2 hcall path and soft restart really do."""

__version__ = "0.1.0"
