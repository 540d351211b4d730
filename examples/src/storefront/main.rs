//! The storefront as a program: `cargo demo` runs it.

use std::process::ExitCode;

use clap::Parser;
use examples::complain;
use examples::storefront::{Args, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("storefront", &error);
            ExitCode::FAILURE
        }
    }
}
