//! Two questions to rtnetlink that make an attach error say something: who is there, and why not.
//!
//! linerate-nic has the complete netlink code but depends on this crate, so the little that is needed
//! here is spelled out over a plain socket.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

const HEADER_BYTES: usize = 16;
const IFINFOMSG_BYTES: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// What is known of an interface when an attach has failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub mtu_bytes: Option<u32>,
    pub prog_id: Option<u32>,
}

/// A refusal: errno and the extended-ack text.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub errno: i32,
    pub text: Option<String>,
}

/// Reads MTU and attached program. The error is what the kernel answered (ENODEV: no such interface).
pub(crate) fn link_facts(ifindex: u32) -> Result<LinkFacts, Refusal> {
    let reply = call(libc::RTM_GETLINK, 0, ifindex, &[])?;
    let mut facts = LinkFacts::default();
    for (kind, value) in attributes(reply.get(IFINFOMSG_BYTES..).unwrap_or_default()) {
        match kind {
            libc::IFLA_MTU => facts.mtu_bytes = u32_of(value),
            libc::IFLA_XDP => {
                for (kind, value) in attributes(value) {
                    if matches!(kind, IFLA_XDP_PROG_ID | IFLA_XDP_DRV_PROG_ID | IFLA_XDP_SKB_PROG_ID) {
                        facts.prog_id = facts.prog_id.or(u32_of(value));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// Asks for the same attach by netlink, because only netlink carries the driver's own words back.
///
/// It is refused for the same reason as the link was. Should the reason have gone away in between, the
/// program is taken off again at once (and only ours: the kernel compares the fd): what stays attached
/// must be held by a link. `None` then.
pub(crate) fn why_not(prog: BorrowedFd<'_>, ifindex: u32, mode_flag: u32) -> Option<Refusal> {
    let ours = prog.as_raw_fd();
    let set = |fd: i32, flags: u32, expected: Option<i32>| {
        let mut nest = attribute(IFLA_XDP_FD, &fd.to_ne_bytes());
        nest.extend(attribute(IFLA_XDP_FLAGS, &(flags | mode_flag).to_ne_bytes()));
        if let Some(expected) = expected {
            nest.extend(attribute(IFLA_XDP_EXPECTED_FD, &expected.to_ne_bytes()));
        }
        call(
            libc::RTM_SETLINK,
            libc::NLM_F_ACK as u16,
            ifindex,
            &attribute(libc::IFLA_XDP | NLA_F_NESTED, &nest),
        )
    };
    let refusal = set(ours, XDP_FLAGS_UPDATE_IF_NOEXIST, None).err();
    if refusal.is_none() {
        let _ = set(-1, XDP_FLAGS_REPLACE, Some(ours));
    }
    refusal
}

fn call(kind: u16, flags: u16, ifindex: u32, attributes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let local =
        |error: std::io::Error| Refusal { errno: error.raw_os_error().unwrap_or(libc::EIO), text: None };
    let socket = Socket::new(NETLINK_ROUTE).map_err(local)?;
    // An old kernel without extended acks still answers with an errno.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);

    let len = HEADER_BYTES + IFINFOMSG_BYTES + attributes.len();
    let mut message = Vec::with_capacity(len);
    message.extend((len as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence number
    message.extend(0u32.to_ne_bytes()); // port: the kernel fills it in
    message.extend([0u8; 4]); // family, pad, device type
    message.extend(ifindex.to_ne_bytes());
    message.extend([0u8; 8]); // flags, change mask
    message.extend(attributes);
    socket.send_to(&message, &SocketAddr::new(0, 0), 0).map_err(local)?;
    let (reply, _) = socket.recv_from_full().map_err(local)?;
    parse_reply(&reply)
}

fn parse_reply(reply: &[u8]) -> Result<Vec<u8>, Refusal> {
    let short = || Refusal { errno: libc::EPROTO, text: None };
    let len = u32_of(reply).ok_or_else(short)? as usize;
    let kind = u16_at(reply, 4).ok_or_else(short)?;
    let body = reply.get(HEADER_BYTES..len).ok_or_else(short)?;
    if kind != libc::NLMSG_ERROR as u16 {
        return Ok(body.to_vec());
    }
    let errno = -(u32_of(body).ok_or_else(short)? as i32);
    if errno == 0 {
        return Ok(Vec::new());
    }
    // With NETLINK_CAP_ACK the error is followed by the request's header alone, then attributes.
    let text = attributes(body.get(4 + HEADER_BYTES..).unwrap_or_default())
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Err(Refusal { errno, text })
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u16_at(rest, 0)? as usize;
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let mut bytes = attribute(7, b"abc");
        bytes.extend(attribute(8 | NLA_F_NESTED, &[1, 2, 3, 4]));
        assert_eq!(bytes.len(), 16);
        let seen: Vec<_> = attributes(&bytes).collect();
        assert_eq!(seen, [(7, b"abc".as_slice()), (8, [1, 2, 3, 4].as_slice())]);
    }

    /// In a namespace of its own (needs root): this test again, under `unshare -n`.
    #[test]
    fn asking_why_leaves_nothing_attached_even_if_nothing_is_wrong() {
        if std::env::var_os("LINERATE_TEST_WHY_NOT").is_none() {
            let out = std::process::Command::new("unshare")
                .arg("-n")
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "rtnl::tests::asking_why_leaves_nothing_attached_even_if_nothing_is_wrong"])
                .env("LINERATE_TEST_WHY_NOT", "1")
                .output()
                .expect("unshare (util-linux) runs");
            let said = [out.stdout, out.stderr].concat();
            assert!(out.status.success(), "needs root: {}", String::from_utf8_lossy(&said));
            return;
        }
        use std::os::fd::AsFd;
        let mut bpf = aya::Ebpf::load(crate::steer::OBJECT).unwrap();
        let prog: &mut aya::programs::Xdp = bpf.program_mut("steer").unwrap().try_into().unwrap();
        prog.load().unwrap();
        const LO: u32 = 1;
        const XDP_FLAGS_SKB_MODE: u32 = 2;
        assert!(why_not(prog.fd().unwrap().as_fd(), LO, XDP_FLAGS_SKB_MODE).is_none());
        assert_eq!(link_facts(LO).unwrap().prog_id, None);
        assert_eq!(link_facts(4711).unwrap_err().errno, libc::ENODEV);
    }

    #[test]
    fn a_reply_cut_anywhere_is_an_error_and_no_panic() {
        let mut reply = Vec::new();
        reply.extend(48u32.to_ne_bytes());
        reply.extend((libc::NLMSG_ERROR as u16).to_ne_bytes());
        reply.extend([0; 10]);
        reply.extend((-libc::ERANGE).to_ne_bytes());
        reply.extend([0; 16]);
        reply.extend(attribute(NLMSGERR_ATTR_MSG, b"too far\0"));
        for cut in 0..reply.len() {
            assert!(parse_reply(&reply[..cut]).is_err());
        }
        let refusal = parse_reply(&reply).unwrap_err();
        assert_eq!((refusal.errno, refusal.text.as_deref()), (libc::ERANGE, Some("too far")));
    }
}
