# SPDX-License-Identifier: Apache-2.0
"""The pytest files that ``hilagent run`` runs: many tests judge one observation."""
