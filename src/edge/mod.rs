//! Where the program meets the system: files, sockets, clocks, threads. Nothing in here decides.

pub mod espeak;
pub mod files;
pub mod media_worker;
pub mod prompt_audio;
pub mod rtp_socket;
