# SPDX-License-Identifier: Apache-2.0
"""One board in one run: who holds it, which state it is in, what was seen on it."""
