# SPDX-License-Identifier: Apache-2.0
"""What runs on a board and is built here: fingerprinted, cached, reproducible.

* ``payload.build_payload()``: the EL2 payload;
* ``compile.compile_blob()``: one assembler file as bytes and symbols (vectors);
* ``cache``: where results are kept, atomically.
"""
