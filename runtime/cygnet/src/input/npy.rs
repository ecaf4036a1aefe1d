//! The `.npy` format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Read;

use super::array::ElementType;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longer headers belong to structured types, which are refused anyhow.
const LONGEST_HEADER: usize = 1 << 16;

/// What the header says.
#[derive(Debug, PartialEq)]
struct Header {
    dtype: ElementType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Why an array is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NpyError {
    /// The elements are text, objects or records: such arrays stand beside the others in many files.
    #[error("elements of type {0} are not read; convert it with .astype(numpy.float32)")]
    ElementType(String),
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

impl<T: Into<String>> From<T> for NpyError {
    fn from(problem: T) -> Self {
        Self::Broken(problem.into())
    }
}

/// Type, shape and little-endian row-major bytes of an array.
pub(super) fn read(mut reader: impl Read) -> Result<(ElementType, Vec<usize>, Vec<u8>), NpyError> {
    let cut = |_| NpyError::from("it ends early; write it again with numpy.save or numpy.savez");
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(cut)?;
    if &start[..6] != MAGIC {
        return Err("it is not in NumPy's format; write it with numpy.save or numpy.savez".into());
    }
    let len = if start[6] == 1 {
        let mut len = [0; 2];
        reader.read_exact(&mut len).map_err(cut)?;
        usize::from(u16::from_le_bytes(len))
    } else {
        let mut len = [0; 4];
        reader.read_exact(&mut len).map_err(cut)?;
        u32::from_le_bytes(len) as usize
    };
    if len > LONGEST_HEADER {
        return Err("its header is too long; store a plain array of numbers".into());
    }
    let mut text = vec![0; len];
    reader.read_exact(&mut text).map_err(cut)?;
    let header = header(&String::from_utf8_lossy(&text))?;
    let size = header.dtype.bytes();
    let bytes = header.shape.iter().try_fold(size, |product, &dim| product.checked_mul(dim));
    let expected = bytes.ok_or_else(|| format!("its shape {:?} is larger than any memory", header.shape))?;
    let mut data = Vec::new();
    reader.take(expected as u64).read_to_end(&mut data).map_err(|error| error.to_string())?;
    if data.len() != expected {
        return Err(cut(std::io::ErrorKind::UnexpectedEof.into()));
    }
    if header.big_endian {
        data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if header.fortran_order {
        data = row_major(&data, size, &header.shape);
    }
    Ok((header.dtype, header.shape, data))
}

fn header(text: &str) -> Result<Header, NpyError> {
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("'{name}'")).ok_or_else(|| format!("its header lacks '{name}'"))?;
        Ok::<_, String>(rest.trim_start().trim_start_matches(':').trim_start())
    };
    let descr = field("descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let (descr, _) = descr.ok_or_else(|| NpyError::ElementType("record".into()))?;
    let (order, code) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "=" | "|"), code)) => (order, code),
        _ => ("<", descr),
    };
    let dtype = ElementType::of_numpy(code).ok_or_else(|| NpyError::ElementType(descr.into()))?;
    let shape = field("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or("its header has no shape")?;
    let dims = shape.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let shape = dims.map(|dim| dim.trim_end_matches('L').parse()).collect::<Result<_, _>>();
    let shape = shape.map_err(|_| "its header has no readable shape")?;
    let fortran_order = field("fortran_order")?.starts_with("True");
    Ok(Header { dtype, big_endian: order == ">", fortran_order, shape })
}

/// From the first axis contiguous to the last axis contiguous.
fn row_major(data: &[u8], size: usize, shape: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let strides: Vec<usize> = shape
        .iter()
        .scan(size, |stride, &dim| {
            let this = *stride;
            *stride *= dim;
            Some(this)
        })
        .collect();
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[from..from + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

/// The bytes of a `.npy` file in front of the data.
pub(crate) fn write_header(dtype: ElementType, shape: &[usize]) -> Vec<u8> {
    let dims: Vec<_> = shape.iter().map(usize::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let descr = dtype.numpy();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", dims.join(", "));
    // Data begins at a multiple of 64 bytes; the header ends in a line feed.
    let unpadded = MAGIC.len() + 2 + 2 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // Even the greatest rank of a plan gives a header of some hundred bytes.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn fortran_order_and_big_endian_are_turned() {
        // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]]) as '>i2' lies as 1 4 2 5 3 6.
        let data: Vec<u8> = [1i16, 4, 2, 5, 3, 6].iter().flat_map(|v| v.to_be_bytes()).collect();
        let bytes = file("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }", &data);
        let expected: Vec<u8> = (1i16..=6).flat_map(i16::to_le_bytes).collect();
        assert_eq!(read(&bytes[..]).unwrap(), (ElementType::I16, vec![2, 3], expected));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for shape in [vec![], vec![2], vec![1, 2, 1]] {
            let len = shape.iter().product::<usize>() * 4;
            let mut bytes = write_header(ElementType::F32, &shape);
            assert_eq!(bytes.len() % 64, 0);
            bytes.extend(vec![7; len]);
            assert_eq!(read(&bytes[..]).unwrap(), (ElementType::F32, shape, vec![7; len]));
        }
    }

    #[test]
    fn bad_files_are_refused_without_panic() {
        let cases = [
            (b"".to_vec(), "ends early"),
            (b"PK\x03\x04 some zip".to_vec(), "NumPy's format"),
            (file("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", &[0; 11]), "ends early"),
            (file("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", &[]), "astype"),
            (file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", &[]), "record"),
            (file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", &[]), "shape"),
            (
                file("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 9), }", &[]),
                "larger than any memory",
            ),
            (file("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }", &[]), "ends early"),
            (file("{}", &[]), "lacks"),
            (file("{'descr': '", &[]), "record"),
        ];
        for (bytes, expected) in cases {
            let problem = read(&bytes[..]).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
