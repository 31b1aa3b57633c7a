//! See `linerate_fuzz::nd`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::nd::run(data);
});
