//! The string of `--so_flags`: words between commas.

use std::net::IpAddr;

use linerate_net::addr::IfAddr;

/// What the words say.
#[derive(Clone, PartialEq, Debug)]
pub struct Flags {
    /// `real`: the clock of the host instead of one that jumps.
    pub real: bool,
    /// `profile=linux` (the default) or `profile=rfc`.
    pub profile: Profile,
    /// `local=ADDR/LEN`, as often as needed.
    pub local: Vec<IfAddr>,
    /// `mtu=N`: of the link, for both families.
    pub mtu: Option<u16>,
}

/// Whose habits the stack takes where the RFCs leave a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Linux's.
    Linux,
    /// The plain text of the RFCs: delayed ACKs from the first segment.
    Rfc,
}

impl Default for Flags {
    fn default() -> Self {
        Self { real: false, profile: Profile::Linux, local: Vec::new(), mtu: None }
    }
}

impl Flags {
    /// Reads the words; `None` is the option's absence.
    ///
    /// # Errors
    /// A line that says which word is wrong.
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        let mut flags = Self::default();
        for word in text.unwrap_or("").split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                None if word == "virtual" => flags.real = false,
                None if word == "real" => flags.real = true,
                Some(("profile", "linux")) => flags.profile = Profile::Linux,
                Some(("profile", "rfc")) => flags.profile = Profile::Rfc,
                // The link is point to point: everything is routed out of it in any case.
                Some(("gw", "any")) => {}
                Some(("local", addr)) => flags.local.push(parse_addr(addr)?),
                Some(("mtu", n)) => flags.mtu = Some(parse_mtu(n)?),
                _ => {
                    return Err(format!(
                        "unknown word '{word}' (virtual, real, profile=linux|rfc, local=ADDR/LEN, gw=any, mtu=N)"
                    ));
                }
            }
        }
        if flags.local.is_empty() {
            // The addresses that the interface's description gives to both sides.
            flags.local =
                ["192.168.0.1/16", "fd3d:0a0b:17d6::1/64"].map(|a| parse_addr(a).expect("constant")).into();
        }
        Ok(flags)
    }
}

fn parse_addr(text: &str) -> Result<IfAddr, String> {
    let wrong = || format!("'{text}' is not ADDRESS/LENGTH");
    let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    let prefix_len: u8 = len.parse().map_err(|_| wrong())?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    if prefix_len > most || addr.is_unspecified() || addr.is_multicast() {
        return Err(wrong());
    }
    Ok(IfAddr { addr, prefix_len })
}

fn parse_mtu(text: &str) -> Result<u16, String> {
    // 576 is what the stack takes at least, and every script's segments fit above it.
    text.parse()
        .ok()
        .filter(|n| *n >= 576)
        .ok_or_else(|| format!("mtu={text}: not a number from 576 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word() {
        let f =
            Flags::parse(Some("real,profile=rfc,local=10.0.0.1/8,local=fd00::1/64,gw=any,mtu=1520")).unwrap();
        assert!(f.real && f.profile == Profile::Rfc && f.mtu == Some(1520) && f.local.len() == 2);
    }

    #[test]
    fn absent_or_empty_is_the_default() {
        let none = Flags::parse(None).unwrap();
        assert_eq!(none, Flags::parse(Some("")).unwrap());
        assert_eq!(none.local[0].addr.to_string(), "192.168.0.1");
        assert!(!none.real && none.profile == Profile::Linux);
    }

    #[test]
    fn wrong_words_are_named() {
        for word in
            ["fast", "profile=bsd", "local=1.2.3", "local=10.0.0.1/33", "gw=10.0.0.1", "mtu=12", "mtu=x", "="]
        {
            let e = Flags::parse(Some(word)).unwrap_err();
            assert!(e.contains(word.split('=').next_back().unwrap()), "{word}: {e}");
        }
    }
}
