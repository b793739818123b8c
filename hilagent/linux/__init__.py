# SPDX-License-Identifier: Apache-2.0
"""What a running kernel can be asked: its facts, its probe module, its restarts."""
