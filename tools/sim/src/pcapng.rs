//! A writer of pcapng files: as much of the format as a capture of several interfaces with comments needs.
//!
//! <https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html>: a section header, an interface description each,
//! enhanced packets. Little-endian, nanoseconds.

use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// Which way a packet went through an interface: the low bits of epb_flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Neither: it was seen between hosts.
    Passing = 0,
    /// Received.
    In = 1,
    /// Sent.
    Out = 2,
}

/// See the module.
pub struct PcapNg<W: Write> {
    out: W,
}

impl<W: Write> PcapNg<W> {
    /// Writes the beginning: what this is (`comment`), and the interfaces by name.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(out: W, comment: &str, interfaces: &[String]) -> io::Result<Self> {
        let mut this = Self { out };
        let mut body = Vec::new();
        body.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        option(&mut body, OPT_COMMENT, comment.as_bytes());
        end_of_options(&mut body);
        this.block(SECTION_HEADER, &body)?;
        for name in interfaces {
            let mut body = Vec::new();
            body.extend_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
            body.extend_from_slice(&[0; 6]);
            option(&mut body, IF_NAME, name.as_bytes());
            option(&mut body, IF_TSRESOL, &[9]);
            end_of_options(&mut body);
            this.block(INTERFACE, &body)?;
        }
        Ok(this)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// Of the writer.
    pub fn packet(
        &mut self,
        interface: usize,
        at_ns: u64,
        way: Way,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> io::Result<()> {
        let mut body = Vec::with_capacity(bytes.len() + 128);
        let len = (bytes.len() as u32).to_le_bytes();
        body.extend_from_slice(&(interface as u32).to_le_bytes());
        body.extend_from_slice(&((at_ns >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(at_ns as u32).to_le_bytes());
        body.extend_from_slice(&len);
        body.extend_from_slice(&len);
        padded(&mut body, bytes);
        option(&mut body, EPB_FLAGS, &(way as u32).to_le_bytes());
        if let Some(comment) = comment {
            option(&mut body, OPT_COMMENT, comment.as_bytes());
        }
        end_of_options(&mut body);
        self.block(ENHANCED_PACKET, &body)
    }

    /// Everything is written.
    ///
    /// # Errors
    /// Of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let len = (body.len() as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len)?;
        self.out.write_all(body)?;
        self.out.write_all(&len)
    }
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend_from_slice(&[0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each block's length stands at both ends and is a multiple of four; nothing is left over.
    #[test]
    fn blocks_are_framed() {
        let names = ["host 0".to_string(), "wire".to_string()];
        let mut p = PcapNg::new(Vec::new(), "seed 7", &names).unwrap();
        p.packet(1, 0x1_0000_0002, Way::Passing, &[9; 61], Some("lost")).unwrap();
        p.packet(0, 5, Way::Out, &[8; 60], None).unwrap();
        let file = p.finish().unwrap();
        let (mut kinds, mut at) = (Vec::new(), 0);
        let word = |i: usize| u32::from_le_bytes(file[i..i + 4].try_into().unwrap());
        while at < file.len() {
            let len = word(at + 4) as usize;
            assert!(len.is_multiple_of(4) && word(at + len - 4) as usize == len);
            kinds.push(word(at));
            at += len;
        }
        assert_eq!((at, kinds), (file.len(), vec![SECTION_HEADER, INTERFACE, INTERFACE, 6, 6]));
        assert!(file.windows(4).any(|w| w == b"lost") && file.windows(6).any(|w| w == b"host 0"));
    }
}
