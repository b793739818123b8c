#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No service is started while packages are configured.
exit 101
