//! `cygnet run` on a model that goes on with a text.

use std::time::Instant;

use anyhow::Context;
use cygnet::{Model, Session};
use serde::Serialize;

use crate::{print, print_json};

/// What a model wrote.
#[derive(Serialize)]
struct Written {
    text: String,
    written: String,
    tokens: usize,
    seconds: f64,
}

/// Goes on with each text, by at most `most` tokens, the likeliest each time.
pub fn run(model: &Model, texts: &[String], most: usize, json: bool) -> anyhow::Result<()> {
    let mut session = model.session()?;
    let mut all = Vec::new();
    for text in texts {
        let written = write(model, &mut session, text, most, json)?;
        log::info!("{} tokens in {:.3} s", written.tokens, written.seconds);
        all.push(written);
    }
    if json { print_json(&all) } else { Ok(()) }
}

fn write(model: &Model, session: &mut Session, text: &str, most: usize, json: bool) -> anyhow::Result<Written> {
    let words = model.words()?;
    session.reset()?;
    let start = Instant::now();
    let prompt = words.tokens(text)?;
    let mut next = session.read_tokens(&prompt)?.with_context(|| format!("\"{text}\" has no token"))?;
    let room = model.plan().positions().filter(|positions| !positions.slides);
    let room = room.map_or(usize::MAX, |positions| (positions.length as usize).saturating_sub(prompt.len()));
    if !json {
        print(text)?;
    }
    let (mut tokens, mut written) = (Vec::new(), String::new());
    while !words.ends(next) {
        tokens.push(next);
        let now = words.text(&tokens)?;
        // What a later token may change is not printed yet.
        if let Some(new) = now.strip_prefix(&written).filter(|_| !now.ends_with(char::REPLACEMENT_CHARACTER)) {
            if !json {
                print(&if written.is_empty() { format!(" {}", new.trim_start()) } else { new.to_string() })?;
            }
            written = now;
        }
        if tokens.len() == most {
            break;
        }
        if tokens.len() > room {
            log::info!("the model can keep no more tokens; the card's table [cache] tells how many");
            break;
        }
        next = session.read_tokens(&[next])?.context("the model gives no score")?;
    }
    if !json {
        print("\n")?;
    }
    Ok(Written { text: text.into(), written, tokens: tokens.len(), seconds: start.elapsed().as_secs_f64() })
}
