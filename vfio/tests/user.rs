//! A vfio-user device as a PCI function, served by another thread: each message, and each way to go wrong.

mod server;

use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use driver_core::host::{Bar, Doorbell, Interrupt, PciErrorKind, PciFunction, RegSpace};
use server::*;
use vfio::{Cause, Event, ServerCause, UserDomain, UserFunction};

fn open(make: Make) -> (UserFunction, Server) {
    let server = Server::start(make);
    (UserFunction::open(&server.path).unwrap(), server)
}

/// A limit for what does come: no machine is so slow.
const AMPLE: Duration = Duration::from_secs(60);

/// What opening gives where the server's replies are not what they should be.
fn refusal(make: Make) -> ServerCause {
    refusal_within(AMPLE, make)
}

fn refusal_within(limit: Duration, make: Make) -> ServerCause {
    let server = Server::start(make);
    match *UserDomain::with_answer_limit(limit).open(&server.path).unwrap_err().cause {
        Cause::Server(cause) => cause,
        other => panic!("{other:?}"),
    }
}

fn instead(command: u16, mut what: impl FnMut(&Seen) -> Instead + Send + 'static) -> Make {
    Make { hook: Box::new(move |seen| (seen.command == command).then(|| what(seen))), ..Make::default() }
}

#[test]
fn the_first_message_proposes_the_protocol() {
    let (function, server) = open(Make::default());
    let path = server.path.display().to_string();
    assert_eq!(function.name(), format!("vfio-user:{path}"));
    drop(function);
    let seen = server.join();
    assert_eq!((seen[0].command, seen[0].flags, &seen[0].body[..4]), (VERSION, 0, &[0; 4][..]));
    let json: serde_json::Value = serde_json::from_slice(seen[0].body[4..].strip_suffix(b"\0").unwrap()).unwrap();
    assert!(json["capabilities"]["max_msg_fds"].as_u64().unwrap() >= 1 && json["capabilities"]["max_data_xfer_size"].as_u64().unwrap() >= 4096);
    assert_eq!(json["capabilities"]["twin_socket"], serde_json::json!({ "supported": true }));
    assert_eq!(seen[1], Seen { command: GET_INFO, flags: 0, body: words(&[16, 0, 0, 0]), fds: 0 });
}

#[test]
fn configuration_space_is_region_7() {
    let (mut function, server) = open(Make::default());
    let id = function.id().unwrap();
    assert_eq!((id.vendor, id.device), (0x8086, 0x10fb));
    assert_eq!(function.config_read(0x04, 2), Ok(0x0002), "registers are on and DMA is off");
    allow_dma(&mut function);
    assert_eq!(function.config_read(0x04, 2), Ok(0x0006));
    config_write(&mut function, 0x0c, 1, 0x1234_5678).unwrap();
    assert_eq!(function.config_read(0x0c, 4), Ok(0x78));
    for (offset, width) in [(0x100, 1), (0xfe, 4), (0, 3), (0xffff, 2)] {
        assert!(matches!(function.config_read(offset, width).unwrap_err().kind, PciErrorKind::Argument(_)), "{offset:#x} {width}");
        assert!(config_write(&mut function, offset, width, 0).is_err());
    }
    drop(function);
    let seen = server.join();
    let writes: Vec<_> = seen.iter().filter(|seen| seen.command == REGION_WRITE).collect();
    assert!(writes.iter().all(|write| write.flags == 0), "configuration writes are waited for: {writes:?}");
    let last = &writes.last().unwrap().body;
    assert_eq!((u64_at(last, 0), u32_at(last, 8), &last[16..]), (4, 7, &[0x02, 0][..]), "dropping the function forbids DMA");
}

#[test]
fn registers_are_messages_and_writes_are_posted() {
    let (mut function, server) = open(Make::default());
    let bar = open_bar(&mut function, 0).unwrap();
    assert_eq!((bar.len_bytes(), bar.mapped_bytes()), (BAR_LEN, 0));
    assert_eq!((bar.read8(0x11), bar.read16(0x12), bar.read32(0x14)), (0x11, 0x1312, 0x1716_1514));
    assert_eq!(bar.read64(0x18), 0x1f1e_1d1c_1b1a_1918);
    bar.write64(0x20, 0x8877_6655_4433_2211);
    bar.write32(0x24, 0xdcba_abcd);
    bar.write16(0x26, 0x1234);
    bar.write8(0x20, 0xff);
    bar.doorbell(0x28).unwrap().ring(7);
    assert_eq!((bar.read64(0x20), bar.read32(0x28)), (0x1234_abcd_4433_22ff, 7));
    let before = server.seen(REGION_READ).len();
    for at in [1, 2, BAR_LEN as u32 - 2, BAR_LEN as u32, u32::MAX] {
        assert_eq!(bar.read32(at), u32::MAX, "{at:#x}");
        bar.write32(at, 0);
        assert!(bar.doorbell(at).is_err());
    }
    assert_eq!(server.seen(REGION_READ).len(), before, "what is outside is not asked for");
    for (index, text) in [(1, "no BAR of this number"), (6, "BARs 0 to 5"), (2, "no BAR")] {
        let error = open_bar(&mut function, index).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    drop(function);
    // The BAR keeps the connection.
    assert_eq!(bar.read32(0x28), 7);
    drop(bar);
    let posted: Vec<_> = server.join().into_iter().filter(|seen| seen.command == REGION_WRITE && u32_at(&seen.body, 8) == 0).collect();
    assert_eq!((posted.len(), posted.iter().all(|write| write.flags == 0x10)), (5, true), "{posted:?}");
}

/// rust-vmm's crate does it.
#[test]
fn a_server_may_acknowledge_posted_writes() {
    let acknowledge = |seen: &Seen| {
        let reply = [words(&[u32::from(REGION_WRITE) << 16, 32, 1, 0]), seen.body[..16].to_vec()].concat();
        (seen.command == REGION_WRITE && seen.flags & 0x10 != 0).then_some(Instead::Raw(reply))
    };
    let (mut function, _server) = open(Make { hook: Box::new(acknowledge), ..Make::default() });
    let bar = open_bar(&mut function, 0).unwrap();
    for n in 0..100 {
        bar.write32(0x20, n);
        assert_eq!(bar.read32(0x14), 0x1716_1514, "read {n}: {:?}", function.pending_event());
    }
}

#[test]
fn areas_with_a_descriptor_are_mapped() {
    // The last page has the table of MSI-X vectors.
    let (mut function, server) = open(Make { areas: vec![(0x1000, 0x1000), (0x3000, 0x1000), (0x2000, 0x80)], ..Make::default() });
    let bar = open_bar(&mut function, 2).unwrap();
    assert_eq!((bar.len_bytes(), bar.mapped_bytes()), (BAR_LEN, 0x1000));
    let before = server.seen.lock().unwrap().len();
    server.bar_2.write_all_at(&0x0403_0201u32.to_le_bytes(), 0x1ffc).unwrap();
    assert_eq!(bar.read32(0x1ffc), 0x0403_0201);
    bar.doorbell(0x1010).unwrap().ring(0xaabb_ccdd);
    let mut rung = [0; 4];
    server.bar_2.read_exact_at(&mut rung, 0x1010).unwrap();
    assert_eq!((u32::from_le_bytes(rung), server.seen.lock().unwrap().len()), (0xaabb_ccdd, before), "no messages");
    assert_eq!((bar.read32(0x2000), bar.read32(0x0ffc)), (0x0302_0100, 0xfffe_fdfc), "the rest by messages");
    assert_eq!(server.seen(REGION_READ).iter().filter(|read| u32_at(&read.body, 8) == 2).count(), 2);
}

#[test]
fn a_long_list_of_areas_is_asked_for_again() {
    let areas: Vec<_> = (0..100).map(|i| (0x8000 + i * 0x1000, 0x1000)).chain([(0, 0x2000)]).collect();
    let (mut function, server) = open(Make { areas, ..Make::default() });
    assert_eq!(open_bar(&mut function, 2).unwrap().mapped_bytes(), 0x2000);
    let asked: Vec<_> = server.seen(GET_REGION_INFO).iter().filter(|ask| u32_at(&ask.body, 8) == 2).map(|ask| u32_at(&ask.body, 0)).collect();
    assert_eq!((asked.len(), asked[1]), (2, 32 + 16 + 16 * 101));
}

#[test]
fn what_the_servers_file_lacks_is_not_mapped() {
    let (mut function, _server) = open(Make { areas: vec![(0, 0x1000), (0x1000, 0x1000)], file_len: 0x1800, ..Make::default() });
    let bar = open_bar(&mut function, 2).unwrap();
    assert_eq!((bar.mapped_bytes(), bar.read32(0x1800)), (0x1000, 0x0302_0100));
}

#[test]
fn a_descriptor_that_cannot_be_mapped_is_done_without() {
    let (mut function, server) = open(Make { areas: vec![(0x1000, 0x1000)], is_read_only: true, ..Make::default() });
    let bar = open_bar(&mut function, 2).unwrap();
    assert_eq!((bar.len_bytes(), bar.mapped_bytes()), (BAR_LEN, 0));
    bar.doorbell(0x1010).unwrap().ring(0xaabb_ccdd);
    assert_eq!(bar.read32(0x1010), 0xaabb_ccdd);
    assert_eq!(server.seen(REGION_WRITE).last().unwrap().body, [words(&[0x1010, 0, 2, 4]), words(&[0xaabb_ccdd])].concat());
}

#[test]
fn memory_is_shared_by_its_descriptor() {
    let (mut function, server) = open(Make::default());
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(5000).unwrap();
    assert_eq!((region.len_bytes(), region.iova().0 % 4096), (8192, 0));
    let map = server.seen(DMA_MAP).remove(0);
    assert_eq!((map.fds, u32_at(&map.body, 0), u32_at(&map.body, 4)), (1, 32, 3));
    assert_eq!((u64_at(&map.body, 8), u64_at(&map.body, 16), u64_at(&map.body, 24)), (0, region.iova().0, 8192));
    bar.write32(FILL, 0x5a);
    let _ = bar.read32(0);
    // SAFETY: the region is ours and the server is done with it.
    let bytes = unsafe { std::slice::from_raw_parts(region.ptr().as_ptr(), region.len_bytes()) };
    assert!(bytes.iter().all(|&byte| byte == 0x5a));
    let iova = region.iova();
    drop(region);
    let unmap = server.seen(DMA_UNMAP).remove(0);
    assert_eq!((u32_at(&unmap.body, 0), u64_at(&unmap.body, 8), u64_at(&unmap.body, 16)), (24, iova.0, 8192));
    assert_eq!(function.dma().allocate(1).unwrap().iova(), iova, "the addresses are free again");
}

#[test]
fn the_device_reaches_memory_by_messages_and_nothing_else() {
    let (mut function, _server) = open(Make::default());
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(4096).unwrap();
    // SAFETY: the region is ours, and the device has not been asked yet.
    unsafe { region.ptr().as_ptr().write_bytes(0x0f, 16) };
    bar.write64(COPY, region.iova().0);
    assert_eq!(bar.read64(COPY), 0);
    // SAFETY: the device is done, as its register says.
    let bytes = unsafe { std::slice::from_raw_parts(region.ptr().as_ptr(), 48) };
    assert_eq!((&bytes[..16], &bytes[16..32], &bytes[32..]), (&[0x0f; 16][..], &[0xf0; 16][..], &[0; 16][..]));
    for wild in [region.iova().0 + 4090, region.iova().0 - 1, 0, u64::MAX - 7] {
        bar.write64(COPY, wild);
        assert_eq!(bar.read64(COPY), 14, "{wild:#x} is EFAULT");
    }
}

#[test]
fn functions_of_one_domain_see_the_same_memory() {
    let (a, b) = (Server::start(Make::default()), Server::start(Make::default()));
    let domain = UserDomain::new();
    let first = domain.open(&a.path).unwrap();
    let early = first.dma().allocate(4096).unwrap();
    let second = domain.open(&b.path).unwrap();
    let late = second.dma().allocate(4096).unwrap();
    assert!(first.dma().is_same(second.dma()));
    let maps = |server: &Server| server.seen(DMA_MAP).iter().map(|map| u64_at(&map.body, 16)).collect::<Vec<_>>();
    assert_eq!((maps(&a), maps(&b)), (vec![early.iova().0, late.iova().0], vec![early.iova().0, late.iova().0]));
    drop(first);
    assert!(a.join().iter().any(|seen| seen.command == DMA_MAP));
    // The other goes on alone.
    let more = second.dma().allocate(4096).unwrap();
    assert_eq!(maps(&b).last(), Some(&more.iova().0));
}

#[test]
fn a_mapping_that_is_refused_is_taken_back_everywhere() {
    let a = Server::start(Make::default());
    let b = Server::start(instead(DMA_MAP, |_| Instead::Error(28)));
    let domain = UserDomain::new();
    let (first, _second) = (domain.open(&a.path).unwrap(), domain.open(&b.path).unwrap());
    let error = first.dma().allocate(4096).unwrap_err().to_string();
    assert!(error.contains("the server refused DMA_MAP: No space left on device"), "{error}");
    assert_eq!((a.seen(DMA_MAP).len(), a.seen(DMA_UNMAP).len()), (1, 1));
}

#[test]
fn interrupts_are_event_descriptors() {
    let capabilities = "{\"capabilities\":{\"max_msg_fds\":2}}";
    let (mut function, server) = open(Make { capabilities, ..Make::default() });
    assert_eq!(function.interrupt_count(), 3);
    assert!(matches!(function.enable_interrupts(4).unwrap_err().kind, PciErrorKind::Missing(_)));
    assert!(matches!(function.enable_interrupts(0).unwrap_err().kind, PciErrorKind::Argument(_)));
    let mut vectors = function.enable_interrupts(3).unwrap().into_iter().collect::<Vec<_>>();
    assert!(matches!(function.enable_interrupts(1).unwrap_err().kind, PciErrorKind::Argument(_)), "they are on already");
    assert_eq!(function.config_read(MSIX + 2, 2), Ok(0x8002), "MSI-X is on");
    let bar = open_bar(&mut function, 0).unwrap();
    for fired in [2, 0, 1] {
        bar.write32(FIRE, fired);
        assert_eq!(vectors[fired as usize].wait(Some(30_000_000)), Ok(1));
    }
    assert!(vectors.iter_mut().all(|vector| vector.wait(Some(0)) == Ok(0)));
    let sets: Vec<_> = server.seen(SET_IRQS).into_iter().filter(|set| u32_at(&set.body, 8) == 2).collect();
    let wanted = |start: u32, count: u32| Seen { command: SET_IRQS, flags: 0, body: words(&[20, 0x24, 2, start, count]), fds: count as usize };
    assert_eq!(sets, [wanted(0, 2), wanted(2, 1)], "no more descriptors in a message than the server takes");
    function.disable_interrupts().unwrap();
    assert_eq!(function.config_read(MSIX + 2, 2), Ok(0x0002));
    assert_eq!(server.seen(SET_IRQS).last().unwrap().body, words(&[20, 0x21, 2, 0, 0]));
    assert_eq!(function.enable_interrupts(1).unwrap().left(), 1);
}

/// What SET_IRQS did to MSI-X: flags, first vector, how many.
fn irq_sets(server: &Server) -> Vec<(u32, u32, u32)> {
    let sets = server.seen(SET_IRQS).into_iter().filter(|set| u32_at(&set.body, 8) == 2);
    sets.map(|set| (u32_at(&set.body, 4), u32_at(&set.body, 12), u32_at(&set.body, 16))).collect()
}

#[test]
fn vectors_are_all_on_or_all_off() {
    let capabilities = "{\"capabilities\":{\"max_msg_fds\":2}}";
    let third = |seen: &Seen| (seen.command == SET_IRQS && u32_at(&seen.body, 12) == 2).then_some(Instead::Error(28));
    let (mut function, server) = open(Make { capabilities, hook: Box::new(third), ..Make::default() });
    let error = function.enable_interrupts(3).unwrap_err().to_string();
    assert!(error.contains("turning on 3 interrupt vectors: ") && error.contains("refused DEVICE_SET_IRQS: No space left"), "{error}");
    assert_eq!(irq_sets(&server), [(0x24, 0, 2), (0x24, 2, 1), (0x21, 0, 0)]);
    assert_eq!(function.config_read(MSIX + 2, 2), Ok(0x0002), "MSI-X stays off");
    assert_eq!(function.enable_interrupts(2).unwrap().left(), 2);
}

#[test]
fn vectors_go_off_where_msix_cannot_be_turned_on() {
    let mut refused = 0;
    let once = move |seen: &Seen| {
        let is_control = seen.command == REGION_WRITE && u32_at(&seen.body, 8) == 7 && u64_at(&seen.body, 0) == u64::from(MSIX) + 2;
        refused += u32::from(is_control);
        (is_control && refused == 1).then_some(Instead::Error(5))
    };
    let (mut function, server) = open(Make { hook: Box::new(once), ..Make::default() });
    let error = function.enable_interrupts(3).unwrap_err().to_string();
    assert!(error.contains("writing configuration offset 0x42") && error.contains("refused REGION_WRITE"), "{error}");
    assert_eq!(irq_sets(&server), [(0x24, 0, 3), (0x21, 0, 0)]);
    assert_eq!(function.enable_interrupts(1).unwrap().left(), 1);
}

#[test]
fn a_reset_leaves_dma_off_and_registers_on() {
    let (mut function, server) = open(Make::default());
    allow_dma(&mut function);
    function.reset().unwrap();
    assert_eq!((server.seen(RESET).len(), function.config_read(0x04, 2)), (1, Ok(0x0002)));
    let (mut function, server) = open(Make { device_flags: 2, ..Make::default() });
    assert!(function.reset().unwrap_err().to_string().contains("can be reset neither"));
    assert_eq!(server.seen(RESET), []);
}

#[test]
fn errors_and_requests_of_the_device_are_events() {
    let (mut function, _server) = open(Make::default());
    let bar = open_bar(&mut function, 0).unwrap();
    assert_eq!(function.pending_event(), None);
    bar.write32(EVENT, 3);
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Failed)));
    function.reset().unwrap();
    assert_eq!(function.pending_event(), None);
    bar.write32(EVENT, 4);
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::RemovalRequested)));
}

#[test]
fn a_server_that_ends_takes_the_device_with_it() {
    let server = Server::start(Make::default());
    let mut function = UserDomain::with_answer_limit(AMPLE).open(&server.path).unwrap();
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(4096).unwrap();
    let mut vector = function.enable_interrupts(1).unwrap().take(0).unwrap();
    let waiter = std::thread::spawn(move || vector.wait(Some(60_000_000)));
    let before = Instant::now();
    bar.write32(CLOSE, 1);
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
    assert_eq!(waiter.join().unwrap().unwrap_err().kind, PciErrorKind::Gone);
    assert_eq!(bar.read32(0), u32::MAX, "as from a bus where nobody answers");
    bar.write32(0, 1);
    assert_eq!(function.config_read(0, 4).unwrap_err().kind, PciErrorKind::Gone);
    assert_eq!(function.reset().unwrap_err().kind, PciErrorKind::Gone);
    let error = function.dma().allocate(4096).unwrap_err().to_string();
    assert!(error.contains("the server is gone: it closed the connection"), "{error}");
    drop((region, function, bar));
    server.join();
    assert!(before.elapsed() < AMPLE, "nothing waited for answers that cannot come");
}

#[test]
fn a_server_that_hangs_counts_as_gone() {
    let server = Server::start(instead(RESET, |_| Instead::Silence));
    // Opening has to be answered within it.
    let limit = Duration::from_secs(2);
    let mut function = UserDomain::with_answer_limit(limit).open(&server.path).unwrap();
    let before = Instant::now();
    assert_eq!(function.reset().unwrap_err().kind, PciErrorKind::Gone);
    assert!(before.elapsed() >= limit);
    assert_eq!(function.pending_event(), Some(Event::Gone));
}

#[test]
fn opening_says_what_is_at_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), "").unwrap();
    drop(UnixListener::bind(at("dead")).unwrap());
    let _datagram = std::os::unix::net::UnixDatagram::bind(at("datagram")).unwrap();
    let table = [
        ("missing", "there is nothing at", "start the server first, for example: barewire sim"),
        ("file/below", "there is nothing at", "correct the path"),
        ("file", "is no unix stream socket", "give the path of the socket"),
        ("datagram", "is no unix stream socket", "give the path of the socket"),
        ("dead", "no server listens at", "start the server again"),
        (&"x".repeat(120), "more than a unix socket's may have", "at most 107 bytes"),
    ];
    for (name, cause, remedy) in table {
        let error = UserFunction::open(at(name)).unwrap_err().to_string();
        assert!(error.starts_with("vfio-user:/") && error.contains("connecting to the server: "), "{error}");
        assert!(error.contains(cause) && error.contains(remedy) && error.lines().count() == 1, "{error}");
    }
}

/// A server that listens with a backlog of 0, as libvfio-user does, and the one client that it lets wait.
fn busy_server() -> (tempfile::TempDir, PathBuf, UnixListener, UnixStream) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = UnixStream::connect(&path).unwrap();
    (directory, path, listener, waiting)
}

#[test]
fn a_server_that_takes_no_connection_is_given_up() {
    let (_directory, path, _listener, _waiting) = busy_server();
    let before = Instant::now();
    let opened = soon(move || UserDomain::with_answer_limit(Duration::from_millis(300)).open(&path).map(drop));
    let error = opened.expect("opening ends").unwrap_err();
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert!(matches!(*error.cause, Cause::Server(ServerCause::Silent { limit_ms: 300 })), "{error}");
    let error = error.to_string();
    assert!(error.contains("connecting to the server: the server did not answer within 300 ms") && error.contains("other client first"), "{error}");
}

#[test]
fn a_server_that_is_busy_for_a_while_is_waited_for() {
    let (_directory, path, listener, _waiting) = busy_server();
    let opening = std::thread::spawn(move || UserDomain::with_answer_limit(AMPLE).open(&path).map(drop));
    // The client that waited already, and then the one that is tested: both are sent away.
    (0..2).for_each(|_| drop(listener.accept().unwrap()));
    let error = opening.join().unwrap().unwrap_err();
    assert!(matches!(*error.cause, Cause::Server(ServerCause::NotVfioUser { .. })), "{error}");
}

#[test]
fn a_server_that_speaks_something_else_is_told_from_a_broken_one() {
    let nonsense = |cause| matches!(cause, ServerCause::NotVfioUser { .. });
    assert!(nonsense(refusal(instead(VERSION, |_| Instead::Close))));
    assert!(nonsense(refusal(instead(VERSION, |_| Instead::Raw(b"220 mail.example.org ESMTP\r\n".to_vec())))));
    assert!(nonsense(refusal(instead(VERSION, |_| Instead::Body(b"\0\0\0\0no json".to_vec())))));
    let silence = instead(VERSION, |_| Instead::Silence);
    assert_eq!(refusal_within(Duration::from_millis(300), silence), ServerCause::Silent { limit_ms: 300 });
    assert_eq!(refusal(instead(VERSION, |_| Instead::Body(vec![1, 0, 2, 0]))), ServerCause::Version { major: 1, minor: 2 });
    assert_eq!(refusal(instead(VERSION, |_| Instead::Error(16))), ServerCause::Busy);
    assert_eq!(refusal(instead(VERSION, |_| Instead::Error(22))), ServerCause::Refused { command: "VERSION", errno: 22 });
    let pages = Make { capabilities: "{\"capabilities\":{\"pgsizes\":2097152}}", ..Make::default() };
    assert_eq!(refusal(pages), ServerCause::Pages { page_bytes: 2 << 20 });
    assert_eq!(refusal(Make { device_flags: 1, ..Make::default() }), ServerCause::NotPci);
    assert_eq!(refusal(instead(GET_INFO, |_| Instead::Error(5))), ServerCause::Refused { command: "DEVICE_GET_INFO", errno: 5 });
    assert!(matches!(refusal(instead(GET_INFO, |_| Instead::Body(vec![0; 5]))), ServerCause::Gone { .. }));
    assert!(matches!(refusal(instead(GET_REGION_INFO, |_| Instead::Close)), ServerCause::Gone { .. }));
}

#[test]
fn a_read_answered_in_part_is_no_value() {
    // The count that was asked for with a byte of two; and all bytes with a count of one.
    for (count, data) in [(2, &[0x06][..]), (1, &[0x06, 0])] {
        let server = Server::start(instead(REGION_READ, move |seen| Instead::Body([&seen.body[..12], &words(&[count]), data].concat())));
        let error = UserFunction::open(&server.path).unwrap_err().to_string();
        assert!(error.contains("the server refused REGION_READ"), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_answer_panics_or_hangs(
        at in 0usize..12,
        raw in proptest::prelude::any::<bool>(),
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let mut n = 0;
        let hook = move |_: &Seen| {
            n += 1;
            (n > at).then(|| if raw { Instead::Raw(bytes.clone()) } else { Instead::Body(bytes.clone()) })
        };
        let server = Server::start(Make { areas: vec![(0, 0x1000)], hook: Box::new(hook), ..Make::default() });
        let domain = UserDomain::with_answer_limit(Duration::from_millis(20));
        if let Ok(mut function) = domain.open(&server.path) {
            let _ = open_bar(&mut function, 2).map(|bar| bar.read32(0));
            let _ = function.enable_interrupts(2);
            let _ = function.dma().allocate(4096);
        }
    }
}
