//! Reading a BPF ring buffer (`kernel/bpf/ringbuf.c`, 5.8).
//!
//! The kernel shares three things: the consumer's position (we write it), the
//! producers' position, and the data, mapped twice in a row so that a record that
//! wraps is in one piece. Positions only grow; the data's size is a power of two.
//! A record is a header of 8 bytes, the first four of which hold its length and two flags,
//! then its bytes, rounded up to 8.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use isa::uapi::map_type;

use crate::error::Error;
use crate::map::Map;
use crate::mapping::Mapping;
use crate::sys;

/// Being written (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// Thrown away by its producer (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
const HEADER_BYTES: u64 = 8;

/// The one consumer of a ring buffer map.
#[derive(Debug)]
pub struct Ring {
    fd: OwnedFd,
    consumer: Mapping,
    /// The producers' page, then the data twice.
    producer: Mapping,
    data_offset: usize,
    size: u64,
}

impl Ring {
    /// Maps a ring buffer. There must be one consumer only.
    pub fn new(map: &Map) -> Result<Ring, Error> {
        let asked = || format!("read ring buffer '{}'", map.name());
        if map.map_type() != map_type::RINGBUF || !map.max_entries().is_power_of_two() {
            return Err(Error::refused(asked(), "it is not a ring buffer"));
        }
        let (page, size) = (sys::page_size(), map.max_entries() as usize);
        let consumer = Mapping::new(map.as_fd(), 0, page, true).map_err(|errno| Error::system(asked(), errno))?;
        let producer =
            Mapping::new(map.as_fd(), page, page + 2 * size, false).map_err(|errno| Error::system(asked(), errno))?;
        let fd = map.as_fd().try_clone_to_owned().map_err(|error| Error::io(asked(), &error))?;
        Ok(Ring { fd, consumer, producer, data_offset: page, size: size as u64 })
    }

    /// Bytes that wait to be read, records being written included.
    pub fn pending_bytes(&self) -> u64 {
        match (self.consumer.u64_at(0), self.producer.u64_at(0)) {
            (Some(consumer), Some(producer)) => {
                producer.load(Ordering::Acquire).saturating_sub(consumer.load(Ordering::Relaxed))
            }
            _ => 0,
        }
    }

    /// Hands over the records that wait, in order, at most `most`; returns how many
    /// there were. `handle` returns false to stop after that record. A record's bytes are the
    /// ring's own memory, without a copy, and are given back to producers after `handle`.
    ///
    /// Ends early at a record that is still being written. Space is given back
    /// in steps of a sixteenth of the ring: a store for every record would bounce the cache line
    /// that all producers read.
    pub fn drain(&mut self, most: usize, mut handle: impl FnMut(&[u8]) -> bool) -> usize {
        let (Some(consumer), Some(producer)) = (self.consumer.u64_at(0), self.producer.u64_at(0)) else {
            return 0;
        };
        let step = self.size / 16;
        let mask = self.size - 1;
        let mut position = consumer.load(Ordering::Relaxed);
        let mut given_back = position;
        let mut count = 0;
        let mut wanted = true;
        while wanted && count < most {
            let end = producer.load(Ordering::Acquire);
            if position >= end {
                // A producer that commits now wakes us only if it sees that we have read all
                // before it: so the position must be out before the last look.
                if given_back == position {
                    break;
                }
                consumer.store(position, Ordering::Release);
                given_back = position;
                fence(Ordering::SeqCst);
                continue;
            }
            let at = self.data_offset + (position & mask) as usize;
            let Some(header) = self.producer.u32_at(at) else { break };
            let header = header.load(Ordering::Acquire);
            if header & BUSY != 0 {
                if given_back == position {
                    break;
                }
                consumer.store(position, Ordering::Release);
                given_back = position;
                fence(Ordering::SeqCst);
                continue;
            }
            let len = header & !(BUSY | DISCARDED);
            let start = at + HEADER_BYTES as usize;
            // A length beyond the ring can only come from memory gone bad.
            let Some(record) = self.producer.address(start, len as usize) else { break };
            position += (HEADER_BYTES + u64::from(len)).next_multiple_of(8);
            if header & DISCARDED == 0 {
                // SAFETY: `len` bytes inside the mapping (`address` checked that), committed by
                // their producer (acquired above), which will not write to them again until
                // `consumer` moves past them, which it does only after `handle` has returned.
                wanted = handle(unsafe { std::slice::from_raw_parts(record.as_ptr(), len as usize) });
                count += 1;
            }
            if position - given_back >= step {
                consumer.store(position, Ordering::Release);
                given_back = position;
            }
        }
        if given_back != position {
            consumer.store(position, Ordering::Release);
        }
        count
    }
}

/// Polls readable when records wait.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
