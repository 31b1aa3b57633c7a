//! See `linerate_fuzz::reassembly`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    linerate_fuzz::reassembly::run(data);
});
