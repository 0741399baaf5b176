//! Domains on made-up machines: what is found by looking, before the kernel is asked and after it said no.

use proptest::prelude::*;

use super::*;
use crate::domain::Domain;
use crate::sysfs::made_up::Tree;

const ADDRESS: &str = "0000:01:00.0";
const IDS: [&str; 3] = ["0x8086", "0x10fb", "0x020000"];

/// A domain whose kernel answers every request with "not a typewriter".
fn domain(tree: &Tree, way: Way) -> Domain {
    let null = || OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null").unwrap());
    let backend = match way {
        Way::Iommufd => Backend::Ioas(Ioas::made_up(null())),
        _ => Backend::Type1(Container::made_up(null(), way)),
    };
    Domain::of(Mapper { root: tree.root.clone(), way, state: Mutex::default(), backend })
}

fn why(domain: &Domain) -> Cause {
    *domain.open(ADDRESS.parse().unwrap()).unwrap_err().cause
}

#[test]
fn a_function_that_is_missing_or_bound_elsewhere_is_refused_before_anything_is_opened() {
    let tree = Tree::new();
    let domain = domain(&tree, Way::Group);
    let address = ADDRESS.parse().unwrap();
    assert_eq!(why(&domain), Cause::NoSuchFunction(address));
    tree.function(ADDRESS, IDS, Some("ixgbe"), Some(7));
    tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/net/eth5"));
    assert_eq!(why(&domain), Cause::NotBound { address, driver: Some("ixgbe".into()), netdevs: vec!["eth5".into()] });
    let error = domain.open(address).unwrap_err().to_string();
    assert_eq!(
        error,
        "0000:01:00.0: opening it (group): the function is still bound to ixgbe, which uses it as eth5. To mend it: barewire bind 0000:01:00.0"
    );
    assert!(domain.functions().is_empty());
}

#[test]
fn a_function_without_an_iommu_is_refused_by_name() {
    let tree = Tree::new();
    tree.function(ADDRESS, IDS, Some("vfio-pci"), None);
    for way in [Way::Group, Way::Iommufd] {
        assert_eq!(why(&domain(&tree, way)), Cause::NoIommu(crate::NoIommu::Firmware));
    }
    tree.file("sys/firmware/acpi/tables/DMAR", "");
    assert_eq!(why(&domain(&tree, Way::Group)), Cause::NoIommu(crate::NoIommu::Kernel { parameter: "intel_iommu=on" }));
    tree.dir("sys/class/iommu/dmar0");
    assert_eq!(why(&domain(&tree, Way::Group)), Cause::NoIommu(crate::NoIommu::Function));
}

#[test]
fn no_iommu_mode_takes_no_function_that_an_iommu_serves() {
    let tree = Tree::new();
    tree.function(ADDRESS, IDS, Some("vfio-pci"), Some(7));
    assert!(matches!(why(&domain(&tree, Way::NoIommu)), Cause::NotSharable { way: Way::NoIommu, .. }));
    let error = Domain::with_root(Way::NoIommu, tree.root.clone()).unwrap_err();
    assert_eq!(*error.cause, Cause::NoIommuModeOff);
    tree.file("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    let error = Domain::with_root(Way::NoIommu, tree.root.clone()).unwrap_err();
    assert_eq!(*error.cause, Cause::Privilege("CAP_SYS_RAWIO"));
}

#[test]
fn nodes_that_are_missing_name_the_module() {
    let tree = Tree::new();
    tree.function(ADDRESS, IDS, Some("vfio-pci"), Some(7));
    let missing = |module, node: &str| Cause::ModuleMissing { module, looked_for: tree.root.path(node) };
    assert_eq!(*Domain::with_root(Way::Group, tree.root.clone()).unwrap_err().cause, missing("vfio", "dev/vfio/vfio"));
    assert_eq!(*Domain::with_root(Way::Iommufd, tree.root.clone()).unwrap_err().cause, missing("iommufd", "dev/iommu"));
    assert_eq!(why(&domain(&tree, Way::Group)), missing("vfio-pci", "dev/vfio/7"));
    assert!(matches!(why(&domain(&tree, Way::Iommufd)), Cause::ModuleMissing { looked_for, .. } if looked_for.ends_with("vfio-dev")));
    // A node that is no VFIO node.
    tree.file("dev/vfio/vfio", "");
    assert!(matches!(*Domain::with_root(Way::Group, tree.root.clone()).unwrap_err().cause, Cause::Kernel { errno: libc::ENOTTY, .. }));
}

fn with_limits(domain: &Domain, page_bytes: u64, ranges: &[(u64, u64)]) {
    let mut state = domain.mapper.lock();
    state.iovas = IovaAllocator::new(page_bytes, ranges.iter().map(|&(first, last)| first..=last));
    state.limits = Some(Limits { page_bytes, ranges: ranges.to_vec(), mappings_left: None });
}

#[test]
fn a_mapping_that_fails_says_why_and_loses_no_addresses() {
    let tree = Tree::new();
    let domain = domain(&tree, Way::Group);
    let error = domain.dma().allocate(4096).unwrap_err();
    assert!(error.why.contains("open a function into the domain first"), "{error}");
    with_limits(&domain, 4096, &[(0x1000, 0x4fff)]);
    let error = domain.dma().allocate(0x5000).unwrap_err();
    assert!(error.why.contains("no range of 20480 bytes") && error.why.contains("device addresses 0x1000 to 0x4fff"), "{error}");
    for _ in 0..8 {
        let error = domain.dma().allocate(0x4000).unwrap_err();
        assert!(error.why.starts_with("Inappropriate ioctl for device"), "{error}");
    }
}

#[test]
fn memory_that_cannot_be_unmapped_is_kept_with_its_addresses() {
    let tree = Tree::new();
    let domain = domain(&tree, Way::Group);
    with_limits(&domain, 4096, &[(0x1000, 0x2fff)]);
    let memory = Memory::allocate(&tree.root, 4096, 4096).unwrap();
    let iova = domain.mapper.lock().iovas.as_mut().unwrap().take(IovaRequest { len_bytes: 4096, align: 4096 }).unwrap();
    let mapping = Mapping { ptr: memory.ptr(), iova, len_bytes: 4096, page_bytes: 4096 };
    domain.mapper.lock().live.insert(iova.0, memory);
    // SAFETY: the mapping is in `live` as `map` would have left it, and nobody uses its memory.
    unsafe { domain.mapper.unmap(mapping) };
    let mut state = domain.mapper.lock();
    assert!(state.live.contains_key(&iova.0));
    let free = state.iovas.as_mut().unwrap();
    assert_eq!((free.free_bytes(), free.take(IovaRequest { len_bytes: 4096, align: 4096 }).unwrap().0), (4096, 0x2000));
}

#[test]
fn the_kernels_refusals_become_causes() {
    let tree = Tree::new();
    tree.file("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "65535\n");
    tree.file("proc/self/limits", "Max locked memory         8388608              8388608              bytes\n");
    tree.file("proc/self/status", "VmLck:\t    4096 kB\nCapEff:\t0000000000000000\n");
    let domain = domain(&tree, Way::Group);
    let why = |errno| domain.mapper.why_unmapped(&io::Error::from_raw_os_error(errno), 0x1000, 6 << 20, vec![(0, 0xffff)]);
    assert_eq!(why(libc::ENOSPC), Cause::MappingLimit { limit: Some(65535) });
    assert_eq!(why(libc::ENOSPC).remedy().split_once("echo").unwrap().1, " 262140 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit");
    assert_eq!(why(libc::ENOMEM), Cause::Memlock { needed_bytes: 10 << 20, allowed_bytes: 8 << 20 });
    assert!(matches!(why(libc::EINVAL), Cause::Iova { ranges, .. } if ranges == [(0, 0xffff)]));
    tree.file("proc/self/status", "VmLck:\t    4096 kB\nCapEff:\t0000000000004000\n");
    assert!(matches!(why(libc::ENOMEM), Cause::Kernel { errno: libc::ENOMEM, .. }));
}

proptest! {
    #[test]
    fn holes_are_cut_out_and_nothing_else(
        ranges in proptest::collection::vec((0u64..200, 0u64..40), 0..6),
        holes in proptest::collection::vec((0u64..200, 0u64..40), 0..6),
        high in any::<bool>(),
    ) {
        let base = if high { u64::MAX - 240 } else { 0 };
        let spans = |list: Vec<(u64, u64)>| list.into_iter().map(|(first, len)| (base + first, base + first + len)).collect::<Vec<_>>();
        let (ranges, holes) = (spans(ranges), spans(holes));
        let within = |list: &[(u64, u64)], at| list.iter().any(|&(first, last)| first <= at && at <= last);
        let rest = without(&ranges, &holes);
        prop_assert!(rest.iter().all(|&(first, last)| first <= last));
        for at in base..=base + 240 {
            prop_assert_eq!(within(&rest, at), within(&ranges, at) && !within(&holes, at), "{:#x}", at);
        }
    }
}
