//! Linear resize.

use crate::bytes::U32s;
use crate::plan::step::ResizeLinear;

/// See [`ResizeLinear`]: `value` reads an element of the input as a real number, each of `stores` keeps one.
pub fn resize_linear(
    s: &ResizeLinear,
    rows: U32s<'_>,
    columns: U32s<'_>,
    value: impl Fn(usize) -> f32,
    mut stores: impl Iterator<Item = impl FnOnce(f32)>,
) {
    let (in_h, in_w, channels) = (s.in_h as usize, s.in_w as usize, s.channels as usize);
    let entry = |table: &U32s<'_>, index: usize| {
        let first = table.get(index * 3) as usize;
        let second = table.get(index * 3 + 1) as usize;
        (first, second, f32::from_bits(table.get(index * 3 + 2)))
    };
    for image in 0..s.batch as usize {
        for row in 0..s.out_h as usize {
            let (upper, lower, wy) = entry(&rows, row);
            let (upper, lower) = ((image * in_h + upper) * in_w, (image * in_h + lower) * in_w);
            for column in 0..s.out_w as usize {
                let (left, right, wx) = entry(&columns, column);
                for channel in 0..channels {
                    let at = |line: usize, pixel: usize| value((line + pixel) * channels + channel);
                    let top = at(upper, left) * (1.0 - wx) + at(upper, right) * wx;
                    let bottom = at(lower, left) * (1.0 - wx) + at(lower, right) * wx;
                    let Some(store) = stores.next() else { return };
                    store(top * (1.0 - wy) + bottom * wy);
                }
            }
        }
    }
}
