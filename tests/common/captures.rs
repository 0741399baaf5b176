//! Capture files for the tests, written and read by the library alone.
#![allow(dead_code, reason = "each test uses a part")]

use std::borrow::Cow;
use std::fs::File;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};

/// Writes a capture in the format that the file's name ends in.
pub(crate) fn write(file: &str, frames: &[Vec<u8>]) {
    let time = |index: usize| Duration::from_millis(index as u64);
    let opened = File::create(file).unwrap();
    if file.ends_with(".pcapng") {
        let mut writer = PcapNgWriter::new(opened).unwrap();
        writer.write_pcapng_block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: Vec::new() }).unwrap();
        for (index, frame) in frames.iter().enumerate() {
            let (original_len, data) = (frame.len() as u32, Cow::Borrowed(frame.as_slice()));
            let block = EnhancedPacketBlock { interface_id: 0, timestamp: time(index), original_len, data, options: Vec::new() };
            writer.write_pcapng_block(block).unwrap();
        }
    } else {
        let mut writer = PcapWriter::new(opened).unwrap();
        for (index, frame) in frames.iter().enumerate() {
            writer.write_packet(&PcapPacket::new(time(index), frame.len() as u32, frame)).unwrap();
        }
    }
}

/// The frames of a capture.
pub(crate) fn read(file: &str) -> Vec<Vec<u8>> {
    let opened = File::open(file).unwrap();
    let mut frames = Vec::new();
    if file.ends_with(".pcapng") {
        let mut reader = PcapNgReader::new(opened).unwrap();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                assert_eq!(packet.original_len as usize, packet.data.len());
                frames.push(packet.data.into_owned());
            }
        }
    } else {
        let mut reader = PcapReader::new(opened).unwrap();
        while let Some(packet) = reader.next_packet() {
            frames.push(packet.unwrap().data.into_owned());
        }
    }
    frames
}

/// When each frame of a pcapng file was written, to the nanosecond, as [`read`] finds them.
pub(crate) fn times(file: &str) -> Vec<Duration> {
    let mut reader = PcapNgReader::new(File::open(file).unwrap()).unwrap();
    let mut times = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            times.push(packet.timestamp);
        }
    }
    times
}

/// Frames of 14 bytes to 9 KB: every length near the borders of padding and of receive buffers, and others between them.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let borders = [14, 15, 59, 60, 61, 63, 64, 65, 1513, 1514, 1515, 2047, 2048, 2049, 4095, 4096, 4097, 8192, 9000, 9014];
    let lengths = borders.into_iter().chain((14..9014).step_by(37));
    lengths.enumerate().map(|(index, len)| frame(len, index as u32)).collect()
}

/// A frame of `len` bytes that no other number makes.
pub(crate) fn frame(len: usize, number: u32) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    let mut state = number.wrapping_mul(0x9e37_79b9) | 1;
    let bytes = std::iter::repeat_with(|| {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    addresses.into_iter().chain(bytes).take(len).collect()
}

/// A frame as it is on a wire: padded to 60 bytes.
pub(crate) fn padded(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(60), 0);
    frame
}
