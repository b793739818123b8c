# SPDX-License-Identifier: Apache-2.0
"""What runs on a board and is built here: fingerprinted, cached, reproducible.

* ``payload.build_payload()``: the EL2 payload;
* ``compile.compile_blob()``: one assembler file as bytes and symbols (vectors);
* ``kernel.build_kernel()``: a kernel with our patches, one without, or Debian's own;
  ``given.artifacts()``: one that somebody else built;
* ``module.build_module()``, ``rootfs.build_rootfs()``: what a kernel under test is
  asked with, and where it finds it; ``keys.lab_keys()``: the lab's SSH keys;
* ``cache``: where results are kept, atomically.
"""
