//! See `linerate_fuzz::tcp_options`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::tcp_options::run(data);
});
