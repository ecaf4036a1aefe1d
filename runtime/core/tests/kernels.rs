//! Every kernel of every instruction set against the formulas of the step records, written down once
//! more in the plainest way: one output element at a time, sums in i64.

mod window;

use core::cell::Cell;

use cygnet_core::bytes::{F32s, I32s};
use cygnet_core::kernels::source::Source;
use cygnet_core::kernels::{ConvI8Args, ConvOutput, Operand, RowI8, available};
use cygnet_core::plan::step::Window;
use cygnet_core::quantization::Target;
use cygnet_core::weights;
use proptest::prelude::*;
use window::window;

/// A convolution with everything that shapes it.
#[derive(Clone, Debug)]
struct Case {
    window: Window,
    x: Vec<i8>,
    /// By output channel, kernel row, kernel column, input channel of the group.
    weights: Vec<i8>,
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    weight_zero_points: Vec<i32>,
    x_zero_point: i32,
    y_zero_point: i32,
    limits: (i32, i32),
    scratch_rows: usize,
    /// Elements between the results of a dense convolution's positions that belong to others.
    gap: usize,
}

fn case() -> impl Strategy<Value = Case> {
    window().prop_flat_map(|window| {
        let x = (window.batch * window.in_h * window.in_w * window.in_c) as usize;
        let channels = window.out_c as usize;
        let weights = channels * window.taps() * window.group_in();
        let extreme = prop_oneof![Just(i8::MIN), Just(i8::MAX), any::<i8>(), any::<i8>()];
        let values = (
            proptest::collection::vec(extreme.clone(), x),
            (any::<bool>(), proptest::collection::vec(extreme, weights)).prop_map(|(narrow, values)| {
                values.into_iter().map(|w| if narrow { w.max(-127) } else { w }).collect()
            }),
            proptest::collection::vec(-100_000..100_000_i32, channels),
            proptest::collection::vec(prop_oneof![1e-7..1e-5_f32, 1e-4..0.1_f32, Just(3.0_f32)], channels),
            prop_oneof![Just(Vec::new()), proptest::collection::vec(-128..=127_i32, channels)],
        );
        let numbers = (-128..=127_i32, -128..=127_i32, -128..=0_i32, 0..=127_i32, (1..=5_usize, 0..=7_usize));
        (Just(window), values, numbers).prop_map(|(window, values, numbers)| {
            let (x, weights, bias, multipliers, weight_zero_points) = values;
            let (x_zero_point, y_zero_point, low, high, (scratch_rows, gap)) = numbers;
            let limits = (low, high);
            Case {
                window,
                x,
                weights,
                bias,
                multipliers,
                weight_zero_points,
                x_zero_point,
                y_zero_point,
                limits,
                scratch_rows,
                gap,
            }
        })
    })
}

impl Case {
    fn weight(&self, channel: usize, row: usize, column: usize, input: usize) -> i8 {
        let w = &self.window;
        let columns = w.kernel_w as usize;
        self.weights[((channel * w.kernel_h as usize + row) * columns + column) * w.group_in() + input]
    }

    /// The formula of the step record for float32 results, element by element.
    fn expected_reals(&self) -> Vec<f32> {
        let w = &self.window;
        let mut out = Vec::new();
        for position in 0..w.positions() {
            let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
            let (image, y, x) = (position / (out_h * out_w), position / out_w % out_h, position % out_w);
            for channel in 0..w.out_c as usize {
                let group = channel / w.group_out();
                let w_zero = self.weight_zero_points.get(channel).copied().unwrap_or(0);
                let mut sum = i64::from(self.bias[channel]);
                for row in 0..w.kernel_h as usize {
                    for column in 0..w.kernel_w as usize {
                        let iy = (y * w.stride_h as usize + row * w.dilation_h as usize) as i64 - i64::from(w.pad_top);
                        let ix =
                            (x * w.stride_w as usize + column * w.dilation_w as usize) as i64 - i64::from(w.pad_left);
                        let inside = iy >= 0 && iy < i64::from(w.in_h) && ix >= 0 && ix < i64::from(w.in_w);
                        for input in 0..w.group_in() {
                            let value = if inside {
                                let pixel = (image * w.in_h as usize + iy as usize) * w.in_w as usize + ix as usize;
                                i64::from(self.x[pixel * w.in_c as usize + group * w.group_in() + input])
                            } else {
                                i64::from(self.x_zero_point)
                            };
                            let weight = i64::from(self.weight(channel, row, column, input)) - i64::from(w_zero);
                            sum += (value - i64::from(self.x_zero_point)) * weight;
                        }
                    }
                }
                out.push(sum as i32 as f32 * self.multipliers[channel]);
            }
        }
        out
    }

    /// The same for int8 results.
    fn expected(&self) -> Vec<i8> {
        let (low, high) = (f64::from(self.limits.0), f64::from(self.limits.1));
        let round = |scaled: f32| f64::from(scaled).round_ties_even() + f64::from(self.y_zero_point);
        self.expected_reals().into_iter().map(|scaled| round(scaled).clamp(low, high) as i8).collect()
    }

    /// Bias as the kernels want it: zero points of input and weights taken in.
    fn adjusted_bias(&self) -> Vec<u8> {
        let w = &self.window;
        let taps = (w.taps() * w.group_in()) as i64;
        (0..w.out_c as usize)
            .flat_map(|channel| {
                let count = w.taps() * w.group_in();
                let sum: i64 = self.weights[channel * count..][..count].iter().map(|&v| i64::from(v)).sum();
                let w_zero = i64::from(self.weight_zero_points.get(channel).copied().unwrap_or(0));
                let x_zero = i64::from(self.x_zero_point);
                ((i64::from(self.bias[channel]) - x_zero * sum + taps * x_zero * w_zero) as i32).to_le_bytes()
            })
            .collect()
    }
}

/// Results of a window with room behind those of each position, which has `filler`.
fn spread<T: Copy>(results: &[T], w: &Window, y_step: usize, filler: T) -> Vec<T> {
    let row = |row: &[T]| [row, &vec![filler; y_step - row.len()]].concat();
    results.chunks(w.out_c as usize).flat_map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn convolutions_follow_their_formula(case in case()) {
        let w = &case.window;
        let (expected, expected_reals) = (case.expected(), case.expected_reals());
        let bias = case.adjusted_bias();
        let multipliers: Vec<u8> = case.multipliers.iter().flat_map(|m| m.to_le_bytes()).collect();
        let zero_points: Vec<u8> = case.weight_zero_points.iter().flat_map(|z| z.to_le_bytes()).collect();
        let depthwise = w.groups == w.in_c && w.in_c > 1;
        let weights = if depthwise {
            let columns = w.kernel_w as usize;
            (0..w.taps())
                .flat_map(|tap| (0..w.out_c as usize).map(move |channel| (tap, channel)))
                .map(|(tap, channel)| case.weight(channel, tap / columns, tap % columns, 0).cast_unsigned())
                .collect()
        } else {
            let mut packed = vec![0; weights::packed_bytes(w)];
            weights::pack(w, &mut |c, row, column, input| case.weight(c, row, column, input), &mut packed);
            packed
        };
        let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
        let narrow = !weights.contains(&128);
        let y_step = w.out_c as usize + if depthwise { 0 } else { case.gap };
        let (expected, expected_reals) = (spread(&expected, w, y_step, 77), spread(&expected_reals, w, y_step, 77.0));
        for kernels in available() {
            let mut scratch = vec![99_i8; source.scratch_len(w, case.scratch_rows)];
            let mut found = vec![77_i8; expected.len()];
            let mut reals = vec![77_f32; expected.len()];
            let kernel = if depthwise { kernels.depthwise_i8 } else { kernels.conv_i8 };
            let target = Target::new(case.y_zero_point, case.limits.0, case.limits.1);
            for y in [ConvOutput::I8(&mut found, target), ConvOutput::F32(&mut reals)] {
                kernel(ConvI8Args {
                    window: w,
                    x: &case.x,
                    x_zero_point: case.x_zero_point as i8,
                    y,
                    y_step,
                    scratch: &mut scratch,
                    weights: &weights,
                    multipliers: F32s::new(&multipliers),
                    bias: I32s::new(&bias),
                    weight_zero_points: I32s::new(&zero_points),
                    narrow,
                });
            }
            prop_assert_eq!(&found, &expected, "{}", kernels.name);
            prop_assert_eq!(&reals, &expected_reals, "{}", kernels.name);
        }
    }

    #[test]
    fn additions_and_products_follow_their_formula(
        pairs in proptest::collection::vec((any::<i8>(), any::<i8>()), 1..70),
        zero_points in (-128..=127_i32, -128..=127_i32, -128..=127_i32),
        multipliers in (1e-3..4.0_f32, 1e-3..4.0_f32),
        repeated in any::<bool>(),
        in_place in any::<bool>(),
    ) {
        let (za, zb, zy) = zero_points;
        let (ma, mb) = multipliers;
        let a: Vec<i8> = pairs.iter().map(|pair| pair.0).collect();
        let b: Vec<i8> = if repeated { vec![pairs[0].1] } else { pairs.iter().map(|pair| pair.1).collect() };
        let at = |index: usize| if repeated { b[0] } else { b[index] };
        let store = |value: f32| (f64::from(value).round_ties_even() + f64::from(zy)).clamp(-128.0, 127.0) as i8;
        let sum: Vec<i8> = (0..a.len())
            .map(|i| store((i32::from(a[i]) - za) as f32 * ma + (i32::from(at(i)) - zb) as f32 * mb))
            .collect();
        let product: Vec<i8> = (0..a.len())
            .map(|i| store(((i32::from(a[i]) - za) * (i32::from(at(i)) - zb)) as f32 * ma))
            .collect();
        for kernels in available() {
            for (kernel, expected) in [(kernels.add_i8, &sum), (kernels.mul_i8, &product)] {
                let mut left = a.clone();
                let mut result = vec![0; a.len()];
                let left = Cell::from_mut(&mut left[..]).as_slice_of_cells();
                let result = Cell::from_mut(&mut result[..]).as_slice_of_cells();
                let y = if in_place { left } else { result };
                let target = Target::new(zy, -128, 127);
                let (zero_points, multipliers) = ([za, zb], [ma, mb]);
                kernel(&RowI8 { a: Operand::Shared(left), b: Operand::Constant(&b), y, zero_points, multipliers, target });
                let found: Vec<i8> = y.iter().map(Cell::get).collect();
                prop_assert_eq!(&found, expected, "{}", kernels.name);
            }
        }
    }

    #[test]
    fn tables_are_looked_up(
        x in proptest::collection::vec(any::<i8>(), 1..300),
        table in proptest::collection::vec(any::<u8>(), 256),
        in_place in any::<bool>(),
    ) {
        let expected: Vec<i8> = x.iter().map(|&x| table[(i32::from(x) + 128) as usize].cast_signed()).collect();
        let table: [u8; 256] = table.try_into().expect("256 bytes");
        for kernels in available() {
            let (mut from, mut to) = (x.clone(), vec![0; x.len()]);
            let from = Cell::from_mut(&mut from[..]).as_slice_of_cells();
            let to = Cell::from_mut(&mut to[..]).as_slice_of_cells();
            let y = if in_place { from } else { to };
            (kernels.table)(from, y, &table);
            let found: Vec<i8> = y.iter().map(Cell::get).collect();
            prop_assert_eq!(&found, &expected, "{}", kernels.name);
        }
    }
}
