//! The edge: sockets, clock, randomness, files, threads and signals. What decides lives elsewhere and is pure.
//!
//! [`signalling`] is the one loop; media workers own the legs; tokio runs what may wait for a database.

pub mod batch;
pub mod capture;
pub mod clock;
pub mod config_file;
pub mod descriptors;
pub mod entropy;
pub mod espeak;
pub mod files;
pub mod inbox;
pub mod leg_media;
pub mod listening;
pub mod load;
pub mod logging;
pub mod media_worker;
pub mod phone;
pub mod pipe;
pub mod poll;
pub mod preparation;
pub mod prompt_audio;
pub mod recording_file;
pub mod recordings;
pub mod refusal_text;
pub mod registrations;
pub mod resolver;
pub mod rtcp_socket;
pub mod rtp_socket;
pub mod scheduling;
pub mod secret_key;
pub mod serving;
pub mod shared_ports;
pub mod shared_socket;
pub mod signalling;
pub mod sip_socket;
pub mod streams;
pub mod trunk_check;
pub mod wire;
