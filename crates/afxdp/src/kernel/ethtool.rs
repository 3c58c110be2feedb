//! The properties of an interface, by ioctl: netdevice(7) and ethtool.

use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

// linux/sockios.h, linux/ethtool.h
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GRSSH: u32 = 0x46;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// `struct ifreq` as the requests of this module use it: a name, and up to 24 bytes whose meaning depends on the request.
#[repr(C)]
struct IfReq {
    name: [c_char; libc::IFNAMSIZ],
    data: IfReqData,
}

#[repr(C)]
union IfReqData {
    pointer: *mut c_void,
    bytes: [u8; 24],
}

/// Queries about one interface.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
    name: [c_char; libc::IFNAMSIZ],
}

/// The sizes of a NIC's rings, in descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NicRings {
    /// The receive ring: the current and the largest size.
    pub rx: (u32, u32),
    /// The transmit ring: the current and the largest size.
    pub tx: (u32, u32),
}

/// The numbers of a NIC's queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Channels {
    /// Receive queues: the current and the largest number.
    pub rx: (u32, u32),
    /// Transmit queues: the current and the largest number.
    pub tx: (u32, u32),
}

/// The receive-side scaling of a NIC.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Rss {
    /// The indirection table: the queue for each value of the hash's low bits.
    pub indirection: Vec<u32>,
    /// The hash key.
    pub key: Vec<u8>,
    /// The hash is the same for both directions of a flow.
    pub symmetric: bool,
}

impl Ethtool {
    /// Queries about the interface `name`.
    ///
    /// # Errors
    /// `InvalidInput` if `name` cannot be the name of an interface; the errors of socket(2).
    pub fn new(name: &str) -> io::Result<Self> {
        let mut bytes = [0; libc::IFNAMSIZ];
        if name.is_empty() || name.len() >= bytes.len() || name.contains('\0') {
            let text = format!("'{name}' cannot be the name of an interface");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        for (byte, from) in bytes.iter_mut().zip(name.bytes()) {
            *byte = from as c_char;
        }
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self {
            socket,
            name: bytes,
        })
    }

    /// The interface index.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface.
    pub fn index(&self) -> io::Result<u32> {
        let name: String = self
            .name
            .iter()
            .take_while(|&&c| c != 0)
            .map(|&c| char::from(c as u8))
            .collect();
        Ok(netdevice::name_to_index(&self.socket, &name)?)
    }

    /// The largest IP packet, in bytes.
    ///
    /// # Errors
    /// The errors of ioctl(2); `ENODEV` if there is no such interface.
    pub fn mtu(&self) -> io::Result<usize> {
        let bytes = self.plain(libc::SIOCGIFMTU)?;
        Ok(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).max(0) as usize)
    }

    /// The MAC address.
    ///
    /// # Errors
    /// `Unsupported` if this is not an Ethernet interface; the errors of ioctl(2).
    pub fn mac(&self) -> io::Result<[u8; 6]> {
        let bytes = self.plain(libc::SIOCGIFHWADDR)?;
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        if family != libc::ARPHRD_ETHER {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "not an Ethernet interface",
            ));
        }
        Ok([bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// Whether the interface is administratively up, and whether it has a carrier.
    ///
    /// # Errors
    /// The errors of ioctl(2).
    pub fn is_up(&self) -> io::Result<(bool, bool)> {
        let bytes = self.plain(libc::SIOCGIFFLAGS)?;
        let flags = i32::from(i16::from_ne_bytes([bytes[0], bytes[1]]));
        Ok((flags & libc::IFF_UP != 0, flags & libc::IFF_RUNNING != 0))
    }

    /// The driver's name.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the driver does not report it; the errors of ioctl(2).
    pub fn driver(&self) -> io::Result<String> {
        // struct ethtool_drvinfo: the command, then names of 32 bytes. The driver's name is the first.
        let mut info = [0_u32; 49];
        self.ask(ETHTOOL_GDRVINFO, &mut info)?;
        Ok(text(&info[1..9]))
    }

    /// The sizes of the rings.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the driver does not report them; the errors of ioctl(2).
    pub fn rings(&self) -> io::Result<NicRings> {
        let mut rings = [0_u32; 9];
        self.ask(ETHTOOL_GRINGPARAM, &mut rings)?;
        let [_, rx_max, _, _, tx_max, rx, _, _, tx] = rings;
        Ok(NicRings {
            rx: (rx, rx_max),
            tx: (tx, tx_max),
        })
    }

    /// The numbers of queues.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the driver does not report them; the errors of ioctl(2).
    pub fn channels(&self) -> io::Result<Channels> {
        let mut channels = [0_u32; 9];
        self.ask(ETHTOOL_GCHANNELS, &mut channels)?;
        let [_, rx_max, tx_max, _, both_max, rx, tx, _, both] = channels;
        Ok(Channels {
            rx: (rx + both, rx_max.max(both_max)),
            tx: (tx + both, tx_max.max(both_max)),
        })
    }

    /// The receive-side scaling.
    ///
    /// # Errors
    /// `EOPNOTSUPP` if the driver does not report it; the errors of ioctl(2).
    pub fn rss(&self) -> io::Result<Rss> {
        // struct ethtool_rxfh: six words, then the table and the key. The first call returns their sizes.
        let mut head = [0_u32; 7];
        self.ask(ETHTOOL_GRSSH, &mut head)?;
        let (table, key) = (head[2] as usize, head[3] as usize);
        if table > 65536 || key > 4096 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut all = vec![0_u32; 7 + table + key.div_ceil(4)];
        all[2] = head[2];
        all[3] = head[3];
        self.ask(ETHTOOL_GRSSH, &mut all)?;
        let config = &all[6..];
        let mut bytes: Vec<u8> = config[table..]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        bytes.truncate(key);
        // The second byte of word 4 is the transformation of the hash's input: RXH_XFRM_SYM_XOR, or in later kernels
        // RXH_XFRM_SYM_OR_XOR. A key that repeats its first two bytes makes the Toeplitz hash symmetric as well.
        let transform = all[4].to_ne_bytes()[1];
        let repeats = bytes.len() > 2 && bytes.chunks(2).all(|pair| bytes.starts_with(pair));
        Ok(Rss {
            indirection: config[..table].to_vec(),
            symmetric: transform & 3 != 0 || repeats,
            key: bytes,
        })
    }

    /// The names of the features that are on (`rx-lro`, `rx-gro-hw`, ...).
    ///
    /// # Errors
    /// The errors of ioctl(2).
    pub fn features(&self) -> io::Result<Vec<String>> {
        // struct ethtool_sset_info: the command, a word, a mask of 64 bits, then a word for each bit.
        let mut set = [0_u32; 5];
        set[2] = 1 << ETH_SS_FEATURES;
        self.ask(ETHTOOL_GSSET_INFO, &mut set)?;
        let count = set[4] as usize;
        if count > 1024 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // struct ethtool_gstrings: three words, then the names.
        let words = ETH_GSTRING_LEN / 4;
        let mut names = vec![0_u32; 3 + count * words];
        names[1] = ETH_SS_FEATURES;
        names[2] = count as u32;
        self.ask(ETHTOOL_GSTRINGS, &mut names)?;
        // struct ethtool_gfeatures: two words, then for each 32 features: available, requested, active, never changed.
        let blocks = count.div_ceil(32);
        let mut features = vec![0_u32; 2 + blocks * 4];
        features[1] = blocks as u32;
        self.ask(ETHTOOL_GFEATURES, &mut features)?;
        let on = |n: usize| features[2 + n / 32 * 4 + 2] & 1 << (n % 32) != 0;
        let name = |n: usize| text(&names[3 + n * words..3 + (n + 1) * words]);
        Ok((0..count).filter(|&n| on(n)).map(name).collect())
    }

    /// A request whose reply is in the `struct ifreq`.
    fn plain(&self, request: libc::c_ulong) -> io::Result<[u8; 24]> {
        let mut ifreq = IfReq {
            name: self.name,
            data: IfReqData { bytes: [0; 24] },
        };
        // SAFETY: these requests read the name and write at most 24 bytes of a `struct ifreq`, which outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), request as _, &raw mut ifreq) };
        check(result)?;
        // SAFETY: all bytes were initialised, and any bytes are valid.
        Ok(unsafe { ifreq.data.bytes })
    }

    /// An ethtool request. `words` is its structure, whose first word is the command. A length in the structure must not exceed
    /// the length of `words`.
    fn ask(&self, command: u32, words: &mut [u32]) -> io::Result<()> {
        words[0] = command;
        let mut ifreq = IfReq {
            name: self.name,
            data: IfReqData {
                pointer: words.as_mut_ptr().cast(),
            },
        };
        // SAFETY: the kernel writes the structure of the command into `words`. The callers in this module make `words` as large
        // as that structure with the number of elements announced in it, and `words` outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
        check(result)
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The text in `words`, up to the first zero byte.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
