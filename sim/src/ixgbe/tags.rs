//! VLAN tags: what names them, and where they lie (7.4).

/// A tag, in bytes.
pub(super) const TAG_BYTES: usize = 4;
/// Where the first tag of a frame lies: behind its addresses.
const FIRST_AT: usize = 12;
/// Where the tag behind an outer one lies.
const SECOND_AT: usize = FIRST_AT + TAG_BYTES;

/// The EtherTypes of tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagTypes {
    /// VLNCTRL.VET: of the tag that is filtered and stripped.
    pub inner: u16,
    /// EXVET: of the one before it, which every frame has.
    pub outer: Option<u16>,
}

/// Where the tag lies that is inserted and stripped.
pub(super) const fn tag_at(has_outer: bool) -> usize {
    if has_outer { SECOND_AT } else { FIRST_AT }
}

/// Whether the frame begins with a tag of this type.
pub(super) fn begins_with_tag(frame: &[u8], kind: u16) -> bool {
    frame.get(FIRST_AT..FIRST_AT + 2) == Some(&kind.to_be_bytes())
}
