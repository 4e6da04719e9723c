//! A text that is put together: a line for the user, a path, a name.

use core::ffi::CStr;

/// Longer than any path that the kernel takes, and than a line with one in it.
pub(crate) const MOST: usize = 5120;

/// At most so many bytes, with a NUL behind them; what does not fit is cut.
#[repr(C)] // what is small is near
pub(crate) struct Buffer {
    length: usize,
    bytes: [u8; MOST],
}

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self { length: 0, bytes: [0; MOST] }
    }

    pub(crate) fn put(&mut self, byte: u8) {
        if let Some([place, end, ..]) = self.bytes.get_mut(self.length..) {
            (*place, *end) = (byte, 0);
            self.length += 1;
        }
    }

    pub(crate) fn add(&mut self, piece: &[u8]) -> &mut Self {
        piece.iter().for_each(|byte| self.put(*byte));
        self
    }

    pub(crate) fn add_number(&mut self, number: u32) -> &mut Self {
        if number > 9 {
            self.add_number(number / 10);
        }
        self.put(b'0' + (number % 10) as u8);
        self
    }

    pub(crate) fn cut(&mut self, length: usize) {
        self.length = self.length.min(length);
        if let Some(end) = self.bytes.get_mut(self.length) {
            *end = 0;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: it is never longer than there is room.
        unsafe { self.bytes.get_unchecked(..self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.bytes.get_unchecked_mut(..self.length) }
    }

    /// Lets somebody write so many bytes, and a NUL.
    pub(crate) fn fill<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        self.length = write(&mut self.bytes)?.min(MOST - 1);
        Ok(())
    }

    /// `None` when something may have been cut.
    pub(crate) fn as_c_str(&self) -> Option<&CStr> {
        // SAFETY: there is a NUL behind the bytes.
        (self.length < MOST - 1).then(|| unsafe { CStr::from_ptr(self.bytes.as_ptr().cast()) })
    }
}

/// What comes before that byte; and it, with what is behind it.
pub(crate) fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| *byte == at).unwrap_or(bytes.len()))
}
