"""vfio-pci takes the cards, and the kernel gives the device nodes that the programs open."""

from harness.lab import check, test


def _bind(guest):
    """Binds both cards and returns {address: IOMMU group}."""
    addresses = [guest.ports[name].address for name in ("n0", "n1")]
    for address in addresses:
        guest.run(f"bind_driver {address} vfio-pci")
    return {address: guest.run(f"group_of {address}").strip() for address in addresses}


@test("bind-group")
def bind_group(lab):
    """Linux 6.1: vfio-pci behind the virtual IOMMU gives /dev/vfio/N and the container node, and no /dev/iommu"""
    guest = lab.guest("group")
    groups = _bind(guest)
    check(len(set(groups.values())) == 2, f"the cards share an IOMMU group: {groups}")
    for group in groups.values():
        guest.run(f"test -c /dev/vfio/{group}")
    guest.run("test -c /dev/vfio/vfio && ! test -e /dev/iommu && ! test -e /dev/vfio/devices")
    return ", ".join(f"{address} is /dev/vfio/{group}" for address, group in groups.items())


@test("bind-iommufd")
def bind_iommufd(lab):
    """Linux 6.12: vfio-pci behind the virtual IOMMU gives /dev/vfio/devices/vfioN besides, and /dev/iommu"""
    guest = lab.guest("iommufd")
    groups = _bind(guest)
    guest.run("test -c /dev/iommu")
    seen = []
    for address, group in groups.items():
        node = guest.run(f"ls /sys/bus/pci/devices/{address}/vfio-dev").strip()
        guest.run(f"test -c /dev/vfio/devices/{node} && test -c /dev/vfio/{group}")
        seen.append(f"{address} is /dev/vfio/devices/{node} and /dev/vfio/{group}")
    return ", ".join(seen)


@test("bind-noiommu")
def bind_noiommu(lab):
    """Linux 6.12 without an IOMMU: vfio-pci takes a card only in unsafe no-IOMMU mode, as /dev/vfio/noiommu-0"""
    guest = lab.guest("noiommu")
    address = guest.ports["n0"].address
    status, output = guest.run(f"bind_driver {address} vfio-pci", check=False)
    check(status, f"vfio-pci took {address} without an IOMMU and without being told to: {output}")
    guest.run("echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode")
    guest.run(f"bind_driver {address} vfio-pci && test -c /dev/vfio/noiommu-0")
    return f"{address} refused at first, then is /dev/vfio/noiommu-0"
