//! A vfio-user server whose own commands come over a second socket (`twin_socket`).

mod server;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use driver_core::host::{PciErrorKind, PciFunction, RegSpace};
use server::*;
use vfio::{Event, UserDomain, UserFunction};

fn open() -> (UserFunction, Server) {
    let server = Server::start(Make { has_twin: true, ..Make::default() });
    let function = UserFunction::open(&server.path).unwrap();
    assert!(server.twin.lock().unwrap().is_some());
    (function, server)
}

/// The server's end, for the test to speak in the server's place.
fn twin(server: &Server) -> UnixStream {
    let twin = server.twin.lock().unwrap().as_ref().unwrap().try_clone().unwrap();
    twin.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    twin
}

/// The libvfio-user library takes whatever comes next on the socket of its question for the answer.
#[test]
fn no_command_comes_between_a_request_and_its_answer() {
    let (mut function, server) = open();
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(4096).unwrap();
    // SAFETY: the region is ours, and the device has not been asked yet.
    unsafe { region.ptr().as_ptr().write_bytes(0x0f, 16) };
    for n in 0..100 {
        bar.write64(COPY, region.iova().0);
        bar.write32(0x20, n);
        assert_eq!((bar.read64(COPY), bar.read32(0x20)), (0, n));
    }
    // SAFETY: the device is done, as its register says.
    let bytes = unsafe { std::slice::from_raw_parts(region.ptr().as_ptr(), 48) };
    assert_eq!((&bytes[..16], &bytes[16..32], &bytes[32..]), (&[0x0f; 16][..], &[0xf0; 16][..], &[0; 16][..]));
    bar.write64(COPY, region.iova().0 + 4090);
    assert_eq!(bar.read64(COPY), 14, "EFAULT");
    drop((function, bar, region));
    assert!(server.join().iter().all(|seen| seen.flags & 1 == 0), "no answer came over the first socket");
}

/// How many bytes of posted writes the system keeps for a socket from which nobody reads.
fn backlog_bytes() -> u32 {
    let (mut end, _other) = UnixStream::pair().unwrap();
    end.set_nonblocking(true).unwrap();
    let mut bytes = 0;
    while let Ok(36) = end.write(&[0; 36]) {
        bytes += 36;
    }
    bytes
}

#[test]
fn requests_are_answered_while_the_first_socket_is_full() {
    let (mut function, server) = open();
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(4096).unwrap();
    let backlog = backlog_bytes();
    bar.write32(BACKLOG, backlog);
    bar.write64(COPY, region.iova().0);
    // From here on the server reads nothing: a full socket from which something is read stays so for a while.
    let until = Instant::now() + Duration::from_secs(30);
    while !server.seen(REGION_WRITE).iter().any(|write| u64_at(&write.body, 0) == u64::from(COPY)) {
        assert!(Instant::now() < until, "the server does not take the command");
        std::thread::yield_now();
    }
    // The last ones wait for room, which comes when the device is done with what it asked for.
    (0..backlog / 36 + 100).for_each(|n| bar.write32(0x20, n));
    assert_eq!((bar.read64(COPY), bar.read32(0x20)), (0, backlog / 36 + 99), "{:?}", function.pending_event());
}

#[test]
fn what_is_written_to_memory_is_there_before_a_later_reply() {
    let (mut function, _server) = open();
    let bar = open_bar(&mut function, 0).unwrap();
    let region = function.dma().allocate(4096).unwrap();
    for n in 1..2000 {
        bar.write32(POST, n);
        assert_eq!(bar.read32(POST), n);
        // SAFETY: the region is ours, and the device does nothing more.
        assert_eq!(unsafe { region.ptr().as_ptr().cast::<u32>().read_volatile() }, n);
    }
}

#[test]
fn requests_are_answered_while_nothing_else_goes_on() {
    let (function, server) = open();
    let region = function.dma().allocate(4096).unwrap();
    let mut twin = twin(&server);
    let access = [region.iova().0.to_le_bytes(), 8u64.to_le_bytes()].concat();
    let mut answer = [0; 40];
    for id in [0, 1, 0xffff] {
        twin.write_all(&message(id, DMA_READ, 0, 0, &access)).unwrap();
        twin.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *message(id, DMA_READ, 1, 0, &[&access[..], &[0; 8]].concat()));
    }
    twin.write_all(&message(3, REGION_READ, 0, 0, &access)).unwrap();
    twin.read_exact(&mut answer[..16]).unwrap();
    assert_eq!(answer[..16], *message(3, REGION_READ, 0x21, 38, &[]), "ENOSYS");
}

#[test]
fn both_sockets_end_together() {
    let (function, server) = open();
    let mut twin_end = twin(&server);
    drop(function);
    assert_eq!(twin_end.read(&mut [0]).unwrap(), 0, "the client closed it");
    server.join();

    let (function, server) = open();
    drop(server.twin.lock().unwrap().take());
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
    assert_eq!(function.config_read(0, 4).unwrap_err().kind, PciErrorKind::Gone);
    server.join();

    let (mut function, server) = open();
    open_bar(&mut function, 0).unwrap().write32(CLOSE, 1);
    assert_eq!(function.events().wait(Some(30_000_000)), Ok(Some(Event::Gone)));
    assert_eq!(twin(&server).read(&mut [0]).unwrap(), 0);
}

#[test]
fn an_offer_that_makes_no_sense_is_told_at_open() {
    let stream = || UnixStream::pair().unwrap().0.into();
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    let table: [(&str, Vec<OwnedFd>, &str); 6] = [
        ("\"supported\":true", vec![stream()], "it has no fd_index"),
        ("\"supported\":true,\"fd_index\":1", vec![stream()], "its fd_index is 1, and the reply brings 1 descriptors"),
        ("\"supported\":true,\"fd_index\":0", vec![], "its fd_index is 0, and the reply brings 0 descriptors"),
        ("\"supported\":true,\"fd_index\":1", vec![stream(), null()], "descriptor 1 of the reply is no stream socket"),
        ("\"supported\":true,\"fd_index\":0", vec![UnixDatagram::unbound().unwrap().into()], "descriptor 0 of the reply is no stream socket"),
        ("\"supported\":\"yes\"", vec![stream()], "neither true nor false"),
    ];
    for (twin, fds, wrong) in table {
        let body = [&[0; 4], format!("{{\"capabilities\":{{\"twin_socket\":{{{twin}}}}}}}\0").as_bytes()].concat();
        let mut reply = Some(Instead::With(body, fds));
        let server = Server::start(Make { hook: Box::new(move |_| reply.take()), ..Make::default() });
        let error = UserFunction::open(&server.path).unwrap_err().to_string();
        let begin = "agreeing on the protocol: the server announces a second socket (twin_socket) that cannot be used: ";
        assert!(error.starts_with("vfio-user:/") && error.contains(begin) && error.lines().count() == 1, "{error}");
        assert!(error.contains(wrong) && error.contains("update the server, or report it to who makes it"), "{error}");
        assert_eq!(server.join().len(), 1, "the connection is closed");
    }
}

#[test]
fn a_server_that_declines_is_served_over_one_socket() {
    for twin in ["{}", "null", "{\"supported\":false}", "{\"supported\":false,\"fd_index\":7}"] {
        let body = [&[0; 4], format!("{{\"capabilities\":{{\"twin_socket\":{twin}}}}}\0").as_bytes()].concat();
        let mut reply = Some(Instead::Body(body));
        let server = Server::start(Make { hook: Box::new(move |_| reply.take()), ..Make::default() });
        let mut function = UserFunction::open(&server.path).unwrap();
        let (bar, region) = (open_bar(&mut function, 0).unwrap(), function.dma().allocate(4096).unwrap());
        bar.write64(COPY, region.iova().0);
        assert_eq!(bar.read64(COPY), 0, "{twin}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_request_panics_or_hangs(
        command in proptest::prelude::any::<u16>(), flags in 0u32..64,
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        cut in 0usize..80,
    ) {
        let server = Server::start(Make { has_twin: true, ..Make::default() });
        if let Ok(mut function) = UserDomain::with_answer_limit(Duration::from_millis(20)).open(&server.path) {
            let sent = message(1, command, flags, 0, &body);
            twin(&server).write_all(&sent[..cut.min(sent.len())]).unwrap();
            let _ = open_bar(&mut function, 0).map(|bar| bar.read32(0));
            let _ = function.dma().allocate(4096);
        }
        server.join();
    }
}
