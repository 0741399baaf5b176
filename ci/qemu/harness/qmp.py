"""A client of QEMU's machine protocol (QMP) over a unix socket."""

import json
import time


class QmpError(Exception):
    """QEMU refused a command."""


class Qmp:
    """One connection. Events are kept in `events` in the order of their arrival."""

    def __init__(self, connection):
        self._connection = connection
        self._buffer = b""
        self.events = []
        greeting = self._message(time.monotonic() + 20)
        if "QMP" not in greeting:
            raise QmpError(f"not a QMP greeting: {greeting}")
        self.execute("qmp_capabilities")

    def execute(self, command, timeout=20, **arguments):
        """Runs one command and returns what it returns."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self._connection.settimeout(timeout)
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout
        while True:
            message = self._message(deadline)
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise QmpError(f"QEMU refused {command} {arguments}: {message['error'].get('desc')}")
            else:
                return message.get("return")

    def wait_event(self, name, timeout, **data):
        """Waits for an event whose data holds the given items, and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    self.events.remove(event)
                    return event
            message = self._message(deadline)
            if "event" in message:
                self.events.append(message)

    def _message(self, deadline):
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("QEMU's monitor did not answer in time")
            self._connection.settimeout(remaining)
            data = self._connection.recv(65536)
            if not data:
                raise QmpError("QEMU closed its monitor connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)
