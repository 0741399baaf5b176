"""What the IOMMU is for: a card that is given a wrong address reaches nothing."""

import re

from harness.lab import check, test

SECRET = b"of an address that is not mapped"
PUBLIC = b"of an address that is mapped"


def _wrong_iova(lab, guest, way):
    address = guest.ports["n0"].address
    guest.run(f"bind_driver {address} vfio-pci")
    peer = lab.peer(guest, "n0")
    before = len(guest.kernel_log())
    output = guest.run(f"wrong-iova {address} {way}")
    used = re.search(r"from (0x[0-9a-f]+), which is not mapped any more", output)
    check(used, f"wrong-iova says nothing of an address: {output}")
    page = int(used.group(1), 16) & ~0xFFF
    log = guest.kernel_log()[before:]
    faults = re.findall(r"DMAR: \[DMA \w+.*?\] Request device \[([0-9a-f:.]+)\] fault addr (0x[0-9a-f]+)", log)
    check(
        any(device == address[5:] and int(fault, 16) & ~0xFFF == page for device, fault in faults),
        f"no DMAR fault of {address[5:]} at {page:#x} in the guest's kernel log: {log[-600:]}",
    )
    received = []
    while (data := peer.receive(0.2)) is not None:
        received.append(data)
    check(not any(SECRET in data for data in received), "the frame at the address that is not mapped was sent")
    check(sum(PUBLIC in data for data in received) == 1, f"the good frame is not among the {len(received)} received")
    return f"{output.splitlines()[0]}: DMAR fault of {address[5:]} at {page:#x}; after a reset {output.splitlines()[-1].split(': ', 1)[1]}, the frame arrived"


@test("wrong-iova", needs=["wrong-iova"])
def wrong_iova_group(lab):
    """DMA outside the mappings is stopped by the IOMMU and logged; the application goes on after a reset (6.1, group)"""
    return _wrong_iova(lab, lab.guest("group"), "group")


@test("wrong-iova-iommufd", needs=["wrong-iova"])
def wrong_iova_iommufd(lab):
    """the same through iommufd (6.12)"""
    return _wrong_iova(lab, lab.guest("iommufd"), "iommufd")
