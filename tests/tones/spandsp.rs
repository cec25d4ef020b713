//! spandsp's DTMF detector and generator, by their public functions, as Debian packages them (`libspandsp2`).
#![expect(unsafe_code, reason = "a C library is called")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr;

type Receive = unsafe extern "C" fn(*mut c_void, *const i16, c_int) -> c_int;
type Get = unsafe extern "C" fn(*mut c_void, *mut c_char, c_int) -> usize;
type Initialise = unsafe extern "C" fn(*mut c_void, *const c_void, *mut c_void) -> *mut c_void;
type InitialiseSender = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type Put = unsafe extern "C" fn(*mut c_void, *const c_char, c_int) -> c_int;
type Send = unsafe extern "C" fn(*mut c_void, *mut i16, c_int) -> c_int;
type Free = unsafe extern "C" fn(*mut c_void) -> c_int;

/// The library, loaded.
pub struct Spandsp {
    receiver: (Initialise, Receive, Get, Free),
    sender: (InitialiseSender, Put, Send, Free),
}

/// Digits that it holds until they are asked for (`MAX_DTMF_DIGITS` in spandsp's dtmf.h).
const DIGITS_MAX: usize = 128;

impl Spandsp {
    /// Loads `libspandsp.so.2`.
    pub fn load() -> Self {
        // SAFETY: the name is a C string, and the library's constructors have no conditions.
        let library = unsafe { libc::dlopen(c"libspandsp.so.2".as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "libspandsp.so.2 is not installed: scripts/test installs it");
        let find = |name: &CStr| {
            // SAFETY: the handle is the library's, which is never closed, and the name is a C string.
            let function = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!function.is_null(), "libspandsp has no {name:?}");
            function
        };
        // SAFETY: the types are those of the prototypes in spandsp/dtmf.h, callbacks as pointers that may be null.
        unsafe {
            Self {
                receiver: (
                    transmute::<*mut c_void, Initialise>(find(c"dtmf_rx_init")),
                    transmute::<*mut c_void, Receive>(find(c"dtmf_rx")),
                    transmute::<*mut c_void, Get>(find(c"dtmf_rx_get")),
                    transmute::<*mut c_void, Free>(find(c"dtmf_rx_free")),
                ),
                sender: (
                    transmute::<*mut c_void, InitialiseSender>(find(c"dtmf_tx_init")),
                    transmute::<*mut c_void, Put>(find(c"dtmf_tx_put")),
                    transmute::<*mut c_void, Send>(find(c"dtmf_tx")),
                    transmute::<*mut c_void, Free>(find(c"dtmf_tx_free")),
                ),
            }
        }
    }

    /// The digits that a new detector hears in `samples`, given to it in frames of 20 ms.
    pub fn digits(&self, samples: &[i16]) -> String {
        let (initialise, receive, get, free) = self.receiver;
        let mut digits = String::new();
        // SAFETY: without a state the function makes one, without a callback it keeps digits for `dtmf_rx_get`; each frame and
        // the buffer are given with their lengths (one byte is kept for a final zero); the state is freed once.
        unsafe {
            let state = initialise(ptr::null_mut(), ptr::null(), ptr::null_mut());
            for frame in samples.chunks(160) {
                receive(state, frame.as_ptr(), frame.len() as c_int);
                let mut buffer = [0_u8; DIGITS_MAX + 1];
                let count = get(state, buffer.as_mut_ptr().cast(), DIGITS_MAX as c_int);
                digits.extend(buffer.iter().take(count).map(|&byte| char::from(byte)));
            }
            free(state);
        }
        digits
    }

    /// The tones of `keys` as its generator makes them, one second of silence behind them.
    pub fn tones(&self, keys: &str) -> Vec<i16> {
        let (initialise, put, send, free) = self.sender;
        let mut samples = Vec::new();
        // SAFETY: as above; the keys are given with their length.
        unsafe {
            let state = initialise(ptr::null_mut());
            assert_eq!(put(state, keys.as_ptr().cast(), keys.len() as c_int), 0, "keys that did not fit");
            loop {
                let mut frame = [0; 160];
                let count = send(state, frame.as_mut_ptr(), 160);
                samples.extend(frame.iter().take(count as usize));
                if count < 160 {
                    break;
                }
            }
            free(state);
        }
        samples.extend([0; 8_000]);
        samples
    }
}
