//! The `hioload` command.

#![forbid(unsafe_code)]
// The documentation of options and settings is the text of --help, not rustdoc.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod app;
mod cli;
mod config;
mod failure;
mod streams;

use std::process::ExitCode;

pub(crate) use failure::Failure;

fn main() -> ExitCode {
    hioload_mem::heap::return_large_blocks();
    streams::init();
    let result = match cli::parse(std::env::args_os()) {
        Ok(None) => Ok(()),
        Ok(Some(cli)) => match cli.command {
            cli::Command::Serve(arguments) => app::serve::run(*arguments),
            cli::Command::Connect(arguments) => app::connect::run(&arguments),
            cli::Command::Load(arguments) => app::load::run(&arguments),
            cli::Command::Flows(arguments) => app::ask::flows(&arguments),
            cli::Command::Tap(cli::TapCommand::Start(arguments)) => app::ask::tap_start(&arguments),
            cli::Command::Tap(cli::TapCommand::Stop(arguments)) => app::ask::tap_stop(&arguments),
            cli::Command::Check(arguments) => app::check::run(&arguments),
            cli::Command::Cert(command) => app::cert::run(&command),
            cli::Command::Config(cli::ConfigCommand::Reference { format }) => {
                app::reference::print(format)
            }
        },
        Err(failure) => Err(failure),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            streams::note(format_args!("hioload: {failure}"));
            ExitCode::from(failure.code())
        }
    };
    streams::flush();
    code
}
