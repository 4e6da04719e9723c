//! Short texts and numbers, without an allocator and without `core::fmt`, whose code would outweigh the library's.

use core::ffi::CStr;

/// A text of at most so many bytes; what does not fit is cut.
#[derive(Clone, Copy, Debug)]
pub struct Text<const MOST: usize> {
    bytes: [u8; MOST],
    length: usize,
}

impl<const MOST: usize> Text<MOST> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; MOST], length: 0 }
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &[u8]) -> &mut Self {
        for byte in piece {
            self.put(*byte);
        }
        self
    }

    /// Adds one byte.
    pub fn put(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds a number in decimal.
    pub fn add_number(&mut self, number: u64) -> &mut Self {
        write_digits(number, &mut |digit| {
            self.add(digit.as_bytes());
        });
        self
    }

    /// Cuts it to that length.
    pub fn cut(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// It as a C string; `None` when there is no room for the NUL, or one inside it.
    #[must_use]
    pub fn as_c_str(&self) -> Option<&CStr> {
        let with_nul = self.bytes.get(..=self.length)?;
        let first_nul = with_nul.iter().position(|byte| *byte == 0);
        // SAFETY: the only NUL is the last byte.
        (first_nul == Some(self.length)).then(|| unsafe { CStr::from_bytes_with_nul_unchecked(with_nul) })
    }
}

impl<const MOST: usize> Default for Text<MOST> {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a number in decimal, digit by digit.
pub(crate) fn write_digits(number: u64, write: &mut dyn FnMut(&str)) {
    if number > 9 {
        write_digits(number / 10, write);
    }
    let digit = (number % 10) as usize;
    write("0123456789".get(digit..=digit).unwrap_or_default());
}

/// A number that is nothing but digits.
#[must_use]
pub fn number(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        number.checked_mul(base.into())?.checked_add(char::from(*byte).to_digit(base)?.into())
    })
}
