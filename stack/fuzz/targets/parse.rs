//! See `linerate_fuzz::parse`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::parse::run(data);
});
