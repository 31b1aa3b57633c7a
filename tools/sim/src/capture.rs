//! What both endpoints and the bottleneck saw, as a pcapng file.

use std::io::{self, Write};

use linerate_net::{Counters, DropReason, Stack};
use linerate_port::sim::Fate;

use crate::pcapng::{PcapNg, Way};

/// A capture under way: an interface a host, and one for each direction of the bottleneck, which shows what was not
/// simply passed on.
pub struct Capture {
    file: PcapNg<Box<dyn Write>>,
    hosts: usize,
    /// A write failed; told at the end.
    failed: Option<io::Error>,
}

impl Capture {
    /// Begins. `comment` stands at the head of the file.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(out: Box<dyn Write>, comment: &str, hosts: usize) -> io::Result<Self> {
        let mut names: Vec<String> = (0..hosts).map(|h| format!("host {h}")).collect();
        names.extend(["bottleneck to the right".to_string(), "bottleneck to the left".to_string()]);
        Ok(Self { file: PcapNg::new(out, comment, &names)?, hosts, failed: None })
    }

    fn packet(&mut self, interface: usize, at_ns: u64, way: Way, bytes: &[u8], comment: Option<&str>) {
        if let Err(e) = self.file.packet(interface, at_ns, way, bytes, comment) {
            self.failed.get_or_insert(e);
        }
    }

    /// A host sent this.
    pub fn sent(&mut self, host: usize, at_ns: u64, bytes: &[u8]) {
        self.packet(host, at_ns, Way::Out, bytes, None);
    }

    /// The bottleneck did this to it.
    pub fn fate(&mut self, way: usize, at_ns: u64, bytes: &[u8], fate: Fate) {
        if !fate.is_plain() {
            self.packet(self.hosts + way, at_ns, Way::Passing, bytes, Some(&fate.to_string()));
        }
    }

    /// A host received this, and dropped it for the reasons that `before` does not count yet.
    pub fn received(
        &mut self,
        host: usize,
        at_ns: u64,
        bytes: &[u8],
        taken: bool,
        before: &Counters,
        stack: &Stack,
    ) {
        let now = stack.counters();
        let reasons = DropReason::ALL.iter().filter(|r| now.dropped(**r) > before.dropped(**r));
        let mut words: Vec<&str> = reasons.map(|r| r.as_str()).collect();
        if !taken {
            words.push("the pool was dry");
        }
        let comment = format!("dropped: {}", words.join(", "));
        self.packet(host, at_ns, Way::In, bytes, (!words.is_empty()).then_some(&comment));
    }

    /// Ends it.
    ///
    /// # Errors
    /// The first that happened.
    pub fn finish(self) -> io::Result<()> {
        match self.failed {
            Some(e) => Err(e),
            None => self.file.finish().map(drop),
        }
    }
}
