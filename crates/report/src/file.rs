//! Reports as files.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::data::{FORMAT, Report};

/// The reason why a text is not a report.
#[derive(Debug)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is not JSON, or lacks a field of a report.
    Json(serde_json::Error),
    /// The JSON has no format number.
    NoFormat,
    /// A newer version of hioload wrote the report, with this format.
    Newer(u64),
}

const NO_REPORT: &str = "is not a report of hioload load --json";

/// The text has no subject, so that the name of the file can precede it.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "{NO_REPORT}: {error}"),
            Self::NoFormat => write!(f, "{NO_REPORT}: it has no format number"),
            Self::Newer(format) => write!(
                f,
                "has format {format}, which a newer hioload wrote; this version reads formats up to {FORMAT}"
            ),
        }
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::NoFormat | Self::Newer(_) => None,
        }
    }
}

/// The reason why a file was not read as a report. The text names the file.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    Io(PathBuf, io::Error),
    /// The file does not hold a report.
    Parse(PathBuf, ParseError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Parse(path, error) => write!(f, "{} {error}", path.display()),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Parse(_, error) => Some(error),
        }
    }
}

/// A file that was not written. The text names the file.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Report {
    /// The report as JSON text, with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report has string keys alone");
        text.push('\n');
        text
    }

    /// Reads a file that `--json` wrote.
    ///
    /// # Errors
    /// If the file cannot be read, is not a report, or was written by a newer version of hioload.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let text = fs::read(path).map_err(|error| ReadError::Io(path.to_owned(), error))?;
        Self::parse(&text).map_err(|error| ReadError::Parse(path.to_owned(), error))
    }

    /// Parses the text of a report.
    ///
    /// # Errors
    /// If the text is not a report, or was written by a newer version of hioload.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let value: serde_json::Value = serde_json::from_slice(text).map_err(ParseError::Json)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        match format {
            Some(format) if format > u64::from(FORMAT) => return Err(ParseError::Newer(format)),
            Some(1..) => {}
            _ => return Err(ParseError::NoFormat),
        }
        serde_json::from_value(value).map_err(ParseError::Json)
    }
}

/// Writes a file atomically: a reader sees either the old or the new content. A pipe or a device is written directly.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    write_whole(path, content).map_err(|error| WriteError {
        path: path.to_owned(),
        error,
    })
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(io::Error::other("it is a directory"));
    }
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(content);
    }
    // A symbolic link is kept, and its target is replaced.
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

/// Makes a new file in the directory of the target, for a rename.
fn draft(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::other("the path names no file"))?
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
    Err(last.unwrap_or_else(|| io::Error::other("no free name for a temporary file")))
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
    fn a_written_report_is_read_and_no_draft_is_left() {
        let folder = Folder::new("written");
        let path = folder.0.join("report.json");
        for report in [synthetic::report("echo", 2), synthetic::attacked(1)] {
            write(&path, report.to_json().as_bytes()).expect("it can be written");
            assert_eq!(Report::read(&path).expect("it is a report"), report);
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
    fn an_error_names_the_file() {
        let folder = Folder::new("unwritable");
        for path in [folder.0.join("missing/report.json"), folder.0.clone()] {
            let why = write(&path, b"x").expect_err("it cannot be").to_string();
            assert!(
                why.contains("cannot write") && why.contains("unwritable"),
                "{why}"
            );
            assert!(!why.contains('\n'), "{why}");
        }
        assert_eq!(fs::read_dir(&folder.0).expect("it is there").count(), 0);
    }

    #[test]
    fn files_that_are_not_reports_are_refused() {
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
            let why = Report::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(why.contains(part) && !why.contains('\n'), "{text}: {why}");
        }
        let why = Report::read(Path::new("/nonexistent/a.json"))
            .expect_err("it is not there")
            .to_string();
        assert!(
            why.starts_with("cannot read /nonexistent/a.json: "),
            "{why}"
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let report = synthetic::report("echo", 1);
        let text =
            report
                .to_json()
                .replacen("\"format\": 1", "\"new\": {\"x\": []}, \"format\": 1", 1);
        assert_eq!(
            Report::parse(text.as_bytes()).expect("it is a report"),
            report
        );
    }
}
