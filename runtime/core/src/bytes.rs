//! Little-endian numbers read in place from bytes of any alignment.

/// A run of bytes inside a plan, counted from the first byte of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub offset: u32,
    /// Number of bytes; 0 where the span is absent.
    pub len: u32,
}

impl Span {
    /// The span that stands for «absent».
    pub const NONE: Self = Self { offset: 0, len: 0 };

    /// The bytes of the span, or `None` when it leaves `file`.
    #[must_use]
    pub fn of(self, file: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.len).ok()?)?;
        file.get(start..end)
    }

    /// Whether the span is absent.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.len == 0
    }
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident, $number:ty, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>(&'a [[u8; $size]]);

        impl<'a> $name<'a> {
            /// Views `bytes`; a remainder that is no whole element is left out.
            #[must_use]
            pub fn new(bytes: &'a [u8]) -> Self {
                Self(bytes.as_chunks::<$size>().0)
            }

            /// Number of elements.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there is no element.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// Element `index`, or zero when there is none.
            #[must_use]
            #[inline]
            pub fn get(&self, index: usize) -> $number {
                match self.0.get(index) {
                    Some(bytes) => <$number>::from_le_bytes(*bytes),
                    None => <$number>::default(),
                }
            }

            /// The elements `start..start + len`, cut at the end.
            #[must_use]
            #[inline]
            pub fn slice(&self, start: usize, len: usize) -> Self {
                let start = start.min(self.0.len());
                let end = start.saturating_add(len).min(self.0.len());
                Self(self.0.get(start..end).unwrap_or_default())
            }

            /// The bytes of the elements `start..start + len`, cut at the end.
            #[must_use]
            #[inline]
            pub fn bytes(&self, start: usize, len: usize) -> &'a [u8] {
                self.slice(start, len).0.as_flattened()
            }

            /// The bytes of the elements `start..start + len`, or `None` when there are fewer.
            #[must_use]
            #[inline]
            pub fn whole(&self, start: usize, len: usize) -> Option<&'a [u8]> {
                Some(self.0.get(start..)?.get(..len)?.as_flattened())
            }

            /// The elements in order.
            pub fn iter(&self) -> impl Iterator<Item = $number> + Clone + use<'a> {
                self.0.iter().map(|bytes| <$number>::from_le_bytes(*bytes))
            }
        }
    };
}

numbers!(
    /// `f32` values.
    F32s,
    f32,
    4
);
numbers!(
    /// `i32` values.
    I32s,
    i32,
    4
);
numbers!(
    /// `u32` values.
    U32s,
    u32,
    4
);
numbers!(
    /// `i64` values.
    I64s,
    i64,
    8
);

/// Reads 32-bit words one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    words: &'a [[u8; 4]],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { words: bytes.as_chunks::<4>().0 }
    }

    /// The next word, or `None` at the end.
    #[inline(always)]
    pub fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// A reader of the next `count` words, which this one skips; `None` when there are fewer.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> Option<Self> {
        let (words, rest) = self.words.split_at_checked(count)?;
        self.words = rest;
        Some(Self { words })
    }

    /// The words not read yet.
    #[must_use]
    pub fn rest(&self) -> U32s<'a> {
        U32s(self.words)
    }
}

/// Something stored as a fixed number of 32-bit words.
pub trait Record: Sized {
    /// How many.
    const WORDS: usize;
    /// Reads the value; `None` when the words end early or hold no such value.
    fn decode(reader: &mut Reader<'_>) -> Option<Self>;
    /// Hands the words to `write`, in order.
    fn encode(&self, write: &mut dyn FnMut(u32));
}

impl Record for u32 {
    const WORDS: usize = 1;
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        reader.word()
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(*self);
    }
}

impl Record for i32 {
    const WORDS: usize = 1;
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        reader.word().map(u32::cast_signed)
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(self.cast_unsigned());
    }
}

impl Record for f32 {
    const WORDS: usize = 1;
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        reader.word().map(Self::from_bits)
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(self.to_bits());
    }
}

impl Record for Span {
    const WORDS: usize = 2;
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: reader.word()?, len: reader.word()? })
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        write(self.offset);
        write(self.len);
    }
}

impl<T: Record + Copy + Default, const N: usize> Record for [T; N] {
    const WORDS: usize = N * T::WORDS;
    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut out = [T::default(); N];
        for item in &mut out {
            *item = T::decode(reader)?;
        }
        Some(out)
    }
    fn encode(&self, write: &mut dyn FnMut(u32)) {
        for item in self {
            item.encode(write);
        }
    }
}

/// Defines a struct of words together with its [`Record`] form.
#[macro_export]
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::bytes::Record for $name {
            const WORDS: usize = 0 $(+ <$type as $crate::bytes::Record>::WORDS)*;

            #[inline]
            fn decode(reader: &mut $crate::bytes::Reader<'_>) -> Option<Self> {
                // The length is checked once for all fields.
                let reader = &mut reader.take(Self::WORDS)?;
                Some(Self { $($field: <$type as $crate::bytes::Record>::decode(reader)?,)* })
            }
            fn encode(&self, write: &mut dyn FnMut(u32)) {
                $($crate::bytes::Record::encode(&self.$field, write);)*
            }
        }
    };
}

/// Defines an enum stored as one word.
#[macro_export]
macro_rules! word_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $value:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_meta])* $variant = $value,)*
        }

        impl $name {
            /// The value that `word` stands for.
            #[must_use]
            #[inline]
            pub fn from_word(word: u32) -> Option<Self> {
                match word {
                    $($value => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl $crate::bytes::Record for $name {
            const WORDS: usize = 1;

            #[inline]
            fn decode(reader: &mut $crate::bytes::Reader<'_>) -> Option<Self> {
                Self::from_word(reader.word()?)
            }
            fn encode(&self, write: &mut dyn FnMut(u32)) {
                write(*self as u32);
            }
        }
    };
}

/// The checksum of a plan: eight interleaved FNV-1a hashes over 32-bit words, folded into one.
///
/// Every step of FNV-1a is a bijection of the state, so a change confined to one word always
/// changes the result; eight lanes let the loop run at memory speed. Bytes behind the last whole
/// word are hashed as if followed by zeros.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    const PRIME: u32 = 0x0100_0193;
    let mut lanes = [0x811c_9dc5_u32; 8];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u32::from_le_bytes(*word)).wrapping_mul(PRIME);
        }
    }
    for (lane, bytes) in lanes.iter_mut().zip(rest.chunks(4)) {
        let mut word = [0; 4];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *lane = (*lane ^ u32::from_le_bytes(word)).wrapping_mul(PRIME);
    }
    let mut hash = 0x811c_9dc5_u32;
    for lane in lanes {
        hash = (hash ^ lane).wrapping_mul(PRIME);
    }
    hash
}
