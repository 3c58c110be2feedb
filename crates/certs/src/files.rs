//! Reads the files of a configuration: bounded, and erased from memory after use.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::Error;

/// The largest file: a system's bundle of roots has about a quarter of a megabyte.
const MOST_BYTES: u64 = 4 << 20;

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// The SHA-256 digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The files that one load reads, with the digest of each, and what an operator should know of them.
#[derive(Default)]
pub(crate) struct Files {
    read: Vec<(PathBuf, Digest)>,
    warnings: Vec<String>,
}

impl Files {
    /// The content of a file. The memory is erased when it is dropped.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, or has more than 4 MiB.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
        let content = read(path)?;
        if !self.read.iter().any(|(known, _)| known == path) {
            self.read.push((path.to_owned(), sha256(&content)));
        }
        Ok(content)
    }

    /// The same for a file with secrets: warns if anybody besides the owner can read or change it.
    pub(crate) fn read_secret(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
        if let Some(mode) = open_to_others(path) {
            self.warn(format!(
                "{}: has secrets, and its mode {mode:04o} lets others use it (chmod 600 {0})",
                path.display()
            ));
        }
        self.read(path)
    }

    /// Notes what is allowed and probably a mistake.
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The paths of the files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(|(path, _)| path.as_path())
    }

    /// The files of `self` whose content differs from what `before` has of them.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let changed = |file: &&(PathBuf, Digest)| !before.read.contains(*file);
        let changed = self.read.iter().filter(changed);
        changed.map(|(path, _)| path.clone()).collect()
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let wrong = |why: std::io::Error| Error::of(path, readable(&why));
    let mut file = open(path).map_err(wrong)?;
    let metadata = file.metadata().map_err(wrong)?;
    if !metadata.is_file() {
        return Err(Error::of(path, "it is not a regular file"));
    }
    // One allocation that never grows: a vector that grows would leave copies of the secret behind.
    let room = metadata.len().min(MOST_BYTES) as usize + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.by_ref()
        .take(room as u64)
        .read_to_end(&mut content)
        .map_err(wrong)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(Error::of(path, "it has more than 4 MiB"));
    }
    if content.len() == room {
        return Err(Error::of(path, "it grows while it is read"));
    }
    Ok(content)
}

/// Opens a file for reading. A FIFO would block for ever, and is refused by the caller.
#[cfg(unix)]
fn open(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

fn readable(why: &std::io::Error) -> String {
    match why.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => why.to_string(),
    }
}

/// The permission bits of a file that its group or others may read or write.
#[cfg(unix)]
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o066 != 0).then_some(mode)
}

#[cfg(not(unix))]
pub(crate) fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// Writes a file whole or not at all: a new file that is renamed to `path`. A secret is readable by its owner alone from its first byte.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, content: &[u8], secret: bool) -> Result<(), Error> {
    let wrong = |why: std::io::Error| Error::of(path, format!("cannot write: {}", readable(&why)));
    let name = path
        .file_name()
        .ok_or_else(|| Error::of(path, "it names no file"))?;
    let mut new = name.to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(new);
    let _ = std::fs::remove_file(&new);
    let written = create(&new, secret).and_then(|mut file| {
        std::io::Write::write_all(&mut file, content)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| std::fs::rename(&new, path));
    renamed.map_err(|why| {
        let _ = std::fs::remove_file(&new);
        wrong(why)
    })
}

/// Creates a file that must not exist.
fn create(path: &Path, secret: bool) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    mode(&mut options, secret);
    options.open(path)
}

#[cfg(unix)]
pub(crate) fn mode(options: &mut std::fs::OpenOptions, secret: bool) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(if secret { 0o600 } else { 0o644 });
}

#[cfg(not(unix))]
pub(crate) fn mode(_: &mut std::fs::OpenOptions, _: bool) {}
