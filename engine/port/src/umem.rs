//! Packet memory that the kernel shares.

use std::sync::Arc;

use linerate_frame::Region;
use rustix::io::Errno;

use crate::error::PortError;
use crate::port::{ETHERNET_HEADER_BYTES, VLAN_TAG_BYTES};
use crate::sys::mmap::{Mapping, UmemMemory};

/// What the kernel keeps free in front of every received frame (linux/bpf.h XDP_PACKET_HEADROOM).
pub const XDP_HEADROOM_BYTES: u32 = 256;

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// How much memory, in which chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UmemConfig {
    /// Frames, at least 1.
    pub frames: u32,
    /// Bytes of a frame: 2048 or 4096 ([`Umem::chunk_for_mtu`]).
    pub chunk_bytes: u32,
    /// Try 2 MiB pages first (fewer TLB misses: 2.9 against 2.3 Mpps at 1500 bytes on veth, AF_XDP_FACTS.md); where none are
    /// reserved (`sysctl vm.nr_hugepages`) ordinary ones are taken.
    pub hugepages: bool,
}

/// Which pages were obtained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// 4 KiB.
    Normal,
    /// 2 MiB.
    Huge,
}

/// Memory for frames, and the [`Region`] over it. The sockets that use it register it with the kernel: the
/// first by itself, others on further queues by naming the first
/// ([`Xsk::open`](crate::af_xdp::Xsk::open)).
pub struct Umem {
    memory: Arc<Mapping>,
    region: Arc<Region>,
    pages: Pages,
}

impl Umem {
    /// Maps the memory and faults it in. The kernel learns of it when a socket is opened.
    pub fn new(config: &UmemConfig) -> Result<Self, PortError> {
        let UmemConfig { frames, chunk_bytes, hugepages } = *config;
        if chunk_bytes != 2048 && chunk_bytes != 4096 {
            // xdp_umem_reg(): a power of two from XDP_UMEM_MIN_CHUNK_SIZE (2048) to the page size.
            let what = format!("a UMEM chunk has 2048 or 4096 bytes, not {chunk_bytes}");
            return Err(PortError::Config { what });
        }
        if frames == 0 {
            return Err(PortError::Config { what: "a UMEM of no frames".into() });
        }
        let bytes = frames as usize * chunk_bytes as usize;
        let (mapping, pages) = match hugepages.then(|| huge(bytes)) {
            Some(Ok(m)) => (m, Pages::Huge),
            _ => {
                let m = Mapping::anonymous(bytes.next_multiple_of(4096), false);
                (m.map_err(|errno| PortError::Memory { bytes, errno })?, Pages::Normal)
            }
        };
        let memory = Arc::new(mapping);
        let region = Region::new(Box::new(UmemMemory::new(memory.clone(), bytes)), chunk_bytes);
        Ok(Self { memory, region, pages })
    }

    /// The smallest chunk whose frames hold 256 bytes of XDP headroom, an Ethernet header, a VLAN tag and `mtu`
    /// bytes: 2048 up to an MTU of 1774, 4096 up to 3822.
    pub fn chunk_for_mtu(mtu: u16) -> Result<u32, PortError> {
        let need = XDP_HEADROOM_BYTES + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES + u32::from(mtu);
        [2048, 4096].into_iter().find(|&c| c >= need).ok_or(PortError::MtuTooLarge { mtu })
    }

    /// The frames, for the pools of the cores.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Which pages were obtained.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Bytes of all frames.
    pub fn len_bytes(&self) -> usize {
        self.region.frames() as usize * self.region.chunk_bytes() as usize
    }

    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }
}

fn huge(bytes: usize) -> Result<Mapping, Errno> {
    Mapping::anonymous(bytes.next_multiple_of(HUGE_PAGE_BYTES), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_frame::Pool;

    #[test]
    fn chunk_holds_headroom_header_tag_and_mtu() {
        for (mtu, want) in [(68, 2048), (1500, 2048), (1774, 2048), (1775, 4096), (3822, 4096)] {
            assert_eq!(Umem::chunk_for_mtu(mtu).unwrap(), want, "mtu {mtu}");
        }
        assert!(matches!(Umem::chunk_for_mtu(3823), Err(PortError::MtuTooLarge { mtu: 3823 })));
    }

    #[test]
    fn memory_is_writable_to_its_last_byte() {
        for hugepages in [false, true] {
            let u = Umem::new(&UmemConfig { frames: 3, chunk_bytes: 2048, hugepages }).unwrap();
            assert_eq!((u.region().frames(), u.len_bytes()), (3, 6144));
            let mut p = Pool::new(u.region().clone());
            let mut frames: Vec<_> = std::iter::from_fn(|| p.alloc()).collect();
            assert_eq!(frames.len(), 3);
            for f in &mut frames {
                p.writable(f).unwrap().fill(0xa5);
            }
            for f in frames {
                p.free(f);
            }
        }
    }

    #[test]
    fn refuses_what_the_kernel_would() {
        for (frames, chunk_bytes) in [(1, 1024), (1, 3072), (1, 8192), (0, 2048)] {
            let r = Umem::new(&UmemConfig { frames, chunk_bytes, hugepages: false });
            assert!(matches!(r, Err(PortError::Config { .. })), "{frames} x {chunk_bytes}");
        }
    }
}
