# SPDX-License-Identifier: Apache-2.0
"""The payload's wire protocol: definitions, frames, session. No I/O here.

- `wire`: the protocol as data, from which the payload's header is generated;
- `frame`: packets and console text on one line;
- `pace`: how long to wait and how much to send, from what the line did so far;
- `session`: one host talking to one boot of the payload.
"""
