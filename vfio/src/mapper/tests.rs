//! Domains on made-up machines: what is found by looking, before the kernel is asked and after it said no.

use proptest::prelude::*;
use vfio_bindings::bindings::vfio::VFIO_GROUP_FLAGS_VIABLE;

use super::*;
use crate::domain::Domain;
use crate::ioctl::made_up;
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
    with_limits(&domain, 4096, &[(0, 0xffff)]);
    let why = |errno| domain.mapper.why_unmapped(&domain.mapper.lock(), &io::Error::from_raw_os_error(errno), 0x1000, 6 << 20);
    assert_eq!(why(libc::ENOSPC), Cause::MappingLimit { limit: Some(65535) });
    assert_eq!(why(libc::ENOSPC).remedy().split_once("echo").unwrap().1, " 262140 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit");
    // 4 MiB are locked; to 6 MiB of buffers come an eighth and 1 MiB.
    let memlock = |needed_bytes| Cause::Memlock { needed_bytes, allowed_bytes: 8 << 20, locked_bytes: 4 << 20, others: Vec::new() };
    assert_eq!(why(libc::ENOMEM), memlock(start_bytes(6 << 20, 1) + (4 << 20)));
    assert_eq!(start_bytes(6 << 20, 1), (7 << 20) + (3 << 18));
    assert!(matches!(why(libc::EINVAL), Cause::Iova { ranges, .. } if ranges == [(0, 0xffff)]));
    tree.file("proc/self/status", "VmLck:\t    4096 kB\nCapEff:\t0000000000004000\n");
    assert!(matches!(why(libc::ENOMEM), Cause::Kernel { errno: libc::ENOMEM, .. }));
    assert!(why(libc::ENOMEM).to_string().contains("a limit of 8388608 bytes on locked memory"), "{}", why(libc::ENOMEM));
}

#[test]
fn one_change_of_the_limit_serves_for_all_functions_that_are_open() {
    let tree = Tree::new();
    tree.file("proc/self/limits", "Max locked memory         65536              65536              bytes\n");
    let domain = domain(&tree, Way::Group);
    domain.mapper.lock().open = vec!["01:00.0".parse().unwrap(), "02:00.0".parse().unwrap()];
    let needed = |locked: usize, len: u64| {
        tree.file("proc/self/status", &format!("VmLck:\t{} kB\nCapEff:\t0\n", locked >> 10));
        match domain.mapper.why_unmapped(&domain.mapper.lock(), &io::Error::from_raw_os_error(libc::ENOMEM), 0x1000, len) {
            Cause::Memlock { needed_bytes, .. } => needed_bytes,
            other => panic!("{other}"),
        }
    };
    let all = start_bytes(4 << 20, 2);
    assert_eq!(needed(0, 4 << 20), all);
    // Wherever the start comes to its end for the limit, it names the same need.
    let mut locked = 0;
    for (iova, len) in [(0, 4 << 20), (1 << 30, 65536), (2 << 30, 8192)] {
        domain.mapper.lock().live.insert(iova, Memory::allocate(&tree.root, len, 4096).unwrap());
        locked += len;
        assert_eq!((needed(locked, 4096), needed(locked, 4 << 20)), (all, all));
    }
    // More than what was foreseen is named all the same.
    assert_eq!(needed(locked, 64 << 20), start_bytes(64 << 20, 2));
    domain.mapper.lock().open.clear();
    assert_eq!(needed(locked, 4 << 20), locked as u64 + (4 << 20));
}

/// A kernel with one device, which answers as asked: the number of the VFIO request, and the error.
fn answers(errors: &[(u32, i32)]) {
    let errors = errors.to_vec();
    made_up::answer_by(move |request, argument| {
        if let Some(&(_, errno)) = errors.iter().find(|&&(number, _)| number == request) {
            return Some(Err(io::Error::from_raw_os_error(errno)));
        }
        if request == GROUP_GET_STATUS {
            // SAFETY: the argument of this request is a struct vfio_group_status, whose flags are its second word.
            unsafe { (argument as *mut u32).add(1).write(VFIO_GROUP_FLAGS_VIABLE) };
        }
        Some(Ok(0))
    });
}

// Request numbers of linux/vfio.h, from VFIO_BASE on.
const SET_IOMMU: u32 = 102;
const GROUP_GET_STATUS: u32 = 103;
const DEVICE_BIND_IOMMUFD: u32 = 118;
const DEVICE_ATTACH_IOMMUFD_PT: u32 = 119;
const IOMMU_GET_INFO: u32 = 112;
const IOMMU_UNMAP_DMA: u32 = 114;

/// A machine with one function bound to vfio-pci and all its nodes.
fn machine() -> Tree {
    let tree = Tree::new();
    tree.function(ADDRESS, IDS, Some("vfio-pci"), Some(7));
    tree.dir(&format!("sys/bus/pci/devices/{ADDRESS}/vfio-dev/vfio3"));
    tree.file("dev/vfio/7", "").file("dev/vfio/devices/vfio3", "").dir("sys/module/vfio_iommu_type1").dir("sys/module/iommufd");
    tree
}

#[test]
fn a_platform_that_remaps_no_interrupts_is_named_on_both_ways() {
    let cases = [
        (Way::Group, SET_IOMMU, "vfio_iommu_type1"),
        (Way::Iommufd, DEVICE_BIND_IOMMUFD, "iommufd"),
        (Way::Iommufd, DEVICE_ATTACH_IOMMUFD_PT, "iommufd"),
    ];
    for (way, request, module) in cases {
        let tree = machine();
        answers(&[(request, libc::EPERM)]);
        let domain = domain(&tree, way);
        let cause = Cause::NoInterruptRemapping { module };
        // Not to be seen, and seen to be off.
        assert_eq!(why(&domain), cause);
        tree.file("proc/interrupts", " 24:   0   PCI-MSI 81920-edge      virtio1-config\n");
        assert_eq!(why(&domain), cause);
        assert!(cause.remedy().ends_with(&format!("echo 1 > /sys/module/{module}/parameters/allow_unsafe_interrupts")), "{}", cause.remedy());
        // Then it must be something else: what the firmware keeps, or what the kernel alone knows.
        tree.file("proc/interrupts", " 24:   0   IR-PCI-MSI 81920-edge      virtio1-config\n");
        assert!(matches!(why(&domain), Cause::Kernel { errno: libc::EPERM, .. }));
        tree.file("sys/kernel/iommu_groups/7/reserved_regions", "0x000000007a000000 0x000000007bffffff direct\n");
        assert_eq!(why(&domain), Cause::Reserved { regions: vec![(0x7a00_0000, 0x7bff_ffff)] });
        assert!(domain.functions().is_empty());
    }
}

/// A region that is mapped, as [`Mapper::allocate`] would have left it.
fn mapped(domain: &Domain, len: usize) -> Mapping {
    let memory = Memory::allocate(domain.root(), len, 4096).unwrap();
    let mut state = domain.mapper.lock();
    let iova = state.iovas.as_mut().unwrap().take(IovaRequest { len_bytes: len as u64, align: 4096 }).unwrap();
    let mapping = Mapping { ptr: memory.ptr(), iova, len_bytes: len, page_bytes: 4096 };
    state.live.insert(iova.0, memory);
    mapping
}

#[test]
fn mappings_that_went_with_the_last_device_are_given_back_and_not_kept() {
    let tree = machine();
    let domain = domain(&tree, Way::Group);
    with_limits(&domain, 4096, &[(0x1000, 0x8fff)]);
    let (first, second) = (mapped(&domain, 0x4000), mapped(&domain, 0x4000));
    let left = |domain: &Domain| {
        let state = domain.mapper.lock();
        (state.live.len(), state.iovas.as_ref().unwrap().free_bytes())
    };
    // The container has its IOMMU, which refuses: the memory may still be reached.
    answers(&[(IOMMU_UNMAP_DMA, libc::EINVAL)]);
    // SAFETY: both mappings are in `live` as `map` would have left them, and nobody uses their memory.
    unsafe { domain.mapper.unmap(first) };
    assert_eq!(left(&domain), (2, 0));
    // It has none any more.
    answers(&[(IOMMU_UNMAP_DMA, libc::EINVAL), (IOMMU_GET_INFO, libc::EINVAL)]);
    // SAFETY: as above.
    unsafe { domain.mapper.unmap(first) };
    assert_eq!(left(&domain), (1, 0x4000));
    let error = domain.dma().allocate(0x1000);
    assert!(error.is_ok(), "the made-up kernel maps");
    drop(error);
    // SAFETY: as above.
    unsafe { domain.mapper.unmap(second) };
    assert_eq!(left(&domain), (0, 0x8000));
}

#[test]
fn a_mapping_that_the_kernel_does_not_have_is_given_back_and_half_of_one_kept() {
    let tree = machine();
    let domain = domain(&tree, Way::Group);
    with_limits(&domain, 4096, &[(0x1000, 0x8fff)]);
    let mapping = mapped(&domain, 0x4000);
    for (unmapped, live) in [(0x1000, 1), (0, 0)] {
        made_up::answer_by(move |request, argument| match request {
            IOMMU_UNMAP_DMA => {
                // SAFETY: as in `answers`; the argument is `vfio_iommu_type1_dma_unmap`, whose third word of 8 bytes is the size.
                unsafe { (argument as *mut u64).add(2).write(unmapped) };
                Some(Ok(0))
            }
            _ => None,
        });
        // SAFETY: the mapping is in `live` as `map` would have left it, and nobody uses its memory.
        unsafe { domain.mapper.unmap(mapping) };
        assert_eq!(domain.mapper.lock().live.len(), live, "{unmapped:#x} bytes of 0x4000 were unmapped");
    }
}

#[test]
fn a_domain_whose_devices_were_unplugged_takes_new_ones_when_it_is_empty() {
    let tree = machine();
    let domain = domain(&tree, Way::Group);
    let open = || {
        made_up::answer_by(|request, argument| {
            // SAFETY: as in `answers`; a device's descriptor is the caller's, who closes it.
            unsafe {
                match request {
                    GROUP_GET_STATUS => (argument as *mut u32).add(1).write(VFIO_GROUP_FLAGS_VIABLE),
                    106 => return Some(Ok(std::os::fd::IntoRawFd::into_raw_fd(std::fs::File::open("/dev/null").unwrap()))),
                    _ => {}
                }
            }
            Some(Ok(0))
        });
        domain.mapper.attach(ADDRESS.parse().unwrap())
    };
    drop(open().unwrap());
    with_limits(&domain, 4096, &[(0x1000, 0x8fff)]);
    let region = mapped(&domain, 0x4000);
    // The device was unplugged: its group has no devices, and the container no IOMMU.
    answers(&[(GROUP_GET_STATUS, libc::ENODEV), (IOMMU_GET_INFO, libc::EINVAL), (IOMMU_UNMAP_DMA, libc::EINVAL)]);
    let refused = domain.mapper.attach(ADDRESS.parse().unwrap()).unwrap_err();
    assert_eq!(*refused.cause, Cause::DomainOver { regions: 1 });
    assert_eq!(*open().unwrap_err().cause, Cause::DomainOver { regions: 1 }, "it is over for as long as there is a region");
    answers(&[(IOMMU_GET_INFO, libc::EINVAL), (IOMMU_UNMAP_DMA, libc::EINVAL)]);
    // SAFETY: as above.
    unsafe { domain.mapper.unmap(region) };
    open().unwrap();
}

#[test]
fn an_error_at_a_shared_node_names_the_function_and_what_it_is() {
    let tree = machine();
    tree.function("0000:00:1f.2", ["0x8086", "0x2922", "0x010601"], Some("vfio-pci"), Some(9));
    let text = |address: &str, way| Domain::for_function(&tree.root, address.parse().unwrap(), Some(way)).unwrap_err().to_string();
    let (vfio, iommu) = (tree.root.path("dev/vfio/vfio"), tree.root.path("dev/iommu"));
    assert_eq!(
        text(ADDRESS, Way::Group),
        format!(
            "0000:01:00.0 (8086:10fb), a network card: opening the node ({0}): the module vfio is not loaded ({0} is missing). To mend it: modprobe vfio. All that is in its way: barewire doctor 0000:01:00.0",
            vfio.display()
        )
    );
    let other = text("0000:00:1f.2", Way::Iommufd);
    assert!(other.starts_with("0000:00:1f.2 (8086:2922), which is no network card but of PCI class 0x010601: opening the node"), "{other}");
    assert!(other.contains(&iommu.display().to_string()) && other.ends_with(": barewire doctor 0000:00:1f.2"), "{other}");
    // The function's own node, too.
    std::fs::remove_file(tree.root.path("dev/vfio/7")).unwrap();
    let own = domain(&tree, Way::Group).open(ADDRESS.parse().unwrap()).unwrap_err();
    assert_eq!((own.on.as_str(), own.doctor), ("0000:01:00.0 (8086:10fb), a network card", Some(ADDRESS.parse().unwrap())));
    let missing = text("0000:07:00.0", Way::Group);
    assert!(missing.starts_with("0000:07:00.0: opening it: there is no PCI function"), "{missing}");
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
