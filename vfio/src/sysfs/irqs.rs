//! The host's own interrupts, by which VFIO tells of a function's vectors, and the processors that take them.

use std::fs;
use std::io;

use super::{Root, write};
use crate::address::PciAddress;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostIrq {
    /// The function's vector.
    pub vector: u16,
    /// The host's number of it (`/proc/irq/N`).
    pub number: u32,
}

/// Those of a function whose vectors are on, as `/proc/interrupts` lists them: `vfio-msix[3](0000:01:00.0)`.
pub fn of_function(root: &Root, address: PciAddress) -> Vec<HostIrq> {
    let listed = fs::read_to_string(root.path("proc/interrupts")).unwrap_or_default();
    let function = format!("]({address})");
    let one = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let (_, vector) = rest.split_whitespace().last()?.strip_suffix(&function)?.strip_prefix("vfio-msi")?.split_once('[')?;
        Some(HostIrq { vector: vector.parse().ok()?, number: number.trim().parse().ok()? })
    };
    listed.lines().filter_map(one).collect()
}

/// Has processor `cpu` take interrupt `number` from now on. What balances interrupts on the host (`irqbalance`) may move it again.
///
/// # Errors
/// What the kernel says: for whom is not root, of an interrupt that is not there or cannot be moved, and of a processor that is off.
pub fn lead(root: &Root, number: u32, cpu: u16) -> io::Result<()> {
    write(&root.path(format!("proc/irq/{number}/smp_affinity_list")), &format!("{cpu}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::made_up::Tree;

    /// From a machine with two processors: another driver's, another function's, and lines that are none.
    const INTERRUPTS: &str = "           CPU0       CPU1
  9:          0          0   IO-APIC   9-fasteoi   acpi
 24:          5          0  PCI-MSIX-0000:00:03.0   0-edge      virtio0-config
 31:       1204          7  IR-PCI-MSIX-0000:01:00.0    0-edge      vfio-msix[0](0000:01:00.0)
 32:          0          0  IR-PCI-MSIX-0000:01:00.0    1-edge      vfio-msix[1](0000:01:00.0)
 33:          3          0  IR-PCI-MSIX-0000:01:00.1    0-edge      vfio-msix[0](0000:01:00.1)
 40:          0          0  IR-PCI-MSI-0000:02:00.0    0-edge      vfio-msi[0](0000:02:00.0)
 41:          0          0  IR-IO-APIC   16-fasteoi   vfio-intx(0000:03:00.0)
NMI:          0          0   Non-maskable interrupts
ERR:          0
";

    #[test]
    fn vectors_are_found_by_their_function() {
        let tree = Tree::new();
        tree.file("proc/interrupts", INTERRUPTS);
        let of = |address: &str| of_function(&tree.root, address.parse().unwrap()).iter().map(|irq| (irq.vector, irq.number)).collect::<Vec<_>>();
        assert_eq!(of("0000:01:00.0"), [(0, 31), (1, 32)]);
        assert_eq!((of("0000:01:00.1"), of("0000:02:00.0")), (vec![(0, 33)], vec![(0, 40)]));
        assert_eq!((of("0000:03:00.0"), of("0000:00:03.0")), (vec![], vec![]), "a line is no vector");
        assert_eq!(of_function(&Tree::new().root, "0000:01:00.0".parse().unwrap()), []);
    }

    #[test]
    fn a_processor_is_written_as_the_kernel_reads_it() {
        let tree = Tree::new();
        tree.file("proc/irq/31/smp_affinity_list", "0-1\n");
        lead(&tree.root, 31, 12).unwrap();
        assert_eq!(std::fs::read_to_string(tree.root.path("proc/irq/31/smp_affinity_list")).unwrap(), "12\n");
        assert_eq!(lead(&tree.root, 32, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
