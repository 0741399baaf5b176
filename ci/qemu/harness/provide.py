"""Obtains what guests are made of: QEMU, kernels, busybox as Debian packages, and the project's own static programs.

Everything lands in the cache folder ($BAREWIRE_CACHE, else $XDG_CACHE_HOME/barewire, else ~/.cache/barewire), except for
QEMU itself, which is installed by apt, and the programs, which cargo builds in target/qemu."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .cpio import Archive

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = "x86_64-unknown-linux-gnu"

# Modules that guests with Debian's kernel load at start, in this order; what they depend on is found by depmod.
DEBIAN_MODULES = ["virtio_pci", "virtio_net", "vfio_iommu_type1", "vfio-pci"]
# Modules that are at hand in the guest but not loaded.
DEBIAN_EXTRA_MODULES = ["e1000e"]


# What ethtool, tc and linuxptp are linked with, by Debian's packages.
IXGBE_LIBRARIES = [
    ("libc6", "libc.so.6"),
    ("libc6", "libm.so.6"),
    ("libmnl0", "libmnl.so.0"),
    ("libbpf1", "libbpf.so.1"),
    ("libelf1", "libelf.so.1"),
    ("libbsd0", "libbsd.so.0"),
    ("libmd0", "libmd.so.0"),
    ("libcap2", "libcap.so.2"),
    ("libxtables12", "libxtables.so.12"),
    ("zlib1g", "libz.so.1"),
]

# Where libraries that testpmd needs are, by Debian's packages; those of DPDK itself follow a rule.
DPDK_LIBRARIES = [
    "ibverbs-providers",
    "libbsd0",
    "libc6",
    "libcap2",
    "libdbus-1-3",
    "libelf1",
    "libfdt1",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "libibverbs1",
    "libjansson4",
    "liblz4-1",
    "liblzma5",
    "libmd0",
    "libnl-3-200",
    "libnl-route-3-200",
    "libnuma1",
    "libpcap0.8",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
]
# What testpmd loads by itself: the driver of virtio cards, a memory pool's ring, and what ends its threads.
DPDK_DRIVERS = ("librte_net_virtio.so", "librte_mempool_ring.so", "libgcc_s.so.1")

# The program of the package `ixy` here, in which another project's driver works.
IXY = "ixy-forward"


class Missing(Exception):
    """Something that guests need is not there; the message says which command mends it."""


def cache_folder():
    """The folder in which downloads and built kernels are kept."""
    named = os.environ.get("BAREWIRE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(named) if named else Path(base) / "barewire"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(name):
    """Two harnesses that run at once must not unpack into the same folder."""
    with open(cache_folder() / f".{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command, **options):
    # What is fetched and built once, whoever needs it first, is no part of that test's time.
    left = signal.alarm(0)
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
        )
    except FileNotFoundError as error:
        raise Missing(f"{command[0]} is not installed ({error.strerror})") from None
    finally:
        signal.alarm(left)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise Missing(f"`{' '.join(map(str, command))}` failed:\n{tail}")
    return done.stdout


def qemu():
    """The path of qemu-system-x86_64, installed by apt where it is missing and this process may."""
    found = shutil.which("qemu-system-x86_64")
    if found:
        return found
    install = ["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86"]
    if os.geteuid() != 0:
        raise Missing(f"qemu-system-x86_64 is not installed; run: sudo {' '.join(install)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if done.returncode:
        _run(["apt-get", "update"])
        _run(install, env=environment)
    return shutil.which("qemu-system-x86_64")


def vfio_user_qemu():
    """The command, as a list, of a qemu-system-x86_64 that has vfio-user-pci (QEMU 10.1 and later).

    Where the host's has not, Debian testing's is unpacked once into the cache and runs by that suite's own dynamic loader."""
    found = shutil.which("qemu-system-x86_64")
    if found and "vfio-user-pci" in _run([found, "-device", "help"]):
        return [found]
    root = cache_folder() / "qemu-testing"
    with _locked("qemu-testing"):
        if not root.exists():
            _debootstrap(root)
    loader = root / "lib64" / "ld-linux-x86-64.so.2"
    command = [str(loader), "--library-path", f"{root}/usr/lib/x86_64-linux-gnu"]
    return [*command, f"{root}/usr/bin/qemu-system-x86_64", "-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios"]


def _debootstrap(root):
    """Debian testing with QEMU in the folder `root`: 400 MB, two minutes."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise Missing(
            "no QEMU with vfio-user-pci: install QEMU 10.1 or later; or run once as root, with debootstrap "
            "installed (sudo apt-get install debootstrap), so that Debian testing's is unpacked into the cache"
        )
    print(f"# unpacking Debian testing's QEMU into {root}: two minutes, once", flush=True)
    unpacking = root.with_name(root.name + ".unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)
    _run(["debootstrap", "--variant=minbase", "testing", str(unpacking)])
    install = ["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86"]
    _run(["chroot", str(unpacking), "env", "DEBIAN_FRONTEND=noninteractive", *install])
    _run(["chroot", str(unpacking), "apt-get", "clean"])
    unpacking.rename(root)


def _package(name):
    """Downloads the Debian package and unpacks it in the cache, without installing it. Returns the folder."""
    folder = cache_folder() / "packages" / name
    with _locked(name):
        if folder.exists():
            return folder
        downloads = cache_folder() / "debs"
        downloads.mkdir(exist_ok=True)
        if not list(downloads.glob(f"{name}_*.deb")):
            try:
                _run(["apt-get", "download", name], cwd=downloads)
            except Missing:
                _run(["apt-get", "update"])
                _run(["apt-get", "download", name], cwd=downloads)
        unpacking = folder.with_name(name + ".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        unpacking.mkdir(parents=True)
        _run(["dpkg", "-x", str(sorted(downloads.glob(f"{name}_*.deb"))[-1]), str(unpacking)])
        unpacking.rename(folder)
    return folder


def ipxe():
    """The path of iPXE's image for BIOS, which QEMU starts like a kernel: of the suite whose QEMU `vfio_user_qemu` is."""
    image = Path("usr/lib/ipxe/ipxe.lkrn")
    root = cache_folder() / "qemu-testing"
    if len(vfio_user_qemu()) == 1:
        return _package("ipxe") / image
    folder = cache_folder() / "packages" / "ipxe-testing"
    with _locked("ipxe-testing"):
        if folder.exists():
            return folder / image
        downloads = root / "tmp" / "ipxe"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        fetch = ["chroot", str(root), "sh", "-c", "cd /tmp/ipxe && apt-get download ipxe"]
        try:
            _run(fetch)
        except Missing:
            _run(["chroot", str(root), "apt-get", "update"])
            _run(fetch)
        unpacking = folder.with_name(folder.name + ".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        unpacking.mkdir(parents=True)
        _run(["dpkg", "-x", str(next(downloads.glob("ipxe_*.deb"))), str(unpacking)])
        shutil.rmtree(downloads)
        unpacking.rename(folder)
    return folder / image


def busybox():
    """The path of a statically linked busybox."""
    return _package("busybox-static") / "bin" / "busybox"


def _debian_kernel_package():
    """The package that linux-image-amd64 stands for; the one in the cache where there is one, so that runs repeat."""
    cached = sorted((cache_folder() / "packages").glob("linux-image-6.1.*-amd64"))
    if cached:
        return cached[-1].name
    for line in _run(["apt-cache", "depends", "linux-image-amd64"]).splitlines():
        name = line.strip().removeprefix("Depends: ")
        if name.startswith("linux-image-6.1.") and "cloud" not in name:
            return name
    raise Missing("apt knows no linux-image-amd64 of Linux 6.1; run: sudo apt-get update (Debian bookworm's sources)")


class Kernel:
    """A kernel image and the archive of the initial file system that belongs to it."""

    def __init__(self, name, image, archive):
        self.name = name
        self.image = image
        self.archive = archive


def debian_kernel(extra=()):
    """Debian's 6.1: VFIO groups and containers, vfio-pci and virtio_net as modules; the modules `extra` are at hand."""
    package = _package(_debian_kernel_package())
    version = next((package / "lib" / "modules").iterdir()).name
    modules = package / "lib" / "modules" / version
    with _locked("depmod"):
        if not (modules / "modules.dep").exists():
            _run([str(busybox()), "depmod", "-b", str(package), version])
    archive = _base_archive(DEBIAN_MODULES)
    dependencies = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        dependencies[Path(path).stem.replace("-", "_")] = (path, needs.split())
    listed = {}
    for name in [*DEBIAN_MODULES, *DEBIAN_EXTRA_MODULES, *extra]:
        path, needs = dependencies[name.replace("-", "_")]
        for module in [path, *needs]:
            listed[module] = dependencies[Path(module).stem.replace("-", "_")][1]
    for module in listed:
        archive.file(f"lib/modules/{version}/{module}", (modules / module).read_bytes())
    lines = "".join(f"{module}: {' '.join(needs)}\n" for module, needs in listed.items())
    archive.file(f"lib/modules/{version}/modules.dep", lines.encode())
    return Kernel("6.1", package / "boot" / f"vmlinuz-{version}", archive)


def ixgbe_kernel():
    """Debian's 6.1 with its ixgbe, ixgbevf, 802.1Q, macvlan and SCTP modules, and what `tc` offloads by; ethtool, tc and linuxptp."""
    kernel = debian_kernel(["ixgbe", "ixgbevf", "8021q", "macvlan", "sctp", "crc32c_generic", "sch_ingress", "cls_u32", "cls_flower", "act_gact"])
    kernel.archive.file("bin/ethtool", (_package("ethtool") / "sbin" / "ethtool").read_bytes(), 0o755)
    # Under a name that busybox has not for an applet of its own.
    kernel.archive.file("bin/iproute2-tc", (_package("iproute2") / "sbin" / "tc").read_bytes(), 0o755)
    for program in ("ptp4l", "phc2sys", "phc_ctl", "hwstamp_ctl"):
        kernel.archive.file(f"bin/{program}", (_package("linuxptp") / "usr" / "sbin" / program).read_bytes(), 0o755)
    kernel.archive.file("lib64/ld-linux-x86-64.so.2", _library("libc6", "ld-linux-x86-64.so.2"), 0o755)
    for package, library in IXGBE_LIBRARIES:
        kernel.archive.file(f"lib/x86_64-linux-gnu/{library}", _library(package, library), 0o755)
    return kernel


def _library(package, name):
    """The bytes of a shared library of a Debian package."""
    return next(path for path in _package(package).rglob(name) if path.is_file()).read_bytes()


def iommufd_kernel():
    """Linux 6.12 with IOMMUFD, VFIO device nodes and no-IOMMU mode built in, no network drivers."""
    image = cache_folder() / "bzImage-6.12-vfio"
    beside = ROOT.parent / "shared" / "qemu" / image.name
    named = os.environ.get("BAREWIRE_IOMMUFD_KERNEL")
    if named:
        image = Path(named)
        if not image.exists():
            raise Missing(f"BAREWIRE_IOMMUFD_KERNEL names {named}, which does not exist")
    elif beside.exists():
        image = beside
    elif not image.exists():
        print(f"# building {image} from Debian's kernel source: 5 to 20 minutes, once", flush=True)
        _run([str(HERE / "build-kernel")])
    return Kernel("6.12", image, _base_archive([]))


def dpdk_kernel():
    """Linux 6.12 as `iommufd_kernel`, with DPDK's testpmd and its driver of virtio cards, as Debian has them."""
    kernel = iommufd_kernel()
    program = _package("dpdk-dev") / "usr" / "bin" / "dpdk-testpmd"
    kernel.archive.file("bin/dpdk-testpmd", program.read_bytes(), 0o755)
    at_hand = {path.name: path for package in DPDK_LIBRARIES for path in _package(package).rglob("*.so*")}
    wanted, taken = [*_needed(program), *DPDK_DRIVERS], set()
    interface = next(number[1] for name in wanted if (number := re.fullmatch(r"librte_eal\.so\.(\d+)", name)))
    while wanted:
        name = wanted.pop()
        if name in taken:
            continue
        taken.add(name)
        if name.startswith("librte_"):
            path = _dpdk_library(name, interface)
        elif name in at_hand:
            path = at_hand[name]
        else:
            raise Missing(f"testpmd needs {name}, which is in none of the packages {', '.join(DPDK_LIBRARIES)}")
        folder = "lib64" if name.startswith("ld-linux") else "lib/x86_64-linux-gnu"
        kernel.archive.file(f"{folder}/{name}", path.read_bytes(), 0o755)
        wanted += _needed(path)
    return kernel


def _dpdk_library(name, interface):
    """The path of a library of DPDK: librte_net_virtio.so.23, or without the number of its interface, is in the package librte-net-virtio23."""
    stem = name.split(".so")[0]
    package = stem.replace("_", "-")
    return next(_package(f"{package}{'-' if stem[-1].isdigit() else ''}{interface}").rglob(f"{stem}.so.{interface}"))


def _needed(path):
    """The names of the libraries that a program or a library is linked with."""
    return re.findall(r"\(NEEDED\).*\[(.*)\]", _run(["readelf", "-d", str(path)]))


def _base_archive(modules):
    archive = Archive()
    archive.folder("dev")
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", busybox().read_bytes(), 0o755)
    archive.file("init", (HERE / "guest" / "init").read_bytes(), 0o755)
    for name in ["agent", "functions"]:
        archive.file(f"lib/barewire/{name}", (HERE / "guest" / name).read_bytes(), 0o755)
    archive.file("etc/modules", "".join(f"{module}\n" for module in modules).encode())
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\nuser:x:1000:\n")
    return archive


def programs(names):
    """Builds the project's programs of these names (examples or binaries of any member), and ixy's, and returns {name: path}.
    Names that the workspace does not have are left out."""
    cargo = shutil.which("cargo") or os.path.expanduser("~/.cargo/bin/cargo")
    metadata = json.loads(_run([cargo, "metadata", "--quiet", "--no-deps", "--format-version", "1"], cwd=ROOT))
    found = {}
    for package in metadata["packages"]:
        for target in package["targets"]:
            kind = target["kind"][0]
            if target["name"] in names and kind in ("bin", "example"):
                found.setdefault((package["name"], tuple(target.get("required-features", []))), []).append(
                    (kind, target["name"])
                )
    folder = ROOT / "target" / "qemu"
    environment = dict(os.environ, RUSTFLAGS="-C target-feature=+crt-static", CARGO_TARGET_DIR=str(folder))
    built = {}
    for (package, features), targets in found.items():
        command = [cargo, "build", "--release", "--target", TARGET, "-p", package]
        command += ["--config", "profile.release.strip=true"]
        if features:
            command += ["--features", ",".join(features)]
        for kind, name in targets:
            command += [f"--{kind}", name]
            subfolder = "examples" if kind == "example" else "."
            built[name] = folder / TARGET / "release" / subfolder / name
        _run(command, cwd=ROOT, env=environment)
    if IXY in names:
        _run([cargo, "build", "--release", "--locked", "--target", TARGET], cwd=HERE / "ixy", env=environment)
        built[IXY] = folder / TARGET / "release" / IXY
    return built


def helper():
    """Builds the harness's own programs for guests and returns {name: path}."""
    return {source.stem: _helper(source) for source in sorted((HERE / "guest").glob("*.rs"))}


def _helper(source):
    program = ROOT / "target" / "qemu" / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        rustc = shutil.which("rustc") or os.path.expanduser("~/.cargo/bin/rustc")
        options = ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols"]
        _run([rustc, *options, "--target", TARGET, "-o", str(program), str(source)])
    return program
