# SPDX-License-Identifier: Apache-2.0
"""What a kernel's code says about its hcalls, without running it."""
