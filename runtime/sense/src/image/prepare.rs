use super::resize::{Axis, horizontal, vertical};
use super::{Colour, Filter, Fit, ImageSpec, Layout, Pixels, Placement};
use crate::{Error, Output, Quantization};

/// What padding is made of.
const PAD_PIXEL: u8 = 114;
/// What lies behind a line of text: nearest to the middle of all pixels.
const LINE_PIXEL: u8 = 127;

/// The wanted part of both axes, and how scratch is divided.
struct Work {
    columns: Axis,
    rows: Axis,
    channels: usize,
    /// Column and row of the tensor where the picture begins.
    left: usize,
    top: usize,
    /// Source rows kept at a time.
    slots: usize,
}

impl Work {
    fn new(spec: &ImageSpec, placement: &Placement) -> Self {
        let axis = |source: u32, resized: u32, begin: i32, tensor: u32| {
            let first = begin.min(0).unsigned_abs();
            let count = (resized - first.min(resized)).min(tensor);
            Axis {
                source: source as usize,
                resized: resized as usize,
                first: first as usize,
                count: count as usize,
                filter: spec.filter,
            }
        };
        let columns = axis(placement.source_width, placement.width, placement.left, spec.width);
        let rows = axis(placement.source_height, placement.height, placement.top, spec.height);
        Work {
            columns,
            rows,
            channels: spec.channels(),
            left: placement.left.max(0) as usize,
            top: placement.top.max(0) as usize,
            slots: if rows.is_identity() || spec.filter == Filter::Nearest { 0 } else { rows.most_weights() },
        }
    }

    /// Bytes of the parts of scratch: a converted source row, the column table, one row entry, a
    /// finished row, the window of rows.
    fn parts(&self) -> [usize; 5] {
        let row = self.columns.count.saturating_mul(self.channels);
        [
            self.columns.source.saturating_mul(self.channels),
            if self.columns.is_identity() { 0 } else { self.columns.table_bytes() },
            self.rows.entry_bytes(),
            row,
            row.saturating_mul(self.slots),
        ]
    }
}

/// Scratch, divided.
struct Parts<'a> {
    line: &'a mut [u8],
    table: &'a mut [u8],
    entry: &'a mut [u8],
    row: &'a mut [u8],
    ring: &'a mut [u8],
}

impl<'a> Parts<'a> {
    fn split(scratch: &'a mut [u8], sizes: [usize; 5]) -> Result<Self, Error> {
        let needed = sizes.iter().fold(0usize, |sum, size| sum.saturating_add(*size));
        if scratch.len() < needed {
            return Err(Error::ScratchLength { needed, given: scratch.len() });
        }
        let (line, rest) = scratch.split_at_mut(sizes[0]);
        let (table, rest) = rest.split_at_mut(sizes[1]);
        let (entry, rest) = rest.split_at_mut(sizes[2]);
        let (row, rest) = rest.split_at_mut(sizes[3]);
        let (ring, _) = rest.split_at_mut(sizes[4]);
        Ok(Parts { line, table, entry, row, ring })
    }
}

impl ImageSpec {
    /// Bytes of scratch that [`prepare`](ImageSpec::prepare) needs for pictures of this size: one source
    /// row, the filter's weights for the columns, and as many rows of the tensor as the filter spans.
    /// 0 when `prepare` would refuse the size.
    pub fn scratch_bytes(&self, source_width: u32, source_height: u32) -> usize {
        self.placement(source_width, source_height).map_or(0, |placement| {
            Work::new(self, &placement).parts().iter().fold(0usize, |sum, size| sum.saturating_add(*size))
        })
    }

    /// Resizes, crops or pads, normalises and quantizes `src` into `out`, which holds
    /// [`tensor_len`](ImageSpec::tensor_len) elements in the order of `out_layout` (the engine keeps int8
    /// images channels-last whatever the model's layout is).
    ///
    /// # Errors
    /// [`Error::Spec`] and [`Error::Pixels`] as [`placement`](ImageSpec::placement);
    /// [`Error::OutputLength`], [`Error::ScratchLength`].
    pub fn prepare(
        &self,
        src: &Pixels<'_>,
        out: &mut Output<'_>,
        out_layout: Layout,
        scratch: &mut [u8],
    ) -> Result<(), Error> {
        let placement = self.placement(src.width(), src.height())?;
        out.check_len(self.tensor_len())?;
        let work = Work::new(self, &placement);
        let parts = Parts::split(scratch, work.parts())?;
        let mut tensor = Tensor::new(self, out, out_layout);
        if work.columns.count < self.width as usize || work.rows.count < self.height as usize {
            for y in 0..self.height as usize {
                tensor.write_padding(y);
            }
        }
        match self.filter {
            Filter::Nearest => nearest(&work, src, parts, &mut tensor),
            Filter::Bilinear | Filter::Bicubic => filtered(&work, src, parts, &mut tensor),
        }
        Ok(())
    }
}

fn nearest(work: &Work, src: &Pixels<'_>, parts: Parts<'_>, tensor: &mut Tensor<'_, '_>) {
    let channels = work.channels;
    // The table holds only the first source pixel of an entry here.
    let entry_bytes = work.columns.entry_bytes();
    for (entry, column) in parts.table.chunks_exact_mut(entry_bytes).zip(work.columns.nearest()) {
        if let Some(to) = entry.first_chunk_mut() {
            *to = (column as u32).to_le_bytes();
        }
    }
    for (y, source_row) in work.rows.nearest().enumerate() {
        let row = src.row(source_row, channels, parts.line);
        if work.columns.is_identity() {
            tensor.write_row(work.top + y, work.left, cut(row, &work.columns, channels));
            continue;
        }
        for (to, entry) in parts.row.chunks_exact_mut(channels).zip(parts.table.chunks_exact(entry_bytes)) {
            let column = entry.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
            for (to, from) in to.iter_mut().zip(row.iter().skip(column * channels)) {
                *to = *from;
            }
        }
        tensor.write_row(work.top + y, work.left, parts.row);
    }
}

fn filtered(work: &Work, src: &Pixels<'_>, parts: Parts<'_>, tensor: &mut Tensor<'_, '_>) {
    let (columns, rows) = (&work.columns, &work.rows);
    if !columns.is_identity() {
        columns.write_table(parts.table);
    }
    let row_len = columns.count * work.channels;
    // Source rows below this one have been resized into the window.
    let mut done = 0;
    for y in 0..rows.count {
        if rows.is_identity() {
            let row = src.row(rows.first + y, work.channels, parts.line);
            if columns.is_identity() {
                tensor.write_row(work.top + y, work.left, cut(row, columns, work.channels));
            } else {
                resize_row(work, row, parts.table, parts.row);
                tensor.write_row(work.top + y, work.left, parts.row);
            }
            continue;
        }
        let window = rows.write_entry(rows.first + y, parts.entry);
        for source_row in window.first.max(done)..window.first + window.count {
            let Some(slot) = parts.ring.chunks_exact_mut(row_len).nth(source_row % work.slots) else { continue };
            resize_row(work, src.row(source_row, work.channels, parts.line), parts.table, slot);
        }
        done = done.max(window.first + window.count);
        vertical(parts.ring, row_len, work.slots, parts.entry, parts.row);
        tensor.write_row(work.top + y, work.left, parts.row);
    }
}

/// The wanted columns of a source row, resized into `out`.
fn resize_row(work: &Work, row: &[u8], table: &[u8], out: &mut [u8]) {
    let entry_bytes = work.columns.entry_bytes();
    if work.columns.is_identity() {
        for (to, from) in out.iter_mut().zip(cut(row, &work.columns, work.channels)) {
            *to = *from;
        }
    } else if work.channels == 3 {
        horizontal::<3>(row, table, entry_bytes, out);
    } else {
        horizontal::<1>(row, table, entry_bytes, out);
    }
}

/// The wanted columns of a row that keeps its width.
fn cut<'a>(row: &'a [u8], columns: &Axis, channels: usize) -> &'a [u8] {
    let begin = columns.first * channels;
    row.get(begin..begin + columns.count * channels).unwrap_or_default()
}

/// Pixels to elements: normalised, quantized, in the asked order.
struct Tensor<'o, 'a> {
    spec: &'o ImageSpec,
    out: &'o mut Output<'a>,
    layout: Layout,
    /// For int8: what each pixel value becomes, per channel of the picture.
    quantized: [[i8; 256]; 3],
}

impl<'o, 'a> Tensor<'o, 'a> {
    fn new(spec: &'o ImageSpec, out: &'o mut Output<'a>, layout: Layout) -> Self {
        let mut tensor = Tensor { spec, out, layout, quantized: [[0; 256]; 3] };
        if let Output::I8(_, quantization) = &*tensor.out {
            let quantization: Quantization = *quantization;
            for channel in 0..spec.channels() {
                let (_, mean, scale) = tensor.channel(channel);
                for (pixel, to) in tensor.quantized[channel].iter_mut().enumerate() {
                    *to = quantization.quantize((pixel as f32 - mean) * scale);
                }
            }
        }
        tensor
    }

    /// Place in the tensor, mean and scale of a channel of the picture (which is RGB or grey).
    fn channel(&self, channel: usize) -> (usize, f32, f32) {
        let place = if self.spec.colour == Colour::Bgr { 2 - channel } else { channel };
        (place, self.spec.mean[place], self.spec.scale[place])
    }

    fn write_row(&mut self, y: usize, x: usize, row: &[u8]) {
        let channels = self.spec.channels();
        for channel in 0..channels {
            self.write_channel(y, x, channel, row.iter().skip(channel).step_by(channels).copied());
        }
    }

    fn write_padding(&mut self, y: usize) {
        let pixel = if self.spec.fit == Fit::Line { LINE_PIXEL } else { PAD_PIXEL };
        for channel in 0..self.spec.channels() {
            self.write_channel(y, 0, channel, core::iter::repeat_n(pixel, self.spec.width as usize));
        }
    }

    /// Writes one channel of a run of pixels that begins at column `x` of row `y`.
    fn write_channel(&mut self, y: usize, x: usize, channel: usize, pixels: impl Iterator<Item = u8>) {
        let (place, mean, scale) = self.channel(channel);
        let (width, height) = (self.spec.width as usize, self.spec.height as usize);
        let (begin, step) = match self.layout {
            Layout::Nchw => ((place * height + y) * width + x, 1),
            Layout::Nhwc => ((y * width + x) * self.spec.channels() + place, self.spec.channels()),
        };
        match &mut *self.out {
            Output::F32(out) => {
                let out = out.get_mut(begin..).unwrap_or_default();
                for (to, pixel) in out.iter_mut().step_by(step).zip(pixels) {
                    *to = (f32::from(pixel) - mean) * scale;
                }
            }
            Output::I8(out, _) => {
                let out = out.get_mut(begin..).unwrap_or_default();
                let table = &self.quantized[channel];
                for (to, pixel) in out.iter_mut().step_by(step).zip(pixels) {
                    *to = table[usize::from(pixel)];
                }
            }
        }
    }
}
