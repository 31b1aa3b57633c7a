//! A veth pair in a network namespace without a name, for a trial that touches nothing of the host.

use std::os::fd::AsFd;

use linerate::nic::{Netns, NicError, veth};

use super::interface::InterfaceFacts;
use super::trial::{Effects, Trial, run};

/// Makes the pair, tries it, and lets it go with the namespace (also after kill -9).
pub fn trial() -> Result<(InterfaceFacts, Vec<Trial>, Effects), NicError> {
    let netns = Netns::new()?;
    netns.run(|| {
        veth::create_pair("veth-doctor", "veth-peer", 1, netns.as_fd())?;
        veth::set_up("veth-doctor")?;
        veth::set_up("veth-peer")?;
        let facts = InterfaceFacts::read("veth-doctor")?;
        let (trials, effects) = run(&facts, 0);
        Ok((facts, trials, effects))
    })?
}
