//! Bytes of a file to the tensor of a model that tells what the file is.

use crate::Error;

/// Which bytes of a file a model sees: its first ones and its last ones.
///
/// The rule is that of Magika (<https://github.com/google/magika>, its `beg_size`, `end_size`, `block_size` and
/// `padding_token`): blank space (tab, line feeds, carriage return, space) in front of the first block and behind the
/// last one is left out, the first bytes of the one stand at the left and the last bytes of the other at the right, and
/// `padding` stands where there are none.
///
/// ```
/// use cygnet_sense::BytesSpec;
///
/// let spec = BytesSpec { first: 4, last: 3, block: 8, padding: 256 };
/// let mut tensor = [0.0; 7];
/// let file = b"  ab\n";
/// spec.prepare(file, file, &mut tensor)?;
/// let (a, b) = (f32::from(b'a'), f32::from(b'b'));
/// assert_eq!(tensor, [a, b, 10.0, 256.0, 32.0, a, b]);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesSpec {
    /// How many bytes from the beginning of the file.
    pub first: u32,
    /// How many bytes from its end.
    pub last: u32,
    /// How many bytes at either end are looked at; those that are not blank count.
    pub block: u32,
    /// What stands where there is no byte.
    pub padding: u32,
}

impl BytesSpec {
    /// Whether the fields are usable together.
    ///
    /// # Errors
    /// [`Error::Spec`] names the first field that is not, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if self.block == 0 || self.block > 1 << 24 {
            return refuse("block", "between 1 and 16777216");
        }
        if self.first > self.block || self.last > self.block {
            return refuse("block", "at least `first` and `last`");
        }
        if self.first + self.last == 0 {
            return refuse("first", "at least 1 where `last` is 0");
        }
        // Greater ones are no whole numbers in f32.
        if self.padding > 1 << 24 {
            return refuse("padding", "at most 16777216");
        }
        Ok(())
    }

    /// Elements of the tensor.
    pub fn tensor_len(&self) -> usize {
        self.first as usize + self.last as usize
    }

    /// Writes the tensor of a file that begins with `beginning` and ends with `end`, each `block` bytes or the whole file.
    ///
    /// # Errors
    /// [`Error::Spec`] from [`check`](BytesSpec::check), [`Error::OutputLength`].
    pub fn prepare(&self, beginning: &[u8], end: &[u8], tensor: &mut [f32]) -> Result<(), Error> {
        self.check()?;
        let (needed, given) = (self.tensor_len(), tensor.len());
        if given != needed {
            return Err(Error::OutputLength { needed, given });
        }
        let block = self.block as usize;
        let beginning = beginning.get(..block).unwrap_or(beginning);
        let end = end.get(end.len().saturating_sub(block)..).unwrap_or_default();
        tensor.fill(self.padding as f32);
        let (left, right) = tensor.split_at_mut(self.first as usize);
        let front = beginning.iter().skip_while(|byte| is_blank(**byte));
        left.iter_mut().zip(front).for_each(|(to, byte)| *to = f32::from(*byte));
        let back = end.iter().rev().skip_while(|byte| is_blank(**byte));
        right.iter_mut().rev().zip(back).for_each(|(to, byte)| *to = f32::from(*byte));
        Ok(())
    }
}

/// Blank space of ASCII, the vertical tab among it.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
