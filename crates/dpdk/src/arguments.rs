//! EAL's arguments: splits a line of text, and adds the arguments that EAL needs.

use crate::Error;

/// Splits a line into arguments as a shell does: at white space, but not within `'...'` or `"..."`. There are no escapes.
///
/// # Errors
/// [`Error::Arguments`] if a quote is not closed.
pub fn split_arguments(line: &str) -> Result<Vec<String>, Error> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => current.get_or_insert_default().push(character),
            None if character == '\'' || character == '"' => {
                quote = Some(character);
                current.get_or_insert_default();
            }
            None if character.is_whitespace() => arguments.extend(current.take()),
            None => current.get_or_insert_default().push(character),
        }
    }
    if let Some(open) = quote {
        return Err(Error::Arguments(format!(
            "the quote {open} is not closed in: {line}"
        )));
    }
    arguments.extend(current);
    Ok(arguments)
}

/// Options that name the cores EAL runs on.
const CORES: [&str; 5] = ["-l", "-c", "--lcores", "--corelist", "--coremask"];

/// The arguments for EAL: a program name, the caller's arguments, and, unless those name cores, one EAL thread (the caller's) with
/// the caller's affinity. The lcores are threads of this process that register with EAL, so EAL must start and pin none.
///
/// # Errors
/// [`Error::Arguments`] if an argument has a NUL byte, or would end the process.
pub(crate) fn complete(arguments: &[String], cpus: &str) -> Result<Vec<String>, Error> {
    if let Some(bad) = arguments.iter().find(|text| text.contains('\0')) {
        let text = format!("the argument {} has a NUL byte", bad.escape_default());
        return Err(Error::Arguments(text));
    }
    if arguments
        .iter()
        .any(|text| text == "-h" || text == "--help")
    {
        let text = "--help ends the process; the arguments are in DPDK's guide, section \"EAL parameters\"";
        return Err(Error::Arguments(text.into()));
    }
    let mut all = vec!["hioload".to_owned()];
    let names_cores = |text: &String| {
        CORES.iter().any(|name| {
            let rest = text.strip_prefix(name);
            // An option and its value may be one word: `-l0-3`, `--lcores=0`.
            rest.is_some_and(|rest| {
                !name.starts_with("--") || rest.is_empty() || rest.starts_with('=')
            })
        })
    };
    if !arguments.iter().any(names_cores) {
        all.push(format!("--lcores=0@({cpus})"));
    }
    all.extend_from_slice(arguments);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_line_is_split_at_white_space_outside_quotes() {
        for (line, parts) in [
            ("", &[][..]),
            ("  \t ", &[]),
            ("--no-pci  -m 256", &["--no-pci", "-m", "256"]),
            (
                "--lcores='0@(0-3)' -n \"4\"",
                &["--lcores=0@(0-3)", "-n", "4"],
            ),
            ("--vdev='net_ring0, x' ''", &["--vdev=net_ring0, x", ""]),
        ] {
            assert_eq!(split_arguments(line).expect("closed"), words(parts));
        }
        let error = split_arguments("--vdev='net").expect_err("not closed");
        assert!(error.to_string().contains("is not closed"), "{error}");
    }

    #[test]
    fn cores_are_added_unless_named() {
        let complete = |line: &str| {
            complete(&split_arguments(line).expect("closed"), "0,3").expect("passed on")
        };
        assert_eq!(
            complete("--no-pci"),
            words(&["hioload", "--lcores=0@(0,3)", "--no-pci"])
        );
        for line in ["-l 1", "-l1", "--lcores=1", "--lcores 1", "-c 3", "-c3"] {
            assert_eq!(complete(line).len(), 1 + line.split(' ').count(), "{line}");
        }
        // These do not name cores.
        assert_eq!(complete("--legacy-mem").len(), 3);
        assert_eq!(complete("--log-level=8").len(), 3);
    }

    #[test]
    fn an_argument_that_would_end_the_process_is_refused() {
        for bad in ["-h", "--help", "a\0b"] {
            complete(&words(&[bad]), "0").expect_err("refused");
        }
    }
}
