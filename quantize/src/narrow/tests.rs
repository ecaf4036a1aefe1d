use super::*;

/// Numbers between -1 and 1 that look random, most of them small.
fn values(count: usize) -> Vec<f32> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * next()).collect()
}

fn squared_error(narrow: &Narrow, weights: &[f32], layout: Layout<'_>) -> f64 {
    let real = |index: usize| f32::from(narrow.levels[index]) * narrow.scales[layout.channel(index)];
    weights.iter().enumerate().map(|(index, &weight)| f64::from(weight - real(index)).powi(2)).sum()
}

#[test]
fn every_level_is_the_nearest_allowed_one() {
    let cases: [(&[usize], usize, usize); 3] = [(&[5, 40, 3, 3], 0, 1), (&[70, 6], 1, 0), (&[6, 3, 3, 3], 0, 1)];
    for (shape, channel_axis, input_axis) in cases {
        let layout = Layout { shape, channel_axis, input_axis };
        let weights = values(shape.iter().product());
        for form in [WeightForm::Int8, WeightForm::Int4, WeightForm::Clustered, WeightForm::Sparse] {
            let narrow = Narrow::of(form, &weights, layout, &[], &[]);
            for (index, &weight) in weights.iter().enumerate() {
                let level = weight / narrow.scales[layout.channel(index)];
                let (found, best) = (narrow.levels[index], narrow.nearest(index, level));
                assert!(narrow.allowed(index).contains(&found), "{form:?} {shape:?} [{index}]: {found} is not allowed");
                let distance = |known: i8| (f32::from(known) - level).abs();
                assert!(distance(found) <= distance(best) + 1e-3, "{form:?} {shape:?} [{index}]: {found}, not {best}");
            }
        }
    }
}

#[test]
fn factors_are_small_and_their_products_with_the_scale_exact() {
    let layout = Layout { shape: &[4, 64, 1, 1], channel_axis: 0, input_axis: 1 };
    // The second half of each channel is a tenth of the first: its block has a smaller factor.
    let scaled = |(index, value)| if index % 64 < 32 { value } else { value / 10.0 };
    let weights: Vec<f32> = values(256).into_iter().enumerate().map(scaled).collect();
    let narrow = Narrow::of(WeightForm::Int4, &weights, layout, &[], &[]);
    let Grid::Blocks { block, factors } = &narrow.grid else { panic!("{:?}", narrow.grid) };
    assert_eq!((*block, factors.len()), (32, 8));
    for (channel, pair) in factors.chunks(2).enumerate() {
        assert!(pair[0] > 5 * pair[1] && (1..=18).contains(&pair[0]), "{pair:?}");
        for &factor in pair {
            let scale = narrow.scales[channel];
            assert_eq!(f64::from(scale * f32::from(factor)), f64::from(scale) * f64::from(factor));
        }
    }
    // A channel without factors would have 10 times coarser steps in the second half.
    let plain: f64 = weights
        .chunks(64)
        .map(|row| {
            let step = row.iter().fold(0_f32, |most, value| most.max(value.abs())) / 7.0;
            row.iter().map(|value| f64::from(value - (value / step).round_ties_even() * step).powi(2)).sum::<f64>()
        })
        .sum();
    assert!(squared_error(&narrow, &weights, layout) < plain);
}

#[test]
fn a_table_of_few_levels_is_found_exactly() {
    // One channel, scale 1: the largest is 127. Three clusters whose means are whole.
    let layout = Layout { shape: &[1, 8], channel_axis: 0, input_axis: 1 };
    let weights = [127.0, -40.0, 0.0, 12.0, 12.0, -40.0, 127.0, 0.0];
    let narrow = Narrow::of(WeightForm::Clustered, &weights, layout, &[], &[]);
    assert_eq!(narrow.grid, Grid::Table(vec![-40, 0, 12, 127]));
    assert_eq!(narrow.levels, [127, -40, 0, 12, 12, -40, 127, 0]);
    assert_eq!(narrow.scales, [1.0]);
}

#[test]
fn tables_beat_even_steps() {
    let layout = Layout { shape: &[8, 64], channel_axis: 0, input_axis: 1 };
    let weights = values(512);
    let table = Narrow::of(WeightForm::Clustered, &weights, layout, &[], &[]);
    let Grid::Table(levels) = &table.grid else { panic!("{:?}", table.grid) };
    assert!(levels.len() == 16 && levels.is_sorted() && levels.contains(&0), "{levels:?}");
    // -7 to 7 with one scale per channel.
    let even: f64 = weights
        .chunks(64)
        .map(|row| {
            let step = row.iter().fold(0_f32, |most, value| most.max(value.abs())) / 7.0;
            row.iter().map(|value| f64::from(value - (value / step).round_ties_even() * step).powi(2)).sum::<f64>()
        })
        .sum();
    assert!(squared_error(&table, &weights, layout) < even);
}

#[test]
fn the_least_important_half_becomes_zero() {
    let layout = Layout { shape: &[1, 4], channel_axis: 0, input_axis: 1 };
    let weights = [1.27, -0.5, 0.4, 0.3];
    let plain = Narrow::of(WeightForm::Sparse, &weights, layout, &[], &[]);
    assert_eq!(plain.levels, [127, -50, 0, 0]);
    // 0.25 · 0.1 and 0.16 · 0.1 are less than 0.09 · 1.
    let weighted = Narrow::of(WeightForm::Sparse, &weights, layout, &[], &[1.0, 0.1, 0.1, 1.0]);
    assert_eq!(weighted.levels, [127, 0, 0, 30]);
    assert_eq!((weighted.allowed(1), weighted.allowed(3).len()), (&[0][..], 255));
}
