"""A QEMU guest: its process, its network ports, its monitor, and the commands that run in it."""

import base64
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time

from . import commands, provide
from .cpio import Archive
from .qmp import Qmp, QmpError
from .tap import KernelStack

# Five on an idle machine.
BOOT_SECONDS = 120
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class GuestError(Exception):
    """The guest ended, hung, or a command in it failed."""


class Port:
    """A network card of a guest, whose frames travel over a pair of unix datagram sockets.

    `address` is the PCI address in the guest. `near` is the socket that QEMU binds, `far` the one it sends to.
    With `hotplug`, the card sits behind a PCI Express root port of its own and can be unplugged. `properties` are further ones of QEMU's device."""

    def __init__(self, name, slot, mac, hotplug=False, address=None, properties=""):
        self.name = name
        self.slot = slot
        self.mac = mac
        self.hotplug = hotplug
        self.properties = properties
        self.address = address or f"0000:00:{slot:02x}.0"
        self.near = None
        self.far = None

    def device(self):
        """The card as QEMU's `-device` takes it."""
        bus = f"{self.name}-port" if self.hotplug else f"pcie.0,addr={self.slot:#x}"
        card = f"virtio-net-pci,id={self.name},netdev={self.name}-net,mac={self.mac},bus={bus}"
        return f"{card},disable-legacy=on,iommu_platform=on,romfile=" + (f",{self.properties}" if self.properties else "")

    def arguments(self):
        """QEMU's arguments for this port."""
        netdev = f"dgram,id={self.name}-net,local.type=unix,local.path={self.near}"
        netdev += f",remote.type=unix,remote.path={self.far}"
        arguments = ["-netdev", netdev]
        if self.hotplug:
            slot = f"bus=pcie.0,addr={self.slot:#x},chassis={self.slot}"
            arguments += ["-device", f"pcie-root-port,id={self.name}-port,{slot}"]
        return arguments + ["-device", self.device()]


class TapPort(Port):
    """A network card whose wire ends in the host's own kernel, at a tap with virtio headers."""

    def __init__(self, name, slot, mac, properties="", address="10.9.0.1", queues=1):
        """`address` is the kernel's at its end of the wire. With several queue pairs each has a vector for each queue."""
        several = [f"mq=on,vectors={2 * queues + 2}"] if queues > 1 else []
        super().__init__(name, slot, mac, properties=",".join(filter(None, [properties, *several])))
        self.stack = KernelStack(address, queues=queues)

    def close(self):
        """Ends the tap."""
        self.stack.close()

    def arguments(self):
        """QEMU's arguments for this port."""
        fds = self.stack.fds
        return ["-netdev", f"tap,id={self.name}-net,{'fd' if len(fds) == 1 else 'fds'}={':'.join(map(str, fds))}", "-device", self.device()]


class HubPort(Port):
    """A network card at a hub inside QEMU. What it sends, the other cards at the hub receive, without a system call; and it sends by a timer of the guest's clock.

    With `inlet`, a socket of the host is at the hub too."""

    def __init__(self, name, slot, mac, inlet=False, properties=""):
        super().__init__(name, slot, mac, properties="ioeventfd=off,tx=timer,x-txtimer=1000" + (f",{properties}" if properties else ""))
        self._inlet = inlet

    def arguments(self):
        """QEMU's arguments for this port."""
        arguments = ["-netdev", f"hubport,id={self.name}-net,hubid=0", "-device", self.device()]
        if self._inlet:
            arguments += ["-netdev", f"dgram,id=inlet,local.type=unix,local.path={self.near},remote.type=unix,remote.path={self.far}"]
            arguments += ["-netdev", "hubport,id=inlet-hub,hubid=0,netdev=inlet"]
        return arguments


class SimulatedPort(Port):
    """A network card of the project's own, which a process beside QEMU simulates and serves over vfio-user.

    It sits behind a PCI Express root port of its own, since real cards do, on the bus `bus`. `device` is the card, with its options."""

    def __init__(self, name, slot, mac, device="ixgbe", bus=1):
        super().__init__(name, slot, mac, address=f"0000:{bus:02x}:00.0")
        self.simulated = f"{device},mac={mac}"
        self.socket = None
        self._process = None

    def serve(self, program, log):
        """Starts the process that is the card, and waits until it listens."""
        self.socket.unlink(missing_ok=True)
        self.log = log
        command = [str(program), *self.command()]
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise GuestError(f"`{' '.join(command)}` does not serve: {log.read_text(errors='replace').strip()[-400:]}")
            time.sleep(0.02)

    def command(self):
        """The arguments of `barewire` that serve the card."""
        return commands.simulate(self.simulated, self.socket, self.near, self.far)

    def violations(self):
        """What drivers did so far that the datasheet forbids, a line each."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if "sim::violation" in line]

    def violation_kinds(self):
        """The same without where and how often: what each line says was done."""
        return {line.split("violation] ")[1].split(" at ")[0] for line in self.violations()}

    def tell(self, line):
        """Gives the process a line of standard input."""
        self._process.stdin.write(f"{line}\n".encode())

    def check_alive(self):
        """Fails where the process has ended."""
        if self._process.poll() is not None:
            text = self.log.read_text(errors="replace").strip()
            raise GuestError(f"the simulated card ended with status {self._process.returncode}: {text[-400:]}")

    def close(self):
        """Ends the process."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        if self._process:
            self._process.wait()
            self._process.stdin.close()

    def arguments(self):
        """QEMU's arguments for this port."""
        path = json.dumps({"path": str(self.socket), "type": "unix"})
        port = f"pcie-root-port,id={self.name}-port,bus=pcie.0,addr={self.slot:#x},chassis={self.slot}"
        card = f'{{"driver":"vfio-user-pci","id":"{self.name}","rombar":0,"bus":"{self.name}-port","socket":{path}}}'
        return ["-device", port, "-device", card]


class Guest:
    """A running guest. Ends with `close`, and in any case with the process that started it."""

    def __init__(self, name, kernel, ports, programs, sockets, logs, iommu=False, machine=None, parameters="", shared=True, newest=False, counted=False):
        """`newest`: QEMU of the latest release, and not the host's. `counted`: one processor, whose every instruction takes a nanosecond of the guest's clock."""
        self.name = name
        self._newest = newest
        self._counted = counted
        self.ports = {port.name: port for port in ports}
        self.console_log = logs / f"{name}-console.log"
        self.trusted = True
        self._logs = logs
        self._request = 0
        self._buffer = b""
        for port in ports:
            port.near = port.near or sockets / f"{name}-{port.name}.qemu"
            port.far = port.far or sockets / f"{name}-{port.name}.peer"
        self._simulated = [port for port in ports if isinstance(port, SimulatedPort)]
        self._taps = [port for port in ports if isinstance(port, TapPort)]
        for port in self._simulated:
            port.socket = port.socket or sockets / f"{name}-{port.name}.vfio"
            port.serve(programs["barewire"], logs / f"{name}-{port.name}.log")
        initrd = sockets / f"{name}.initrd"
        initrd.write_bytes(kernel.archive.bytes() + _program_archive(programs))
        monitor = _listen(sockets / f"{name}-monitor")
        control = _listen(sockets / f"{name}-control")
        with open(logs / f"{name}-qemu.log", "wb") as output:
            self._process = subprocess.Popen(
                self._command(kernel, initrd, sockets, machine or self._machine(iommu, shared), parameters),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                pass_fds=[fd for port in self._taps for fd in port.stack.fds],
            )
        try:
            self._connect(monitor, control)
        except BaseException:
            self.close()
            raise
        initrd.unlink()

    def _connect(self, monitor, control):
        """Takes QEMU's connections, and waits for the guest's command server."""
        try:
            self.qmp = Qmp(self._accept(monitor))
            self._control = self._accept(control)
        except (OSError, QmpError) as error:
            # Most often QEMU did not like its arguments, and ends with a line that says which.
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                self._check_alive()
                time.sleep(0.05)
            raise GuestError(f"QEMU of guest {self.name}: {error}") from error
        self._answer(0, BOOT_SECONDS)

    def _command(self, kernel, initrd, sockets, machine, parameters):
        """QEMU's command line: `machine` is the machine with its cards, `parameters` are further ones for the kernel."""
        qemu = provide.vfio_user_qemu() if self._simulated or self._newest else [provide.qemu()]
        # An emulated processor stands still for as long as the host gives it no time; that is no lockup.
        patience = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=240"
        # Nor is its timer broken whose interrupt comes late.
        line = f"console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check {patience} {parameters}"
        command = [*qemu, *machine, "-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", line]
        command += ["-chardev", f"file,id=console,path={self.console_log}", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=control,path={sockets}/{self.name}-control,server=off"]
        command += ["-serial", "chardev:control"]
        command += ["-chardev", f"socket,id=monitor,path={sockets}/{self.name}-monitor,server=off"]
        return [*command, "-mon", "chardev=monitor,mode=control"]

    def _machine(self, iommu, shared):
        """The machine and its cards. Where a card is simulated, its process reaches the guest's memory by its descriptor; or, not `shared`, by asking
        QEMU for each piece."""
        accelerator = os.environ.get("BAREWIRE_QEMU_ACCEL", "tcg")
        simulated = bool(self._simulated) and shared
        memory = ["-object", "memory-backend-memfd,id=ram,size=512M,share=on"] if simulated else []
        command = ["-accel", accelerator, *memory, "-M", "q35,kernel-irqchip=split" + (",memory-backend=ram" if simulated else "")]
        # Where KVM itself runs in a guest, it may refuse to set the MSR of arch-capabilities, and QEMU aborts.
        command += ["-cpu", "host,-arch-capabilities" if accelerator == "kvm" else "max", "-m", "512"]
        # Two processors, since QEMU's TCG before 8.1 leaves the memory barriers of a guest with one away, although its devices run on other
        # threads: now and then a virtio driver that asks whether it must notify then reads too early, and the queue stands still. A second
        # processor also brings a second queue.
        command += ["-smp", "1", "-icount", "shift=0"] if self._counted else ["-smp", "2"]
        if iommu:
            # A vfio-user device is told of the guest's mappings as they are made, and for that the guest has to flush what it adds.
            remapping = "on" if iommu != "no-remapping" else "off"
            command += ["-device", f"intel-iommu,intremap={remapping}" + (",caching-mode=on" if self._simulated else "")]
        for port in self.ports.values():
            command += port.arguments()
        return command

    def _accept(self, listener):
        listener.settimeout(0.2)
        deadline = time.monotonic() + 20
        with listener:
            while True:
                try:
                    return listener.accept()[0]
                except TimeoutError:
                    self._check_alive()
                    if time.monotonic() > deadline:
                        raise GuestError(f"QEMU of guest {self.name} does not open its sockets") from None

    def qemu_said(self):
        """What QEMU has printed."""
        return (self._logs / f"{self.name}-qemu.log").read_text(errors="replace")

    def _check_alive(self):
        for port in self._simulated:
            port.check_alive()
        status = self._process.poll()
        if status is not None:
            self.trusted = False
            log = self.qemu_said().strip()
            raise GuestError(f"QEMU of guest {self.name} ended with status {status}: {log[-400:] or 'no output'}")

    def run(self, script, timeout=20, check=True):
        """Runs a shell script in the guest and returns its output; with `check=False`, (status, output)."""
        self._request += 1
        line = f"{self._request} {timeout} {base64.b64encode(script.encode()).decode()}\n"
        if len(line) > 4000:
            raise ValueError("the script is too long for the guest's serial port")
        self._control.sendall(line.encode())
        status, output = self._answer(self._request, timeout + 20)
        with open(self._logs / f"{self.name}-commands.log", "a", encoding="utf-8") as log:
            log.write(f"$ {script}\n{output}[status {status}]\n")
        if not check:
            return status, output
        if status:
            raise GuestError(f"`{script}` in guest {self.name}: status {status}: {output.strip()[-600:]}")
        return output

    def _answer(self, request, timeout):
        """Reads the answer to the request: (status, output)."""
        header = re.compile(rb"<<barewire (\d+) (\d+) (\d+)>>\n")
        deadline = time.monotonic() + timeout
        while True:
            match = header.search(self._buffer)
            if match:
                number, status, size = (int(field) for field in match.groups())
                end = match.end() + size
                if len(self._buffer) >= end:
                    output = self._buffer[match.end() : end].decode(errors="replace")
                    self._buffer = self._buffer[end:]
                    if number == request:
                        return status, output
                    continue
            self._receive(deadline)

    def _receive(self, deadline):
        self._control.settimeout(0.5)
        try:
            data = self._control.recv(65536)
        except TimeoutError:
            data = None
        except ConnectionResetError:
            data = b""
        if data:
            self._buffer += data
            return
        self._check_alive()
        if data == b"" or time.monotonic() > deadline:
            self.trusted = False
            tail = self.console_log.read_text(errors="replace")[-600:] if self.console_log.exists() else ""
            raise GuestError(f"guest {self.name} does not answer; its console ends with: {tail.strip()}")

    def start(self, name, command, user=None, limits=""):
        """Starts a program in the background and returns it as a `Program`. `limits` is shell text run before it."""
        if user:
            limits = f"{limits}; " if limits else ""
            # The limits are raised while still privileged; `exec` keeps the program under the pid that is recorded.
            script = f"{limits}launch {name} su -s /bin/sh {user} -c 'exec {command}'"
        else:
            script = f"{limits}\nlaunch {name} {command}"
        self.run(script)
        return Program(self, name, command)

    def plug(self, name, timeout=30):
        """Puts an unplugged card back, and waits until the guest's kernel has found it."""
        port = self.ports[name]
        driver, *properties = port.device().split(",")
        arguments = dict(item.split("=", 1) for item in properties)
        arguments["iommu_platform"] = True  # QMP wants the type where the command line takes text
        self.qmp.execute("device_add", driver=driver, **arguments)
        deadline = time.monotonic() + timeout
        while self.run(f"test -e /sys/bus/pci/devices/{port.address}", check=False)[0]:
            if time.monotonic() > deadline:
                raise GuestError(f"the guest does not find {port.address} again")
            time.sleep(0.2)

    def kernel_log(self):
        """The guest's kernel log so far."""
        return self.run("dmesg")

    def close(self):
        """Ends QEMU. A guest holds nothing that needs an orderly end."""
        process = getattr(self, "_process", None)
        if process and process.poll() is None:
            process.send_signal(signal.SIGKILL)
        if process:
            process.wait()
        for port in self._simulated + self._taps:
            port.close()


class Program:
    """A program that runs in the background of a guest."""

    def __init__(self, guest, name, command):
        self.guest = guest
        self.name = name
        self.command = command
        self.pid = int(guest.run(f"cat /run/process/{name}.pid"))

    def output(self):
        """All that it has printed so far, on both streams."""
        return self.guest.run(f"cat /run/process/{self.name}.out")

    def status(self):
        """Its exit status; None while it runs."""
        text = self.guest.run(f"cat /run/process/{self.name}.status 2>/dev/null || true").strip()
        return int(text) if text else None

    def wait_output(self, pattern, timeout=20):
        """Waits until its output matches the regular expression, and returns the match."""
        deadline = time.monotonic() + timeout
        while True:
            status = self.status()
            output = self.output()
            match = re.search(pattern, output, re.MULTILINE | re.IGNORECASE)
            if match:
                return match
            if status is not None:
                raise GuestError(f"`{self.command}` ended with status {status}, without {pattern!r}: {output[-600:]}")
            if time.monotonic() > deadline:
                raise GuestError(f"`{self.command}` did not print {pattern!r} in {timeout} s, but: {output[-600:]}")
            time.sleep(0.1)

    def wait(self, timeout=20):
        """Waits for its end and returns (status, output)."""
        deadline = time.monotonic() + timeout
        while (status := self.status()) is None:
            if time.monotonic() > deadline:
                raise GuestError(f"`{self.command}` still runs after {timeout} s: {self.output()[-600:]}")
            time.sleep(0.1)
        return status, self.output()

    def signal(self, name="TERM"):
        """Sends it a signal."""
        self.guest.run(f"kill -{name} {self.pid}")

    def stop(self, timeout=20):
        """Ends it by SIGTERM and returns (status, output)."""
        if self.status() is None:
            self.signal()
        return self.wait(timeout)

    def cpu_ticks(self):
        """User plus system time so far, in 1/100 s."""
        return int(self.guest.run(f"cpu_ticks {self.pid}"))


def _program_archive(programs):
    archive = Archive()
    for name, path in programs.items():
        archive.file(f"barewire/{name}", path.read_bytes(), 0o755)
    return archive.bytes()


def _listen(path):
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def die_with_parent():
    """Runs in the child before QEMU: the kernel kills QEMU as soon as the harness is gone, however it went."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
