# SPDX-License-Identifier: Apache-2.0
"""Places of a labgrid coordinator: who has a board of another host, and what leads to it.

labgrid's package overwrites files of pyserial, so it is never in our environment: a helper
(:mod:`hilagent.place.helper`, one file) runs in labgrid's own Python and speaks lines of
JSON. It ends when this process does, in whatever way, and gives the place back. The bytes
of the console don't pass it.
"""

from hilagent.place.client import Coordinator, Place
from hilagent.place.process import Refused, address_of

__all__ = ["Coordinator", "Place", "Refused", "address_of"]
