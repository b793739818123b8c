# SPDX-License-Identifier: Apache-2.0
"""Bringing a board up: what doctor looks at, and what onboard finds out."""
