"""Asks ipvkit, at the socket in $IPVKIT_SOCKET, what a playbook is to do next; it may take long."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: ipvkit_round
short_description: what ipvkit runs in a round
description: Returns the text of a round for this host, empty for none, or `over` at the end.
options:
  _terms:
    description: What is asked, `over` or `text`, and the number of the round.
    required: true
"""


class LookupModule(LookupBase):
    """The lookup ``ipvkit_round``."""

    def run(self, terms: Sequence[Any], variables: Mapping[str, Any] | None = None, **_: object) -> list[str]:
        """Return the answer."""
        what, number = terms
        host = (variables or {})["inventory_hostname"]
        question = {"ask": str(what), "round": int(number), "host": str(host)}
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(os.environ["IPVKIT_SOCKET"])
            asked.sendall(f"{json.dumps(question)}\n".encode())
            with asked.makefile(encoding="utf-8") as answer:
                return [json.loads(answer.readline())]
