//! The `linerate` program.
#![forbid(unsafe_code)]

mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Stands in until the command line is written: tries the kernel-socket half of the demo by itself.
    demo::try_parts::main(std::env::args().skip(1))
}
