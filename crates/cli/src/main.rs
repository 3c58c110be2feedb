//! The `hioload` command.

#![forbid(unsafe_code)]
// The documentation of options and settings is the text of --help, not rustdoc.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod app;
mod cli;
mod config;

use std::process::ExitCode;

/// Why the command ends with something else than 0. Shown as one line on standard error.
#[derive(Debug)]
struct Failure {
    /// 2: what was asked for cannot be; 1: it went wrong on the way.
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }
    fn run(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(None) => Ok(()),
        Ok(Some(cli)) => match cli.command {
            cli::Command::Serve(arguments) => app::serve::run(*arguments),
            cli::Command::Connect(arguments) => app::connect::run(&arguments),
            cli::Command::Load(arguments) => app::load::run(&arguments),
            cli::Command::Flows(arguments) => app::ask::flows(&arguments),
            cli::Command::Tap(cli::TapCommand::Start(arguments)) => app::ask::tap_start(&arguments),
            cli::Command::Tap(cli::TapCommand::Stop(arguments)) => app::ask::tap_stop(&arguments),
            cli::Command::Check(arguments) => app::check::run(&arguments),
        },
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            eprintln!("hioload: {message}");
            ExitCode::from(code)
        }
    }
}
