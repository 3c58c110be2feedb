//! `codec-cycles`: the cycles that each decoder needs for one masked message, and the speed of masking, side by side.
//!
//! Every round measures all decoders once on the same bytes, so that a disturbance of the machine affects all of them. The table
//! has the median round and a good one (the 5th percentile).

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use hioload_benches::cycles;
use hioload_benches::decode::{Bench, Fastwebsockets, Ours, Tungstenite};
use hioload_benches::wire::{Content, masked_frames};
use hioload_ws_proto::mask;
use serde_json::{Value, json};

/// Cycles per masked message and masking speed, beside tungstenite and fastwebsockets.
#[derive(Parser)]
struct Options {
    /// Rounds; each measures every decoder once
    #[arg(long, default_value_t = 2000)]
    rounds: usize,
    /// Payload bytes of a message
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Exit with 1 if a target is missed (60 cycles, a third of tungstenite, 40 GB/s)
    #[arg(long)]
    check: bool,
}

/// Frames in one batch: with 128-byte messages 8.5 KiB, which fit into L1.
const FRAMES: usize = 64;

/// Bytes that are masked repeatedly, and the repetitions in a round.
const MASKED: usize = 8 * 1024;
const REPEATS: usize = 64;

/// A row of a table: decoder, job, and the sample of each round.
struct Row {
    job: &'static str,
    name: &'static str,
    samples: Vec<f64>,
}

impl Row {
    /// Returns the sample below which a `share` of all samples lies.
    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() as f64 * share) as usize]
    }
}

/// Measures the cycles per message of each decoder.
fn decoding(content: Content, options: &Options) -> Result<Vec<Row>, Box<dyn Error>> {
    let wire: Rc<[u8]> = masked_frames(content, options.size, FRAMES).into();
    let (inside, stream) = ("in place", "from a stream");
    let mut benches: [(&str, &str, Box<dyn Bench>); 5] = [
        (
            inside,
            "hioload",
            Box::new(Ours::in_place(Rc::clone(&wire))),
        ),
        (
            inside,
            "tungstenite",
            Box::new(Tungstenite::in_place(Rc::clone(&wire), FRAMES)),
        ),
        (
            stream,
            "hioload",
            Box::new(Ours::from_stream(Rc::clone(&wire))),
        ),
        (
            stream,
            "tungstenite",
            Box::new(Tungstenite::from_stream(Rc::clone(&wire), FRAMES)),
        ),
        (
            stream,
            "fastwebsockets",
            Box::new(Fastwebsockets::from_stream(wire, FRAMES)),
        ),
    ];
    let mut rows: Vec<Row> = benches
        .iter()
        .map(|(job, name, _)| Row {
            job,
            name,
            samples: Vec::with_capacity(options.rounds),
        })
        .collect();
    // One tenth more rounds run first, unmeasured, to warm caches, branch predictors and the clock.
    for round in 0..options.rounds + options.rounds / 10 {
        for ((_, _, bench), row) in benches.iter_mut().zip(&mut rows) {
            bench.load();
            let start = cycles::now();
            black_box(bench.run()?);
            let spent = cycles::now() - start;
            if round >= options.rounds / 10 {
                row.samples.push(spent as f64 / FRAMES as f64);
            }
        }
    }
    Ok(rows)
}

/// Measures the gigabytes per second of masking 8 KiB in L1, and of copying them as a reference for the machine.
fn masking(options: &Options) -> Vec<Row> {
    let key = [0x5a, 0x13, 0xc7, 0x2e];
    let mut buffer = vec![0x55; MASKED];
    let mut copy = vec![0; MASKED];
    let job = "mask 8 KiB";
    let mut rows = ["hioload", "fastwebsockets", "memcpy"].map(|name| Row {
        job,
        name,
        samples: Vec::new(),
    });
    for _ in 0..options.rounds {
        let [ours, fast, plain] = &mut rows;
        ours.samples
            .push(speed(|| mask::apply(black_box(&mut buffer), key, 0)));
        fast.samples.push(speed(|| {
            fastwebsockets::unmask(black_box(&mut buffer), key);
        }));
        plain.samples.push(speed(|| {
            black_box(&mut copy).copy_from_slice(black_box(&buffer));
        }));
    }
    rows.into()
}

fn speed(mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    for _ in 0..REPEATS {
        work();
    }
    (MASKED * REPEATS) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Prints one table; `more_is_better` selects the good round.
fn print(title: &str, unit: &str, rows: &[Row], more_is_better: bool) {
    let good = if more_is_better { 0.95 } else { 0.05 };
    println!("### {title}\n");
    println!("| job | decoder | {unit}, median | a good round | to hioload |");
    println!("| --- | --- | ---: | ---: | ---: |");
    for row in rows {
        let ours = rows
            .iter()
            .find(|r| r.job == row.job && r.name == "hioload")
            .unwrap_or(row);
        let [median, good] = [row.at(0.5), row.at(good)];
        let ratio = median / ours.at(0.5);
        println!(
            "| {} | {} | {median:.1} | {good:.1} | {ratio:.2}x |",
            row.job, row.name
        );
    }
    println!();
}

fn as_json(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            json!({ "job": row.job, "name": row.name, "median": row.at(0.5),
                "p05": row.at(0.05), "p95": row.at(0.95) })
        })
        .collect()
}

/// Compares the samples with the budgets and prints these as a table, unless the output is JSON; returns whether all are reached.
fn judge(text: &[Row], masked: &[Row], quiet: bool) -> bool {
    let [ours, tungstenite] = [text[0].at(0.5), text[1].at(0.5)];
    let speed = masked[0].at(0.5);
    let budgets = [
        (
            "codec: masked text (ASCII) message, 128 B, parsed, unmasked, checked",
            format!("<= 60 {}", cycles::UNIT),
            format!("{ours:.1} {}", cycles::UNIT),
            ours <= 60.0,
        ),
        (
            "codec: the same in tungstenite",
            ">= 3x of it".to_owned(),
            format!("{:.1}x", tungstenite / ours),
            tungstenite >= 3.0 * ours,
        ),
        (
            "codec: unmasking in L1",
            ">= 40 GB/s".to_owned(),
            format!("{speed:.1} GB/s"),
            speed >= 40.0,
        ),
    ];
    if !quiet {
        println!("\n### Budgets\n");
        println!("| budget | set | measured |  |\n| --- | --- | --- | --- |");
        for (what, set, got, reached) in &budgets {
            let verdict = if *reached { "reached" } else { "**MISSED**" };
            println!("| {what} | {set} | {got} | {verdict} |");
        }
    }
    budgets.iter().all(|(.., reached)| *reached)
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut figures = serde_json::Map::new();
    let mut ascii = Vec::new();
    for content in [Content::Ascii, Content::Mixed, Content::Binary] {
        let rows = decoding(content, options)?;
        figures.insert(content.name().into(), as_json(&rows).into());
        if !options.json {
            let title = format!("Masked {} message, {} B", content.name(), options.size);
            print(
                &title,
                &format!("{} per message", cycles::UNIT),
                &rows,
                false,
            );
        }
        if content == Content::Ascii {
            ascii = rows;
        }
    }
    let masked = masking(options);
    figures.insert("mask".into(), as_json(&masked).into());
    figures.insert("ticks_per_second".into(), cycles::per_second().into());
    if options.json {
        println!("{}", Value::Object(figures));
    } else {
        print("Masking in L1", "GB/s", &masked, true);
        println!(
            "One second has {:.0} million {}.",
            cycles::per_second() / 1e6,
            cycles::UNIT
        );
    }
    Ok(judge(&ascii, &masked, options.json) || !options.check)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("codec-cycles: {error}");
            ExitCode::from(2)
        }
    }
}
