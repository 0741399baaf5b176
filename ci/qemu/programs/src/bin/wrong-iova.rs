//! Gives a virtio network card the address of a frame in memory that was unmapped, and then, after a reset, the address
//! of a frame in memory that is mapped. Whoever looks at the wire must see the second frame only, and the kernel log
//! must have a fault at the first address.
//!
//!     wrong-iova ADDRESS [iommufd | group]
//!
//! Speaks to the card by hand, one transmit queue and one frame, so that no driver can mend what is to go wrong.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use driver_core::barrier;
use driver_core::host::{Bar, DmaRegion, Interrupt, Iova, PciFunction};
use vfio::{VfioFunction, Way};

#[path = "../virtio.rs"]
mod virtio;

use virtio::{Card, QUEUE_SIZE};

/// virtio_net_hdr with num_buffers, as it is with VIRTIO_F_VERSION_1 (virtio 1.2, section 5.1.6): all zero, no offload asked for.
const HEADER_BYTES: usize = 12;
const SECOND_US: u64 = 1_000_000;
const FRAME_BYTES: usize = 60;
/// Destination, source, EtherType (IEEE Std 802, local experimental 1).
const ETHERNET: &[u8; 14] = b"\xff\xff\xff\xff\xff\xff\x52\x54\x00\x12\x00\x03\x88\xb5";
const SECRET: &[u8] = b"of an address that is not mapped";
const PUBLIC: &[u8] = b"of an address that is mapped";
/// Where the parts of the queue lie in the region: descriptors, the driver's ring, the device's ring, the frame.
const DRIVER_AT: u64 = 0x1000;
const DEVICE_AT: u64 = 0x2000;
const FRAME_AT: u64 = 0x3000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wrong-iova: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = arguments.first().ok_or("usage: wrong-iova ADDRESS [iommufd | group]")?.parse()?;
    let way = match arguments.get(1).map(String::as_str) {
        None => None,
        Some("iommufd") => Some(Way::Iommufd),
        Some("group") => Some(Way::Group),
        Some(other) => return Err(format!("{other} is no way in: iommufd or group").into()),
    };
    let mut function = VfioFunction::open(address, way)?;
    println!("{address} by {}", function.domain().way());
    let region = function.dma().allocate(0x4000)?;
    // SAFETY: the card is told of memory that this program holds, and looks into by pointers alone, and of addresses where nothing is mapped.
    unsafe { function.allow_dma() }?;
    let mut vector = function.enable_interrupts(1)?.take(0).ok_or("no interrupt vector, and no error")?;
    let mut card = Card::find(&mut function)?;

    let gone = function.dma().allocate(0x1000)?;
    write_frame(&gone, 0, SECRET);
    let unmapped = gone.iova();
    drop(gone);
    let outcome = send(&mut card, &mut vector, &region, unmapped)?;
    println!("from {unmapped:#x}, which is not mapped any more: {outcome}");

    let mapped = region.iova().offset(FRAME_AT);
    let outcome = send(&mut card, &mut vector, &region, mapped)?;
    println!("from {mapped:#x}, after a reset: {outcome}");
    if (outcome.fired, outcome.used) != (1, 1) {
        return Err("the card does not send from a mapped address after a reset".into());
    }
    card.reset()?;
    Ok(())
}

/// What came of one frame within a second.
struct Outcome {
    /// How often the queue's interrupt fired.
    fired: u64,
    /// How many frames the device's ring says are done.
    used: u16,
    /// The device status.
    status: u8,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} done, {} interrupts, device status {:#04x}", self.used, self.fired, self.status)
    }
}

/// Resets the card, sets its transmit queue up in the region, gives it one frame at `frame`, and waits for the interrupt.
fn send<B: Bar, I: Interrupt>(card: &mut Card<B>, vector: &mut I, region: &DmaRegion, frame: Iova) -> Result<Outcome, Box<dyn Error>> {
    card.reset()?;
    clear(region);
    let base = region.iova();
    card.start_transmit_queue(base, base.offset(DRIVER_AT), base.offset(DEVICE_AT))?;

    let length = (HEADER_BYTES + FRAME_BYTES) as u32;
    write_frame(region, FRAME_AT as usize, PUBLIC);
    // Descriptor 0: address, length, flags, next (virtio 1.2, section 2.7.5).
    put(region, 0, &frame.0.to_le_bytes());
    put(region, 8, &length.to_le_bytes());
    // The driver's ring: flags, index, ring[0] = descriptor 0 (section 2.7.6).
    put(region, DRIVER_AT as usize + 4, &0u16.to_le_bytes());
    put(region, DRIVER_AT as usize + 2, &1u16.to_le_bytes());
    barrier::before_doorbell();
    card.notify_transmit();

    let fired = vector.wait(Some(SECOND_US))?;
    // The device's ring: flags, index (section 2.7.8).
    let used = take_u16(region, DEVICE_AT as usize + 2);
    Ok(Outcome { fired, used, status: card.status() })
}

/// Writes a header, and a frame with this payload, to the region.
fn write_frame(region: &DmaRegion, offset: usize, payload: &[u8]) {
    put(region, offset, &[0; HEADER_BYTES]);
    put(region, offset + HEADER_BYTES, ETHERNET);
    put(region, offset + HEADER_BYTES + ETHERNET.len(), payload);
}

fn clear(region: &DmaRegion) {
    const { assert!(QUEUE_SIZE as usize * 16 <= DRIVER_AT as usize) };
    put(region, 0, &[0; 0x4000]);
}

fn put(region: &DmaRegion, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= region.len_bytes());
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: offset and length lie inside the region, which is mapped while it lives; the access is volatile, since a device may look on.
        unsafe { region.ptr().as_ptr().add(offset + at).write_volatile(*byte) };
    }
}

fn take_u16(region: &DmaRegion, offset: usize) -> u16 {
    assert!(offset + 2 <= region.len_bytes() && offset.is_multiple_of(2));
    // SAFETY: the two bytes lie inside the region and are aligned; the access is volatile, since a device may write them.
    u16::from_le(unsafe { region.ptr().as_ptr().add(offset).cast::<u16>().read_volatile() })
}
