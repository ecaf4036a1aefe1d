//! What the verifier lets through, in plans made by hand.

use cygnet_core::Error;
use cygnet_core::bytes::{Record, Span, checksum};
use cygnet_core::kernels::Kernels;
use cygnet_core::plan::step::{ConvI8, PartialConvI8, Pool, PoolKind, Table, Window};
use cygnet_core::plan::{
    CHECKSUM_FROM, DType, HEADER_BYTES, Header, MAGIC, Plan, Port, Step, Tensor, TensorId, VERSION,
};

fn words(value: &impl Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut |word| bytes.extend(word.to_le_bytes()));
    bytes
}

/// A plan of one step from its first tensor, of the first shape, to the second.
fn plan(step: &Step, shapes: [[u32; 4]; 2]) -> Vec<u8> {
    let len = |shape: [u32; 4]| shape.iter().product::<u32>();
    let offsets = [0, len(shapes[0]).next_multiple_of(16)];
    let name = Span::NONE;
    let padded = |[n, h, w, c]: [u32; 4]| [n, h, w, c, 1, 1];
    let order = [0, 1, 2, 3, 0, 0];
    let (mut tables, mut ports) = (Vec::new(), Vec::new());
    for (index, shape) in shapes.into_iter().enumerate() {
        let (tensor, time, offset, shape) = (TensorId(index as u32), index as u32, offsets[index], padded(shape));
        let (dtype, rank) = (DType::I8, 4);
        tables.extend(words(&Tensor {
            offset,
            dtype,
            rank,
            shape,
            scale: 1.0,
            zero_point: 0,
            first: time,
            last: time + 1,
            name,
        }));
        ports.extend(words(&Port { tensor, dtype, rank, shape, order, name }));
    }
    let mut record = Vec::new();
    step.encode(name, &mut |word| record.extend(word.to_le_bytes()));
    let mut at = HEADER_BYTES as u32;
    let mut span = |len: usize| {
        at += len as u32;
        Span { offset: at - len as u32, len: len as u32 }
    };
    let header = Header {
        arena_bytes: offsets[1] + len(shapes[1]),
        live_bytes: 0,
        steps: 1,
        tensors: span(tables.len()),
        inputs: span(ports.len() / 2),
        outputs: span(ports.len() / 2),
        step_table: span(record.len()),
        metadata: span(0),
        constant_bytes: 0,
    };
    let mut file = [&MAGIC[..], &VERSION.to_le_bytes(), &[0xff, 0xfe], &[0; 8]].concat();
    file.extend(words(&header));
    file.resize(HEADER_BYTES, 0);
    file.extend([tables, ports, record].concat());
    let len = file.len() as u32;
    file[8..12].copy_from_slice(&len.to_le_bytes());
    let sum = checksum(&file[CHECKSUM_FROM..]);
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    file
}

/// A mean over the whole of a square picture.
fn pooling(side: u32, channels: u32) -> Vec<u8> {
    let window = Window {
        batch: 1,
        in_h: side,
        in_w: side,
        in_c: channels,
        out_h: 1,
        out_w: 1,
        out_c: channels,
        kernel_h: side,
        kernel_w: side,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    };
    let (x, y) = (TensorId(0), TensorId(1));
    let step = Step::Pool(Pool { x, y, window, kind: PoolKind::Average, multiplier: 1.0, pad_end: [0; 2] });
    plan(&step, [[1, side, side, channels], [1, 1, 1, channels]])
}

#[test]
fn pooling_of_a_whole_picture_has_no_weights_to_be_too_many() {
    // What is left of a picture of 448 × 448 behind ResNet-50.
    let file = pooling(14, 2048);
    assert_eq!(Plan::parse(&file).map(|plan| plan.header().steps), Ok(1));
}

#[test]
fn steps_that_the_kernels_were_not_chosen_for_are_refused_by_number() {
    let pooling = pooling(4, 16);
    let step = Step::Table(Table { x: TensorId(0), y: TensorId(1), table: Span { offset: 0, len: 256 } });
    // The rest of the file is long enough to be its table.
    let table = plan(&step, [[1, 4, 4, 1], [1, 4, 4, 1]]);
    assert!(table.len() >= 256 && Plan::parse(&table).is_ok());
    let restricted = |plan: &[u8]| -> &'static Kernels { Box::leak(Box::new(Kernels::PORTABLE.only(plan))) };
    for (own, other) in [(&pooling, &table), (&table, &pooling)] {
        assert_eq!(Plan::parse_with(own, restricted(own)).map(|plan| plan.header().steps), Ok(1));
        assert_eq!(Plan::parse_with(own, restricted(other)).map(|_| ()), Err(Error::NoKernel { step: 0 }));
    }
}

#[test]
fn part_of_an_output_lies_inside_of_it() {
    let window = Window {
        batch: 1,
        in_h: 2,
        in_w: 2,
        in_c: 4,
        out_h: 2,
        out_w: 2,
        out_c: 4,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    };
    // All constants are bytes of the header: their values do not matter here.
    let constant = |len| Span { offset: 64, len };
    let conv = ConvI8 {
        x: TensorId(0),
        y: TensorId(1),
        scratch: None,
        window,
        weights: constant(16),
        multipliers: Span { offset: 48, len: 16 },
        bias: constant(16),
        weight_zero_points: Span::NONE,
        narrow: 0,
        low: -128,
        high: 127,
    };
    let refusal = |first, channels, width| {
        let step = Step::PartialConvI8(PartialConvI8 { conv, first, channels });
        Plan::parse(&plan(&step, [[1, 2, 2, 4], [1, 2, 2, width]])).err().map(|error| error.to_string())
    };
    let told = |refusal: Option<String>, what: &str| refusal.is_some_and(|text| text.contains(what));
    assert_eq!(refusal(5, 9, 9), None);
    for (first, channels) in [(6, 9), (u32::MAX, 9), (0, 3)] {
        assert!(told(refusal(first, channels, channels), "its channels are not among those"), "{first} of {channels}");
    }
    assert!(refusal(0, 9, 8).is_some());
}
