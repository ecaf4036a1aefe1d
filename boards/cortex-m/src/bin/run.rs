//! Runs the embedded plan once on the embedded input: prints the answer, the hash of all outputs, the work, the memory.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use cygnet_core::plan::{DType, MetadataKind};
use cygnet_core::quantization::dequantize;
use cygnet_core::{Error, Session};
use cygnet_cortex_m::console::{self, Word};
use cygnet_cortex_m::counter::Counter;
use cygnet_cortex_m::{board, embedded, stack};

const _: () = assert!(cfg!(embedded_input), "set CYGNET_INPUT: see build.rs");

#[entry]
fn main() -> ! {
    stack::paint();
    let done = board::start().is_some_and(|mut board| {
        let counter = Counter::start(&mut board.core);
        embedded::session().is_some_and(|session| match session.and_then(|session| run(session, counter)) {
            Ok(()) => true,
            Err(error) => {
                console::error(&error);
                false
            }
        })
    });
    console::end(done)
}

fn run(mut session: Session<'_, '_>, counter: Counter) -> Result<(), Error> {
    let input = session.input_bytes(0)?;
    if input.len() != embedded::INPUT.len() {
        return Err(Error::ElementCount { expected: input.len(), given: embedded::INPUT.len() });
    }
    input.copy_from_slice(embedded::INPUT);
    let start = counter.count();
    session.run()?;
    let work = counter.count() - start;

    let plan = *session.plan();
    let name = plan.metadata_of(MetadataKind::Name, 0).and_then(|name| core::str::from_utf8(name).ok());
    console::line(&[Word::Text("model "), Word::Text(name.unwrap_or("without a name"))]);
    if let Some((index, score)) = best(&session)? {
        let label = plan.labels().nth(index);
        console::line(&[
            Word::Text("answer "),
            label.map_or(Word::Number(index as u64), Word::Text),
            Word::Text(" "),
            Word::Real(score),
        ]);
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for index in 0..plan.output_count() {
        for &byte in session.output_bytes(index)? {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    console::line(&[Word::Text("hash "), Word::Hash(hash)]);
    console::line(&[Word::Text(Counter::UNIT), Word::Text(" "), Word::Number(work)]);
    console::line(&[Word::Text("arena "), Word::Number(plan.arena_bytes() as u64)]);
    console::line(&[Word::Text("stack "), Word::Number(stack::high_water() as u64)]);
    Ok(())
}

/// The greatest value of the first output, and where it is.
fn best(session: &Session<'_, '_>) -> Result<Option<(usize, f32)>, Error> {
    let plan = session.plan();
    let Some(tensor) = plan.output(0).and_then(|port| plan.tensor(port.tensor)) else { return Ok(None) };
    let bytes = session.output_bytes(0)?;
    let mut best = None;
    let mut consider = |(index, value)| {
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((index, value));
        }
    };
    match tensor.dtype {
        DType::I8 => {
            let real = |&byte: &u8| dequantize(byte.cast_signed(), tensor.scale, tensor.zero_point);
            bytes.iter().map(real).enumerate().for_each(&mut consider);
        }
        DType::F32 => bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).enumerate().for_each(consider),
        _ => {}
    }
    Ok(best)
}
