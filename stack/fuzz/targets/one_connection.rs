//! See `linerate_fuzz::one_connection`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::one_connection::run(data);
});
