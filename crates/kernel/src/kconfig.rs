//! The configuration that the running kernel was built with.

use std::io::Read;

use crate::error::Error;
use crate::sys;

/// The `CONFIG_*` lines of the kernel's build.
#[derive(Clone, Debug)]
pub struct Kconfig {
    /// The file that it comes from.
    pub source: String,
    text: String,
}

impl Kconfig {
    /// Reads `/proc/config.gz`, else `/boot/config-RELEASE`, else the one among the modules.
    pub fn read() -> Result<Kconfig, Error> {
        let release = sys::kernel_release();
        let compressed = "/proc/config.gz";
        if let Ok(bytes) = std::fs::read(compressed) {
            let text = gunzip(&bytes).ok_or_else(|| Error::malformed(format!("read {compressed}"), "it is damaged"))?;
            return Ok(Kconfig { source: compressed.into(), text });
        }
        let candidates = [
            format!("/boot/config-{release}"),
            format!("/lib/modules/{release}/config"),
            format!("/lib/modules/{release}/build/.config"),
        ];
        for source in candidates {
            let mut text = String::new();
            let read =
                std::fs::File::open(&source).and_then(|file| file.take(MOST_BYTES as u64).read_to_string(&mut text));
            if read.is_ok() {
                return Ok(Kconfig { source, text });
            }
        }
        Err(Error::Refused {
            asked: "read the kernel's configuration".into(),
            reason: format!("neither {compressed} nor /boot/config-{release} is there"),
            hint: Some("modprobe configs, if the kernel has CONFIG_IKCONFIG as a module".into()),
        })
    }

    /// The value of an option by its full name: `y`, `m`, a number or a text; `None` if it is not set.
    pub fn value(&self, option: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))
    }
}

/// No configuration is larger (6.18's has 0.3 MB).
const MOST_BYTES: usize = 4 << 20;

/// The contents of a gzip file of one member (RFC 1952), `None` if it is damaged.
fn gunzip(bytes: &[u8]) -> Option<String> {
    const HEADER_CRC: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    /// What the format starts with; the third byte is the method, deflate.
    const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
    let flags = *bytes.get(3)?;
    let mut rest = bytes.strip_prefix(&MAGIC)?.get(7..)?;
    if flags & EXTRA != 0 {
        let len = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        rest = rest.get(2 + usize::from(len)..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(rest, MOST_BYTES).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'CONFIG_BPF=y\n# CONFIG_X is not set\nCONFIG_HZ=250\n' | gzip -n9`
    const SMALL: &[u8] = include_bytes!("../tests/data/config.gz");

    #[test]
    fn options_of_a_compressed_file() {
        let config = Kconfig { source: "test".into(), text: gunzip(SMALL).expect("whole") };
        assert_eq!(config.value("CONFIG_BPF"), Some("y"));
        assert_eq!(config.value("CONFIG_HZ"), Some("250"));
        assert_eq!(config.value("CONFIG_X"), None);
        assert_eq!(config.value("CONFIG_B"), None);
    }

    #[test]
    fn damaged_files_are_refused() {
        for len in 0..SMALL.len() - 8 {
            assert_eq!(gunzip(&SMALL[..len]), None, "cut to {len}");
        }
        for at in 0..SMALL.len() {
            let mut bytes = SMALL.to_vec();
            bytes[at] ^= 0xff;
            let _ = gunzip(&bytes);
        }
        assert_eq!(gunzip(&[0x1f, 0x8b, 8, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), None);
    }

    #[test]
    fn this_kernels_configuration() {
        match Kconfig::read() {
            Ok(config) => assert_eq!(config.value("CONFIG_BPF_SYSCALL"), Some("y"), "{}", config.source),
            Err(error) => println!("skipped: {error}"),
        }
    }
}
