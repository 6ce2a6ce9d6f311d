"""Sends each result of a task to ipvkit, at the socket in $IPVKIT_SOCKET, and prints nothing."""

import json
import os
import socket

from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: ipvkit_results
type: stdout
short_description: sends results to ipvkit
description: Sends host, output and error of each result to ipvkit.
"""


class CallbackModule(CallbackBase):
    """The callback ``ipvkit_results``."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "ipvkit_results"

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Send the result of a task."""
        self._send(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:  # noqa: ARG002
        """Send the result of a task that could not run."""
        self._send(result)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Send why a host is unreachable."""
        self._send(result)

    def _send(self, result: CallbackTaskResult) -> None:
        found = {key: str(result.result.get(key, "")) for key in ("msg", "stdout", "stderr")}
        answer = {"ask": "result", "host": result.host.get_name(), **found}
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(os.environ["IPVKIT_SOCKET"])
            asked.sendall(f"{json.dumps(answer)}\n".encode())
            with asked.makefile(encoding="utf-8") as received:
                received.readline()
