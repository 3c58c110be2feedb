//! Errors of an operator: one line that names the error, and exit code 2.

use std::fs;
use std::net::TcpListener;

use crate::common::{Server, run};

/// Runs `hioload` with wrong arguments and returns the line that it prints.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    println!("{stderr}");
    stderr
}

/// The line has to contain these words.
fn assert_names(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = other.local_addr().expect("bound").to_string();
    assert_names(&complaint(&["serve", "--listen", &addr]), &[&addr]);

    // The same for the port of a server that shares it among its lcores.
    let server = Server::start(&[]);
    let addr = server.addr().to_string();
    assert_names(&complaint(&["serve", "--listen", &addr]), &[&addr]);
}

#[test]
fn wrong_addresses_are_reported() {
    for addr in [
        "nonsense",
        "127.0.0.1",
        "127.0.0.1:99999",
        "300.1.1.1:80",
        ":::",
        "",
    ] {
        let line = complaint(&["serve", "--listen", addr]);
        assert_names(&line, &["listen", addr]);
    }
    // A valid address that no machine has: it is reserved for documentation.
    assert_names(
        &complaint(&["serve", "--listen", "192.0.2.1:9001"]),
        &["192.0.2.1:9001"],
    );
}

#[test]
fn wrong_flags_and_values_are_reported() {
    for (arguments, words) in [
        (&["serve", "--no-such-flag"][..], &["--no-such-flag"][..]),
        (&["no-such-command"], &["no-such-command"]),
        (
            &["serve", "--max-message", "many"],
            &["--max-message", "many"],
        ),
        (&["serve", "--max-message", "-1"], &["-1"]),
        (&["serve", "--max-message"], &["--max-message"]),
        (&["serve", "--idle-timeout", "2"], &["--idle-timeout", "2"]),
        (
            &["serve", "--handshake-timeout", "2 fortnights"],
            &["--handshake-timeout", "2 fortnights"],
        ),
        (
            &["serve", "--send-policy", "hope"],
            &["--send-policy", "hope", "drop-oldest"],
        ),
        (
            &["serve", "--idle", "sometimes"],
            &["--idle", "sometimes", "adaptive"],
        ),
        (&["serve", "--lcores", "0"], &["--lcores", "0"]),
        (&["serve", "--lcores", "cpu:4095"], &["4095"]),
        (
            &["serve", "--transport", "pigeon"],
            &["--transport", "pigeon"],
        ),
        (&["connect"], &["URL"]),
        (&["connect", "gopher://127.0.0.1/"], &["gopher"]),
    ] {
        assert_names(&complaint(arguments), words);
    }
}

#[test]
fn af_xdp_reports_what_is_missing() {
    let asked = |more: &[&'static str]| {
        let mut arguments = vec!["serve", "--transport", "af-xdp"];
        arguments.extend(more);
        complaint(&arguments)
    };
    assert_names(&asked(&[]), &["--interface"]);
    assert_names(&asked(&["--interface", "nosuchif0"]), &["--ip"]);
    let ours = ["--interface", "nosuchif0", "--ip", "10.77.0.2/24"];
    assert_names(&asked(&ours), &["127.0.0.1:9001", "10.77.0.2"]);
    let whole = [&ours[..], &["--listen", "10.77.0.2:9001"]].concat();
    // The arguments are complete: only the build or the machine can be missing something.
    if cfg!(feature = "af-xdp") {
        assert_names(&asked(&whole), &["nosuchif0"]);
    } else {
        assert_names(&asked(&whole), &["--features af-xdp", "clang"]);
    }
}

#[test]
fn wrong_files_are_reported() {
    let folder = std::env::temp_dir().join(format!("hioload-files-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("hioload.toml");
    let file = path.to_str().expect("a path in UTF-8");
    assert_names(&complaint(&["serve", "--config", file]), &[file]);
    for (text, words) in [
        (
            "[limits]\nmax_message = 5\nmax_mesage = 6\n",
            &["max_mesage", "3"][..],
        ),
        ("[limit]\n", &["limit", "1"]),
        (
            "[limits]\nmax_message = \"many\"\n",
            &["max_message", "2", "many"],
        ),
        ("[limits]\n\nmax_message = \n", &["3"]),
        ("[limits]\nsend_policy = true\n", &["send_policy", "2"]),
    ] {
        fs::write(&path, text).expect("a file");
        let line = complaint(&["serve", "--config", file]);
        assert_names(&line, words);
        assert_names(&line, &["hioload.toml"]);
    }
    fs::remove_dir_all(&folder).expect("the folder");
}

#[test]
fn help_goes_to_standard_output() {
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["connect", "--help"],
        &["--version"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).expect("UTF-8");
    for flag in [
        "--listen",
        "--lcores",
        "--idle",
        "--config",
        "--max-message",
        "--drain-deadline",
    ] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
}

/// Scripts and people read this line.
#[test]
fn the_start_line_names_the_endpoints() {
    let server = Server::start(&[]);
    let line = server.start_line();
    assert!(
        line.contains(&format!("{}://{}", server.schemes().1, server.addr()))
            && line.contains("hioload"),
        "{line}"
    );
    assert!(line.ends_with('\n'), "a whole line: {line}");
}
