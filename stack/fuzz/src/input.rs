//! Decisions from bytes: each takes a byte or two off the front; an input that has run out decides 0.

/// See the module.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of an input.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A byte.
    pub fn u8(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number below `n`, from one byte. `n` > 0.
    pub fn below(&mut self, n: u8) -> u8 {
        self.u8() % n
    }

    /// A bit.
    pub fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Up to `n` bytes as they are.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A distance: mostly small, sometimes anything.
    pub fn distance(&mut self) -> u32 {
        match self.u8() {
            n @ 0..200 => u32::from(n),
            200..240 => u32::from(self.u16()),
            240..250 => u32::from(self.u16()).wrapping_neg(),
            _ => self.u32(),
        }
    }
}
