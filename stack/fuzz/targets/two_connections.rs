//! See `linerate_fuzz::two_connections`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::two_connections::run(data);
});
