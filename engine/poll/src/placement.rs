//! Which CPU a core runs on.

use crate::core::CoreId;
use crate::launch::LaunchError;

/// The CPUs that were asked for exist, are allowed, and are named once.
pub(crate) fn check_cores(cores: &[usize]) -> Result<(), LaunchError> {
    use rustix::thread::sched_getaffinity;
    let allowed =
        sched_getaffinity(None).map_err(|errno| LaunchError::Kernel { tried: "sched_getaffinity", errno })?;
    if cores.is_empty() || cores.len() > u8::MAX as usize {
        return Err(LaunchError::Usage("--cores: give 1 to 255 of them".into()));
    }
    for (i, cpu) in cores.iter().enumerate() {
        if *cpu >= rustix::thread::CpuSet::MAX_CPU || !allowed.is_set(*cpu) {
            let have: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU)
                .filter(|c| allowed.is_set(*c))
                .map(|c| c.to_string())
                .collect();
            let have = have.join(",");
            return Err(LaunchError::Usage(format!(
                "--cores: there is no CPU {cpu} to run on; allowed here: {have}"
            )));
        }
        if cores[..i].contains(cpu) {
            return Err(LaunchError::Usage(format!("--cores: CPU {cpu} is named twice")));
        }
    }
    Ok(())
}

/// Pins the calling thread to one CPU.
pub fn pin(cpu: CoreId) -> rustix::io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu.0);
    rustix::thread::sched_setaffinity(None, &set)
}
