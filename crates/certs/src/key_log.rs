//! The file of secrets with which Wireshark reads a recording (RFC 9850, formerly known as SSLKEYLOGFILE). For debugging only.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

use crate::Error;
use crate::files::{mode, open_to_others};

/// Appends the secrets of every connection to a file.
pub(crate) struct KeyLogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl KeyLogFile {
    /// Opens the file, or creates it for its owner alone, and warns in the log.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        options.append(true).create(true);
        mode(&mut options, true);
        let file = options
            .open(path)
            .map_err(|why| Error::of(path, format!("cannot write: {why}")))?;
        tracing::warn!(
            file = %path.display(),
            "the secrets of all connections are written to a file: whoever reads it decrypts them. This is for debugging only"
        );
        if let Some(mode) = open_to_others(path) {
            tracing::warn!(
                file = %path.display(),
                mode = %format_args!("{mode:04o}"),
                "others can read the file of secrets"
            );
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let room = label.len() + 2 * (client_random.len() + secret.len()) + 3;
        let mut line = Zeroizing::new(String::with_capacity(room));
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                for digit in [byte >> 4, byte & 15] {
                    line.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
                }
            }
        }
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk costs the recording, not the connection.
        let _ = file.write_all(line.as_bytes());
    }
}
