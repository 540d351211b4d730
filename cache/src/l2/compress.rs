//! Large values take less room.

use bytes::Bytes;

/// Whether values are compressed on their way to the second level. What was written with any of these is read with all of them, if its feature is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    Off,
    /// LZ4, if the value takes more bytes than `over`; and kept only if it got smaller. A few microseconds for 64 KiB.
    #[cfg(feature = "lz4")]
    Lz4 {
        /// Smaller values stay as they are.
        over: usize,
    },
    /// Zstandard, the same way: slower, and smaller.
    #[cfg(feature = "zstd")]
    Zstd {
        /// Smaller values stay as they are.
        over: usize,
        /// From 1, quick, to 22, small.
        level: i32,
    },
}

/// How a payload is kept: a number in its frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Packing {
    Plain = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl Packing {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Plain, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|packing| *packing as u8 == number)
    }
}

impl Compression {
    pub(super) fn pack(self, payload: Bytes) -> (Packing, Bytes) {
        let packed: Option<(Packing, Vec<u8>)> = match self {
            Self::Off => None,
            #[cfg(feature = "lz4")]
            Self::Lz4 { over } => {
                (payload.len() > over).then(|| (Packing::Lz4, lz4_flex::block::compress(&payload)))
            }
            #[cfg(feature = "zstd")]
            Self::Zstd { over, level } if payload.len() > over => {
                let packed = zstd::bulk::compress(&payload, level).ok();
                packed.map(|packed| (Packing::Zstd, packed))
            }
            #[cfg(feature = "zstd")]
            Self::Zstd { .. } => None,
        };
        match packed {
            Some((packing, packed)) if packed.len() < payload.len() => (packing, packed.into()),
            _ => (Packing::Plain, payload),
        }
    }
}

/// `None` if it is not `length` bytes, or packed in a way that no feature here knows.
pub(super) fn unpack(packing: Packing, packed: Bytes, length: usize) -> Option<Bytes> {
    let unpacked: Bytes = match packing {
        Packing::Plain => packed,
        #[cfg(feature = "lz4")]
        Packing::Lz4 => {
            // No block grows by more than that: what claims to is not ours, and gets no memory.
            if length / 255 > packed.len() {
                return None;
            }
            lz4_flex::block::decompress(&packed, length).ok()?.into()
        }
        #[cfg(feature = "zstd")]
        Packing::Zstd => {
            // As above: a block is of at most 128 KiB, and takes at least four bytes.
            if (length >> 17) * 4 > packed.len() {
                return None;
            }
            zstd::bulk::decompress(&packed, length).ok()?.into()
        }
        #[cfg(not(all(feature = "lz4", feature = "zstd")))]
        _ => return None,
    };
    (unpacked.len() == length).then_some(unpacked)
}
