//! Capture files as wires: round trips, files made by hand after the formats' specifications, broken files, full disks.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sim::wire::pcap::{Format, Output, Pcap};
use sim::wire::{Sent, Wire, WireError};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("barewire-pcap-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn with(&self, name: &str, contents: &[u8]) -> PathBuf {
        let file = self.file(name);
        fs::write(&file, contents).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All frames of a file, and what is wrong with it.
fn read(file: &Path) -> Result<(Vec<Vec<u8>>, Option<WireError>), WireError> {
    let mut wire = Pcap::open(Some(file), None)?;
    let (mut frames, mut frame) = (Vec::new(), vec![0xee; 3]);
    while !wire.is_finished() {
        assert!(wire.receive(&mut frame), "not finished, so that a frame is there");
        frames.push(frame.clone());
    }
    assert!(!wire.receive(&mut frame));
    assert_eq!(wire.frames_read(), frames.len() as u64);
    Ok((frames, wire.flush().err()))
}

fn write(file: &Path, frames: &[Vec<u8>]) {
    let mut wire = Pcap::open(None, Some(file)).unwrap();
    for frame in frames {
        assert_eq!(wire.send(frame), Sent::Taken);
    }
    assert_eq!(wire.frames_written(), frames.len() as u64);
    wire.flush().unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn word(self, value: u32) -> [u8; 4] {
        if matches!(self, Self::Big) { value.to_be_bytes() } else { value.to_le_bytes() }
    }
    fn half(self, value: u16) -> [u8; 2] {
        if matches!(self, Self::Big) { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A pcap file by hand (draft-ietf-opsawg-pcap): header, then records of captured bytes and original length.
fn pcap_by_hand(order: Order, magic: u32, link_type: u32, records: &[(&[u8], u32)]) -> Vec<u8> {
    let mut file = order.word(magic).to_vec();
    file.extend([order.half(2), order.half(4)].concat());
    for word in [0, 0, 65535, link_type] {
        file.extend(order.word(word));
    }
    for (data, original) in records {
        for word in [1_700_000_000, 999_999, data.len() as u32, *original] {
            file.extend(order.word(word));
        }
        file.extend(*data);
    }
    file
}

/// A block of a pcapng file by hand (draft-ietf-opsawg-pcapng, section 3.1).
fn block(order: Order, block_type: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = order.word(padded as u32 + 12);
    let padding = vec![0; padded - body.len()];
    [&order.word(block_type)[..], &len, body, &padding, &len].concat()
}

fn section(order: Order) -> Vec<u8> {
    let body = [&order.word(0x1a2b_3c4d)[..], &order.half(1), &order.half(0), &[0xff; 8]].concat();
    block(order, 0x0a0d_0d0a, &body)
}

fn interface(order: Order, link_type: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    block(order, 1, &[&order.half(link_type)[..], &order.half(0), &order.word(snaplen), options].concat())
}

fn enhanced(order: Order, interface: u32, frame: &[u8], options: &[u8]) -> Vec<u8> {
    let len = frame.len() as u32;
    let mut body: Vec<u8> = [interface, 0, 1, len, len].iter().flat_map(|&word| order.word(word)).collect();
    body.extend(frame);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(order, 6, &body)
}

fn frames_of(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().enumerate().map(|(n, &len)| (0..len).map(|i| (i * 7 + n) as u8).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_written_is_read_back(lens in proptest::collection::vec(prop_oneof![14usize..200, 14usize..9017], 0..40), is_ng: bool) {
        let folder = Folder::new(if is_ng { "round-ng" } else { "round" });
        let file = folder.file(if is_ng { "x.pcapng" } else { "x.pcap" });
        let frames = frames_of(&lens);
        write(&file, &frames);
        prop_assert_eq!(read(&file), Ok((frames, None)));
    }

    #[test]
    fn damage_anywhere_gives_the_whole_frames_before_it(at in 0usize..1000, bits in 1u8.., is_ng: bool) {
        let folder = Folder::new(if is_ng { "flip-ng" } else { "flip" });
        let (frames, contents, ends) = small_capture(&folder, is_ng);
        let at = at % contents.len();
        let mut damaged = contents;
        damaged[at] ^= bits;
        let file = folder.with("damaged", &damaged);
        // Frames whose record ends before the damaged byte are unharmed, provided that the file is still known as a capture.
        let unharmed = ends.iter().filter(|end| **end <= at).count();
        match read(&file) {
            Ok((read, _)) => prop_assert_eq!(&read[..unharmed], &frames[..unharmed]),
            Err(error) => prop_assert_eq!(unharmed, 0, "{}", error),
        }
    }
}

/// Five frames, the file that holds them, and where in it each frame's record ends.
fn small_capture(folder: &Folder, is_ng: bool) -> (Vec<Vec<u8>>, Vec<u8>, Vec<usize>) {
    let frames = frames_of(&[14, 60, 61, 63, 100]);
    let file = folder.file(if is_ng { "small.pcapng" } else { "small.pcap" });
    let ends = (1..=frames.len()).map(|n| {
        write(&file, &frames[..n]);
        fs::metadata(&file).unwrap().len() as usize
    });
    let ends = ends.collect();
    let contents = fs::read(&file).unwrap();
    (frames, contents, ends)
}

#[test]
fn a_file_cut_at_any_byte_gives_the_whole_frames_before() {
    for is_ng in [false, true] {
        let folder = Folder::new("cut");
        let (frames, contents, ends) = small_capture(&folder, is_ng);
        let header_bytes = ends[0] - if is_ng { 32 + 16 } else { 16 + 14 };
        for cut in 0..contents.len() {
            let file = folder.with("cut", &contents[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let on_the_seam = cut == header_bytes || ends.contains(&cut);
            match read(&file) {
                Ok((read, error)) => {
                    assert_eq!(read, frames[..whole], "cut at {cut}");
                    let expected = (!on_the_seam).then(|| {
                        format!(
                            "{}: broken after frame {whole}: the file ends in the middle of a record; the frames before were delivered",
                            file.display()
                        )
                    });
                    // In pcapng the interface's description is a block of its own: cut before it, the file is whole and empty.
                    let is_empty_section = is_ng && cut == 28;
                    assert_eq!(error.map(|e| e.to_string()), expected.filter(|_| !is_empty_section), "cut at {cut}");
                }
                Err(error) => {
                    assert!(cut < if is_ng { 28 } else { 24 }, "cut at {cut}: {error}");
                    assert!(error.to_string().contains("not a capture file"), "{error}");
                }
            }
        }
    }
}

#[test]
fn every_kind_of_pcap_is_read() {
    let folder = Folder::new("kinds");
    let frames = frames_of(&[14, 60, 9000]);
    let records: Vec<_> = frames.iter().map(|frame| (&frame[..], frame.len() as u32)).collect();
    for order in [Order::Big, Order::Little] {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
            let file = folder.with("x", &pcap_by_hand(order, magic, 1, &records));
            assert_eq!(read(&file), Ok((frames.clone(), None)), "{order:?} {magic:x}");
        }
    }
}

#[test]
fn every_kind_of_pcapng_packet_block_is_read() {
    let folder = Folder::new("kinds-ng");
    let frames = frames_of(&[61, 62, 63, 66]);
    for order in [Order::Big, Order::Little] {
        // A comment, "ab", without the end-of-options mark, which the format allows.
        let comment = [&order.half(1)[..], &order.half(2), b"ab\0\0"].concat();
        // The obsolete packet block: interface and drop count have 16 bits each.
        let mut old = [order.half(1), order.half(7)].concat();
        old.extend([0, 1, 63, 63].iter().flat_map(|&word| order.word(word)));
        old.extend(&frames[2]);
        // A simple packet block has no captured length: here the snapshot length of interface 0 has cut 100 bytes to 66, 2 bytes pad them.
        let simple = [&order.word(100)[..], &frames[3], &[0xee; 2]].concat();
        let file = [
            section(order),
            interface(order, 1, 66, &[]),
            interface(order, 1, 0, &[]),
            enhanced(order, 0, &frames[0], &comment),
            block(order, 0xbad, b"an unknown block"),
            enhanced(order, 1, &frames[1], &[]),
            block(order, 2, &old),
            block(order, 3, &simple),
        ];
        let file = folder.with("x", &file.concat());
        assert_eq!(read(&file), Ok((frames.clone(), None)), "{order:?}");
    }
}

#[test]
fn sections_of_both_byte_orders_in_one_file() {
    let folder = Folder::new("sections");
    let frames = frames_of(&[60, 70]);
    let part = |order, frame: &[u8]| [section(order), interface(order, 1, 0, &[]), enhanced(order, 0, frame, &[])].concat();
    let file = folder.with("x", &[part(Order::Big, &frames[0]), part(Order::Little, &frames[1])].concat());
    assert_eq!(read(&file), Ok((frames, None)));
}

#[test]
fn frame_check_sequences_are_taken_off() {
    let folder = Folder::new("fcs");
    let frames = frames_of(&[64]);
    let without = vec![frames[0][..60].to_vec()];
    let file = folder.with("x.pcap", &pcap_by_hand(Order::Little, 0xa1b2_c3d4, 0x3400_0001, &[(&frames[0], 64)]));
    assert_eq!(read(&file).unwrap().0[0].len(), 64 - 6, "three 16-bit words");
    // The option if_fcslen (13): one byte, in bits; then the end-of-options mark.
    let order = Order::Little;
    let option = [&order.half(13)[..], &order.half(1), &[32, 0, 0, 0], &[0; 4]].concat();
    let file = [section(order), interface(order, 1, 0, &option), enhanced(order, 0, &frames[0], &[])].concat();
    let file = folder.with("x.pcapng", &file);
    assert_eq!(read(&file), Ok((without, None)));
}

#[test]
fn frames_cut_by_a_snapshot_length_arrive_as_they_are() {
    let folder = Folder::new("snap");
    let file = folder.with("x", &pcap_by_hand(Order::Little, 0xa1b2_c3d4, 1, &[(&[7; 64], 1514)]));
    assert_eq!(read(&file), Ok((vec![vec![7; 64]], None)));
}

#[test]
fn other_links_than_ethernet_are_refused() {
    let folder = Folder::new("link");
    let file = folder.with("x.pcap", &pcap_by_hand(Order::Little, 0xa1b2_c3d4, 101, &[(&[7; 64], 64)]));
    let error = read(&file).unwrap_err().to_string();
    assert!(error.ends_with("after frame 0: link type 101 is not Ethernet (1): give a capture that was taken on an Ethernet interface"), "{error}");
    let order = Order::Little;
    let blocks = [section(order), interface(order, 113, 0, &[]), enhanced(order, 0, &[7; 64], &[])].concat();
    let error = read(&folder.with("x.pcapng", &blocks)).unwrap_err();
    assert!(matches!(error, WireError::LinkType { frames: 0, link_type: 113, .. }), "{error}");
    // Two of four frames come from such an interface: the others are delivered.
    let mixed = [0u32, 1, 1, 0].map(|from| enhanced(order, from, &[from as u8; 60], &[]));
    let mixed = [section(order), interface(order, 1, 0, &[]), interface(order, 113, 0, &[]), mixed.concat()].concat();
    let (frames, error) = read(&folder.with("y.pcapng", &mixed)).unwrap();
    assert_eq!(frames, [[0; 60]; 2]);
    let error = error.unwrap();
    assert!(matches!(error, WireError::LinkType { frames: 1, link_type: 113, skipped: 2, .. }), "{error}");
    assert!(error.to_string().contains("2 frame(s) of other links left out, the first after frame 1: link type 113"), "{error}");
}

#[test]
fn frames_that_no_ethernet_wire_carries_are_left_out_and_told() {
    let folder = Folder::new("size");
    let (short, good, long) = (vec![1; 13], vec![2; 60], vec![3; 16 * 1024 + 1]);
    let records = [&short, &good, &long, &good].map(|frame| (&frame[..], frame.len() as u32));
    let file = folder.with("x", &pcap_by_hand(Order::Little, 0xa1b2_c3d4, 1, &records));
    let (frames, error) = read(&file).unwrap();
    assert_eq!(frames, [good.clone(), good]);
    assert_eq!(error, Some(WireError::FrameSize { file, record: 1, len: 13, skipped: 2 }));
}

#[test]
fn impossible_lengths_are_damage() {
    let folder = Folder::new("lengths");
    let huge = pcap_by_hand(Order::Little, 0xa1b2_c3d4, 1, &[(&[2; 60], 60), (&vec![0; 300_000], 300_000)]);
    let (frames, error) = read(&folder.with("huge", &huge)).unwrap();
    assert_eq!(frames.len(), 1);
    assert!(error.unwrap().to_string().contains("broken after frame 1: a record claims 300000 bytes, more than any capture holds"));
    let order = Order::Little;
    let undescribed = [section(order), interface(order, 1, 0, &[]), enhanced(order, 1, &[7; 64], &[])].concat();
    let (frames, error) = read(&folder.with("undescribed", &undescribed)).unwrap();
    assert!(frames.is_empty());
    assert!(error.unwrap().to_string().contains("a packet names interface 1, which is not described before"));
    let stub = [section(order), interface(order, 1, 0, &[]), block(order, 6, &[0; 8])].concat();
    let (_, error) = read(&folder.with("stub", &stub)).unwrap();
    assert!(error.unwrap().to_string().contains("shorter than its own header"));
}

#[test]
fn files_that_are_no_captures() {
    let folder = Folder::new("not");
    let told = |contents: &[u8]| read(&folder.with("x", contents)).unwrap_err().to_string();
    assert!(told(b"").contains("not a capture file (it has fewer than 4 bytes): give a file in pcap or pcapng format"));
    assert!(told(b"text").contains("not a capture file (it begins with 74 65 78 74)"));
    assert!(told(&[0x1f, 0x8b, 8, 0]).contains("gunzip it first"));
    assert!(told(&[0x28, 0xb5, 0x2f, 0xfd]).contains("unzstd it first"));
    let missing = read(&folder.file("missing.pcap")).unwrap_err().to_string();
    assert!(missing.contains("missing.pcap: cannot open the capture file: No such file"), "{missing}");
}

#[test]
fn outputs_that_cannot_be_made() {
    let folder = Folder::new("out");
    let told = |file: &Path| Pcap::open(None, Some(file)).unwrap_err().to_string();
    assert!(told(&folder.file("x.txt")).ends_with("x.txt: a capture file to write must be named *.pcap or *.pcapng"));
    assert!(told(&folder.file("no/such/x.pcap")).contains("cannot make the capture file: No such file"));
}

#[test]
fn a_file_in_use_is_not_overwritten() {
    let folder = Folder::new("lock");
    let file = folder.file("x.pcap");
    write(&file, &frames_of(&[60, 70]));
    let input = Pcap::open(Some(&file), None).unwrap();
    let error = Pcap::open(None, Some(&file)).unwrap_err().to_string();
    assert!(error.contains("another wire is reading or writing it"), "{error}");
    assert!(Pcap::open(Some(&file), Some(&file)).is_err());
    let _second_reader = Pcap::open(Some(&file), None).unwrap();
    drop(input);
    assert_eq!(read(&file).unwrap().0.len(), 2, "still whole");
    drop(_second_reader);
    let _output = Pcap::open(None, Some(&file)).unwrap();
    let error = Pcap::open(Some(&file), None).unwrap_err().to_string();
    assert!(error.contains("another wire is writing it"), "{error}");
}

#[test]
fn a_wrong_input_costs_no_output() {
    let folder = Folder::new("order");
    let out = folder.file("out.pcap");
    write(&out, &frames_of(&[60]));
    assert!(Pcap::open(Some(&folder.with("in", b"nonsense")), Some(&out)).is_err());
    assert_eq!(read(&out).unwrap().0.len(), 1);
}

#[test]
fn an_older_longer_output_is_overwritten() {
    let folder = Folder::new("over");
    let file = folder.file("x.pcap");
    write(&file, &frames_of(&[9000, 9000]));
    write(&file, &frames_of(&[60]));
    assert_eq!(read(&file), Ok((frames_of(&[60]), None)));
}

#[test]
fn input_and_output_at_once() {
    let folder = Folder::new("both");
    let (input, output) = (folder.file("in.pcapng"), folder.file("out.pcap"));
    let frames = frames_of(&[60, 9000, 14]);
    write(&input, &frames);
    let mut wire = Pcap::open(Some(&input), Some(&output)).unwrap();
    assert!(wire.is_lossless());
    let mut frame = Vec::new();
    while wire.receive(&mut frame) {
        assert_eq!(wire.send(&frame), Sent::Taken);
    }
    drop(wire);
    assert_eq!(read(&output), Ok((frames, None)), "dropping writes it out");
}

#[test]
fn an_output_alone_receives_nothing_and_is_finished() {
    let folder = Folder::new("alone");
    let mut wire = Pcap::open(None, Some(&folder.file("x.pcap"))).unwrap();
    assert!(wire.is_finished() && !wire.receive(&mut Vec::new()));
}

#[test]
fn a_full_disk_is_reported() {
    let folder = Folder::new("full");
    for name in ["full.pcap", "full.pcapng"] {
        let file = folder.file(name);
        std::os::unix::fs::symlink("/dev/full", &file).unwrap();
        let mut wire = Pcap::open(None, Some(&file)).unwrap();
        assert_eq!(wire.flush().unwrap_err(), wire.error().unwrap().clone());
        let told = wire.flush().unwrap_err().to_string();
        assert!(told.contains(&format!("{name}: cannot write the capture file: No space left on device")), "{told}");
        assert_eq!(wire.send(&[0; 60]), Sent::Taken, "the card goes on");
        assert_eq!(wire.frames_written(), 0);
    }
    // Frames fill the buffer of 256 KiB, and nothing else does: none is whole, and which are is said.
    let file = folder.file("later.pcap");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut output = Output::create(&file, Format::Pcap).unwrap();
    while output.error().is_none() {
        assert!(output.written() < 100_000, "an error within the first megabytes");
        output.write(&[0; 1000]);
    }
    assert_eq!(output.whole(), 0);
    assert!(output.error().unwrap().to_string().contains("its first 0 frames are whole"), "{:?}", output.error());
}

#[test]
fn what_was_written_out_is_whole() {
    let folder = Folder::new("whole");
    let mut output = Output::create(&folder.file("whole.pcapng"), Format::PcapNg).unwrap();
    for _ in 0..1000 {
        output.write(&[0; 1000]);
    }
    let (whole, bytes) = (output.whole(), std::fs::metadata(folder.file("whole.pcapng")).unwrap().len());
    // A record takes 1032 bytes, and the file's head less than 100.
    assert!(whole > 0 && whole * 1032 <= bytes && bytes < (whole + 1) * 1032 + 100, "{whole} frames in {bytes} bytes");
    output.flush();
    assert_eq!(output.whole(), 1000);
}
