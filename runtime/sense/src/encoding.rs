//! Little-endian fields in a fixed-size record.

use crate::Error;

/// Puts fields one after another; what does not fit is left out (the sizes are constants).
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Writer { bytes, at: 0 }
    }

    fn put(&mut self, field: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.at).zip(field) {
            *to = *from;
        }
        self.at += field.len();
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.put(&value.to_le_bytes());
    }
}

/// Takes the fields back in the same order.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Accepts exactly `size` bytes.
    pub(crate) fn new(bytes: &'a [u8], size: usize) -> Result<Self, Error> {
        if bytes.len() == size { Ok(Reader { bytes }) } else { Err(Error::Encoding { problem: "its size is wrong" }) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (field, rest) = self.bytes.split_first_chunk::<N>().ok_or(Error::Encoding { problem: "it ends early" })?;
        self.bytes = rest;
        Ok(*field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.take::<1>()?[0])
    }

    /// A byte that names one of `choices`, counted from 0.
    pub(crate) fn choice<T: Copy>(&mut self, choices: &[T]) -> Result<T, Error> {
        let index = self.u8()?;
        choices.get(usize::from(index)).copied().ok_or(Error::Encoding { problem: "an unknown choice" })
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(crate) fn f32(&mut self) -> Result<f32, Error> {
        Ok(f32::from_le_bytes(self.take()?))
    }
}
