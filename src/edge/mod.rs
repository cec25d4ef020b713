//! Where the program meets the system: files, sockets, clocks, threads. Nothing in here decides.

pub mod espeak;
pub mod files;
pub mod prompt_audio;
