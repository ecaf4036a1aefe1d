//! `peers tract|rten MODEL.onnx THREADS SECONDS`: prints the median time of one run as JSON.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

type Failure = Box<dyn std::error::Error>;

const WARM_UP: Duration = Duration::from_millis(100);
const LEAST_RUNS: usize = 5;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, model, threads, seconds] = arguments.as_slice() else {
        return Err("usage: peers tract|rten MODEL.onnx THREADS SECONDS".into());
    };
    let (threads, limit) = (threads.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let times = match runtime.as_str() {
        "tract" => time(tract(model, threads)?, limit)?,
        "rten" => time(rten(model, threads)?, limit)?,
        other => return Err(format!("no runtime is called {other}: tract or rten").into()),
    };
    let milliseconds = times[times.len() / 2].as_secs_f64() * 1e3;
    println!("{{\"median_ms\": {milliseconds}, \"runs\": {}}}", times.len());
    Ok(())
}

/// Input values: the same everywhere, so that no runtime meets denormals or NaN that another does not.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index % 251) as f32 / 251.0).collect()
}

fn tract(path: &str, threads: usize) -> Result<impl FnMut() -> Result<(), Failure>, Failure> {
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_path(path)?;
    let shape = model.input_fact(0)?.shape.as_concrete_finite()?.ok_or("the input has an open shape")?;
    let model = model.into_optimized()?.into_runnable()?;
    let input: TValue = Tensor::from_shape(&shape, &values(shape.iter().product()))?.into();
    Ok(move || {
        black_box(model.run(tvec!(input.clone()))?);
        Ok(())
    })
}

fn rten(path: &str, threads: usize) -> Result<impl FnMut() -> Result<(), Failure>, Failure> {
    let model = rten::Model::load_file(path)?;
    let shape: Vec<usize> = model
        .input_shape(0)
        .ok_or("the input has no shape")?
        .iter()
        .map(|dimension| match dimension {
            rten::Dimension::Fixed(size) => Ok(*size),
            rten::Dimension::Symbolic(name) => Err(format!("the input has an open dimension {name}")),
        })
        .collect::<Result<_, _>>()?;
    let input = NdTensor::from_data([shape.iter().product()], values(shape.iter().product())).into_dyn();
    let input = input.into_shape(shape.as_slice());
    let pool = Arc::new(rten::ThreadPool::with_num_threads(threads));
    Ok(move || {
        let options = rten::RunOptions::default().with_thread_pool(Some(pool.clone()));
        black_box(model.run_one(input.view().into(), Some(options))?);
        Ok(())
    })
}

/// Runs for the warm-up and then until `limit`; returns the times in order.
fn time(mut run: impl FnMut() -> Result<(), Failure>, limit: Duration) -> Result<Vec<Duration>, Failure> {
    let start = Instant::now();
    while start.elapsed() < WARM_UP {
        run()?;
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < limit || times.len() < LEAST_RUNS {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed());
    }
    times.sort();
    Ok(times)
}
