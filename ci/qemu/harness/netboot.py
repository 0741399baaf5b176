"""A machine that boots over a simulated card: iPXE drives the card, and what it fetched takes the machine over.

At the other end of the card's wire is QEMU's user network: its DHCP server, its answers to pings, and through it an HTTP server of this process."""

import http.server
import re
import subprocess
import threading
import time

from . import provide
from .guest import GuestError, SimulatedPort, die_with_parent

# Where QEMU's user network has this host.
HOST = "10.0.2.2"
# What iPXE's and Linux' console, a terminal, is told beside text.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Served:
    """An HTTP server on the loopback device, of these files: {name: bytes}."""

    def __init__(self, files):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers GET with a file."""

            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name  # the library's name for it
                """Sends the file."""
                data = files.get(self.path.lstrip("/"))
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_arguments):
                """What iPXE's console does not show, no one needs."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


def boot(lab, name, device, script, timeout=120):
    """Boots a machine whose only card is the simulated `device` by iPXE with `script`, until the machine switches itself off.
    Returns what its console showed, and the kinds of what the card saw that its specification forbids."""
    card = SimulatedPort("boot", 4, "02:00:00:82:59:90", device)
    card.near, card.far, card.socket = lab.socket(f"{name}.card"), lab.socket(f"{name}.wire"), lab.socket(f"{name}.vfio")
    logs = lab.logs(name)
    console = logs / "console.log"
    commands = logs / "script.ipxe"
    commands.write_text(f"#!ipxe\n{script}\n", encoding="ascii")
    card.serve(lab.programs["barewire"], logs / "card.log")
    try:
        with open(logs / "qemu.log", "wb") as output:
            command = _command(card, commands, console)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        try:
            _wait(process, card, console, time.monotonic() + timeout)
        finally:
            process.kill()
            process.wait()
        status = process.returncode
        if status:
            raise GuestError(f"QEMU ended with status {status}: {(logs / 'qemu.log').read_text(errors='replace')[-400:]}")
        return _shown(console), card.violation_kinds()
    finally:
        card.close()


def _shown(console):
    return _ESCAPES.sub("", console.read_text(errors="replace"))


def _wait(process, card, console, deadline):
    """Waits until QEMU ends by itself."""
    while process.poll() is None:
        card.check_alive()
        if time.monotonic() > deadline:
            raise GuestError(f"the machine does not switch itself off; its console ends with: {_shown(console)[-600:]}")
        time.sleep(0.1)


def _command(card, script, console):
    """QEMU's command line. Its user network and the wire meet in a hub."""
    command = [*provide.vfio_user_qemu(), "-accel", "tcg", "-object", "memory-backend-memfd,id=ram,size=512M,share=on"]
    # Without graphics the BIOS, and with it iPXE, writes to the first serial port.
    command += ["-M", "q35,memory-backend=ram,graphics=off", "-cpu", "max", "-m", "512", "-display", "none", "-no-reboot", "-nodefaults"]
    command += ["-serial", f"file:{console}", "-kernel", str(provide.ipxe()), "-initrd", str(script)]
    # QEMU binds the wire's far end and sends to the card's.
    wire = f"dgram,id=wire,local.type=unix,local.path={card.far},remote.type=unix,remote.path={card.near}"
    command += ["-netdev", "user,id=user", "-netdev", wire]
    for port in ("user", "wire"):
        command += ["-netdev", f"hubport,id={port}-port,hubid=0,netdev={port}"]
    return command + card.arguments()
