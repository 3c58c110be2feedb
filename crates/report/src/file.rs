//! Reports as files: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::{FORMAT, Report};

impl Report {
    /// The JSON text of it, with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report has string keys alone");
        text.push('\n');
        text
    }

    /// Reads what `--json` wrote.
    ///
    /// # Errors
    /// In one line that names the file: it cannot be read, is no report, or a newer version of hioload wrote it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = path.display();
        let text = fs::read(path).map_err(|why| format!("cannot read {file}: {why}"))?;
        Self::parse(&text).map_err(|why| format!("{file} {why}"))
    }

    /// The same of text at hand.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence without its subject.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        const NO_REPORT: &str = "is not a report of hioload load --json";
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|why| format!("{NO_REPORT}: {why}"))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        match format {
            Some(format) if format > u64::from(FORMAT) => {
                return Err(format!(
                    "has format {format}, which a newer hioload wrote; this one reads formats up to {FORMAT}"
                ));
            }
            Some(1..) => {}
            _ => return Err(format!("{NO_REPORT}: it has no format number")),
        }
        serde_json::from_value(value).map_err(|why| format!("{NO_REPORT}: {why}"))
    }
}

/// Writes a file such that whoever reads it sees the old content or the new, never a part. A pipe or a device is written
/// to as it is.
///
/// # Errors
/// In one line that names the file.
pub fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    write_whole(path, content).map_err(|why| format!("cannot write {}: {why}", path.display()))
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::other("it is a folder"));
    }
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(content);
    }
    // A link stays one: what it points to is replaced.
    let target = match there {
        Some(_) => fs::canonicalize(path)?,
        None => path.to_owned(),
    };
    let (draft, mut file) = draft(&target)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, &target));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// A new file beside the target, so that a rename can put it in its place.
fn draft(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?
        .to_string_lossy();
    let pid = std::process::id();
    let mut last = None;
    for n in 0..100 {
        let draft = target.with_file_name(format!(".{name}.{pid}.{n}"));
        match OpenOptions::new().write(true).create_new(true).open(&draft) {
            Ok(file) => return Ok((draft, file)),
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => last = Some(why),
            Err(why) => return Err(why),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no free name beside it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hioload-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder can be made");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is_left() {
        let folder = Folder::new("written");
        let path = folder.0.join("report.json");
        for report in [synthetic::report("echo", 2), synthetic::attacked(1)] {
            write(&path, report.to_json().as_bytes()).expect("it can be written");
            assert_eq!(Report::read(&path), Ok(report));
        }
        let files = fs::read_dir(&folder.0)
            .expect("the folder is there")
            .count();
        assert_eq!(files, 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_device_a_device() {
        let folder = Folder::new("link");
        let (target, link) = (folder.0.join("target"), folder.0.join("link"));
        write(&target, b"old").expect("it can be written");
        std::os::unix::fs::symlink(&target, &link).expect("links can be made");
        write(&link, b"new").expect("it can be written");
        assert_eq!(fs::read(&target).expect("it is there"), b"new");
        assert!(link.is_symlink());
        write(Path::new("/dev/null"), b"gone").expect("it takes all");
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn what_cannot_be_written_is_told_with_its_name() {
        let folder = Folder::new("unwritable");
        for path in [folder.0.join("missing/report.json"), folder.0.clone()] {
            let why = write(&path, b"x").expect_err("it cannot be");
            assert!(
                why.contains("cannot write") && why.contains("unwritable"),
                "{why}"
            );
            assert!(!why.contains('\n'), "{why}");
        }
        assert_eq!(fs::read_dir(&folder.0).expect("it is there").count(), 0);
    }

    #[test]
    fn other_files_are_told_apart() {
        let newer =
            synthetic::report("echo", 1)
                .to_json()
                .replacen("\"format\": 1", "\"format\": 2", 1);
        let older = newer.replacen("\"format\": 2", "\"format\": 0", 1);
        for (text, part) in [
            ("", "is not a report"),
            ("{", "is not a report"),
            ("[1]", "no format number"),
            ("{\"format\":\"1\"}", "no format number"),
            ("{\"format\":1}", "is not a report"),
            (older.as_str(), "no format number"),
            (newer.as_str(), "a newer hioload wrote"),
        ] {
            let why = Report::parse(text.as_bytes()).expect_err(text);
            assert!(why.contains(part) && !why.contains('\n'), "{text}: {why}");
        }
        let why = Report::read(Path::new("/nonexistent/a.json")).expect_err("it is not there");
        assert!(
            why.starts_with("cannot read /nonexistent/a.json: "),
            "{why}"
        );
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let report = synthetic::report("echo", 1);
        let text =
            report
                .to_json()
                .replacen("\"format\": 1", "\"new\": {\"x\": []}, \"format\": 1", 1);
        assert_eq!(Report::parse(text.as_bytes()), Ok(report));
    }
}
