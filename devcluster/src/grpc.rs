//! gRPC's framing of messages: a byte that says compressed or not, four of length, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Statuses of the gRPC specification that are used here.
pub(crate) const OK: u32 = 0;
pub(crate) const UNKNOWN: u32 = 2;
pub(crate) const UNIMPLEMENTED: u32 = 12;
pub(crate) const UNAVAILABLE: u32 = 14;

pub(crate) const CONTENT_TYPE: &str = "application/grpc";
pub(crate) const STATUS: &str = "grpc-status";
pub(crate) const MESSAGE: &str = "grpc-message";

const HEADER: usize = 5;
/// gRPC's usual limit of a received message.
const LONGEST: usize = 4 * 1024 * 1024;

/// The bytes are no sequence of gRPC messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Nobody asked for compression.
    #[error("the peer sent a compressed gRPC message: switch its compression off")]
    Compressed,
    /// Longer than 4 MiB.
    #[error("the peer announced a gRPC message of {0} bytes, above the limit of {LONGEST}")]
    TooLong(usize),
}

/// A message with its frame; one of 4 GiB or more is cut, as no frame can tell its length.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = BytesMut::with_capacity(HEADER + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put(message.take(length as usize));
    frame.freeze()
}

/// Finds messages in bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; none until more bytes are pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        let Some((&[compressed, ref length @ ..], _)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(FramingError::Compressed);
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST {
            return Err(FramingError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for size in 1..=bytes.len() {
            let mut deframer = Deframer::default();
            let mut messages = Vec::new();
            for piece in bytes.chunks(size) {
                deframer.push(piece);
                while let Some(message) = deframer.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, ["one", "", "three"], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let mut deframer = Deframer::default();
        deframer.push(&[1, 0, 0, 0, 0]);
        assert_eq!(deframer.next(), Err(FramingError::Compressed));
        let mut deframer = Deframer::default();
        deframer.push(&[0, 0x7f, 0, 0, 0]);
        assert_eq!(deframer.next(), Err(FramingError::TooLong(0x7f00_0000)));
    }
}
