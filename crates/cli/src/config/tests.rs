use std::collections::BTreeSet;

use clap::{CommandFactory, FromArgMatches};

use hioload_ws::{Hosts, Origins};

use super::declaration::Change;
use super::reference::{self, settings};
use super::sections::{AfXdpArgs, DpdkArgs};
use super::serve::{ServeConfig, tunables};
use super::values::Size;
use super::{Settings, file};
use crate::cli::Cli;

fn from_flags(flags: &[String]) -> Settings {
    let arguments = ["hioload", "serve"]
        .into_iter()
        .map(str::to_owned)
        .chain(flags.iter().cloned());
    let matches = Cli::command()
        .try_get_matches_from(arguments)
        .expect("flags are right");
    match Cli::from_arg_matches(&matches)
        .expect("flags are right")
        .command
    {
        crate::cli::Command::Serve(serve) => serve.settings,
        _ => panic!("this was serve"),
    }
}

#[test]
fn every_flag_is_a_key_of_the_reference_and_every_key_a_flag() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("serve");
    let flags: BTreeSet<String> = serve
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|flag| !["config", "help"].contains(flag))
        .map(|flag| flag.replace('-', "_"))
        .collect();
    let keys: BTreeSet<String> = settings().map(|(_, setting)| setting.key.into()).collect();
    assert_eq!(flags, keys);
    assert_eq!(settings().count(), keys.len(), "a key is in two sections");
}

#[test]
fn each_flag_means_the_same_as_its_key() {
    for (section, setting) in settings() {
        let key = setting.key;
        let flag = format!("--{}={}", key.replace('_', "-"), setting.default);
        let flags = from_flags(std::slice::from_ref(&flag));
        let text = format!("[{section}]\n{key} = {}\n", setting.toml_default());
        let file = file::parse(&text).expect("a key of the reference");
        assert_eq!(flags, file, "{flag}");
        assert_ne!(flags, Settings::default(), "{flag} sets nothing");
    }
}

/// The document is written by hand: its defaults, and the settings that it has, must be those of the declarations.
#[test]
fn the_tables_of_limits_in_the_documents_have_the_declared_defaults() {
    let document = include_str!("../../../../docs/operations.md");
    // A row has one setting or several: | `key`, `key` | `default`, `default` | ...
    let words = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    let rows = document.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `").map(|_| line.split('|').skip(1))?;
        let (keys, defaults) = (cells.next()?, cells.next()?);
        Some(words(keys).zip(words(defaults)))
    });
    let declared = |key: &str| settings().find(|(_, setting)| setting.key == key);
    let rows = rows.flatten().filter(|(key, _)| declared(key).is_some());
    let mut found = BTreeSet::new();
    for (key, default) in rows {
        let declared = declared(key).map(|(_, setting)| setting.default);
        assert_eq!(Some(default), declared, "{key} in docs/operations.md");
        assert!(found.insert(key), "{key} is in docs/operations.md twice");
    }
    for (section, setting) in settings() {
        if section == "limits" {
            let key = setting.key;
            assert!(found.contains(key), "{key} is not in docs/operations.md");
        }
    }
}

#[test]
fn a_flag_wins_over_the_file() {
    let file = file::parse("[limits]\nmax_message = \"1MiB\"\nmessage_rate = 7\n").expect("right");
    let flags = from_flags(&["--max-message=2MiB".to_owned()]);
    let both = flags.or(file);
    assert_eq!(
        both.limits.max_message.map(|size| size.0),
        Some(Size(2 << 20))
    );
    assert_eq!(both.limits.message_rate, Some(7));
}

#[test]
fn a_list_may_be_one_value() {
    let one = file::parse("[server]\nlisten = \"[::1]:9001\"\n").expect("right");
    assert_eq!(
        one,
        file::parse("[server]\nlisten = [\"[::1]:9001\"]\n").expect("right")
    );
    let two = file::parse("[server]\nlisten = [\"[::1]:9001\", \"unix:/x\"]\n").expect("right");
    assert_eq!(
        two,
        from_flags(&[
            "--listen=[::1]:9001".to_owned(),
            "--listen=unix:/x".to_owned()
        ])
    );
}

#[test]
fn an_error_in_the_file_names_its_line() {
    for (text, line, why) in [
        (
            "[limits]\n\nmax_massage = 1\n",
            3,
            "unknown key max_massage in section [limits]",
        ),
        (
            "[server]\nmax_message = 1\n",
            2,
            "max_message belongs in section [limits], not in [server]",
        ),
        (
            "\nmax_message = 1\n",
            2,
            "max_message belongs in section [limits]",
        ),
        ("# x\n[limit]\n", 2, "unknown section or key limit"),
        (
            "[limits]\nmax_message = \"huge\"\n",
            2,
            "max_message: 'huge': expected a size such as 65536, 64KiB or 16MiB",
        ),
        (
            "[limits]\nidle_timeout = 30\n",
            2,
            "idle_timeout: '30': a time needs a unit: ms, s, m or h",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1\",\n  \"nowhere\"]\n",
            3,
            "listen: 'nowhere': expected :PORT, ADDR:PORT",
        ),
        ("[server]\nidle = \"lazy\"\n", 2, "idle: 'lazy': "),
        ("[server]\nstats = \"perhaps\"\n", 2, "stats: 'perhaps': "),
        (
            "[limits]\nmax_message = 1.5\n",
            2,
            "max_message: invalid type: floating point",
        ),
        (
            "[limits]\nmax_message = 1\nmax_message = 2\n",
            3,
            "max_message: duplicate key",
        ),
        ("[limits\n", 1, ""),
    ] {
        let error = file::parse(text).expect_err(text);
        let said = error.message;
        assert_eq!(error.line, line, "{text}: {said}");
        assert!(said.starts_with(why), "{text}: {said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn the_reference_holds_the_defaults() {
    let reference = file::parse(&reference::toml()).expect("the reference is right");
    let mut written = ServeConfig::new(reference);
    let mut unset = ServeConfig::new(Settings::default());
    assert!(written.max_connections_set && !unset.max_connections_set);
    assert!(written.listen_set && !unset.listen_set);
    (written.max_connections_set, written.listen_set) = (false, false);
    // These hold the settings as they were given; the library has the defaults.
    for config in [&mut written, &mut unset] {
        config.af_xdp = AfXdpArgs::default();
        config.dpdk = DpdkArgs::default();
    }
    assert_eq!(format!("{written:#?}"), format!("{unset:#?}"));
}

#[test]
fn only_a_star_allows_any_origin_and_any_host() {
    let of = |text: &str| {
        let config = ServeConfig::new(file::parse(text).expect("right"));
        let tunables = config.server.config.tunables;
        (tunables.origins, tunables.hosts)
    };
    let own = (Origins::same(), Hosts::default());
    assert_eq!(of(""), own);
    assert_eq!(
        of("[server]\nallow_origin = \"same-origin\"\nallow_host = \"auto\"\n"),
        own
    );
    let any = (Origins::any(), Hosts::any());
    assert_eq!(
        of("[server]\nallow_origin = \"*\"\nallow_host = \"*\"\n"),
        any
    );
    assert_eq!(
        of("[server]\nallow_origin = [\"https://a\", \"*\"]\nallow_host = [\"*\", \"a\"]\n"),
        any
    );
    assert_eq!(
        of("[server]\nallow_origin = [\"https://A\", \"null\"]\nallow_host = [\"auto\", \"a.\"]\n"),
        (
            Origins::same().and("https://a").and("null"),
            Hosts::default().and("a")
        )
    );
}

#[test]
fn proxies_are_trusted_by_name_alone() {
    let check = |text: &str| {
        let config = ServeConfig::new(file::parse(&format!("[server]\n{text}\n")).expect("right"));
        config.check().map_err(|failure| failure.to_string())
    };
    for (setting, flag) in [
        ("proxy_protocol = \"require\"", "--proxy-protocol"),
        (
            "proxy_protocol = \"trusted\"\ntrusted_proxies = \"none\"",
            "--proxy-protocol",
        ),
        ("real_ip_header = \"forwarded\"", "--real-ip-header"),
    ] {
        let error = check(setting).expect_err(setting);
        assert!(
            error.contains(flag) && error.contains("--trusted-proxies"),
            "{error}"
        );
    }
    for trusted in ["unix", "10.0.0.0/8"] {
        let setting = format!("real_ip_header = \"forwarded\"\ntrusted_proxies = [\"{trusted}\"]");
        assert_eq!(check(&setting), Ok(()));
    }
}

/// Texts of which each setting accepts at least one that is not its default.
const VALUES: [&str; 42] = [
    "9",
    "600",
    "transparent",
    "02:00:00:00:00:01",
    "1",
    "2",
    "3",
    "64",
    "1ms",
    "4KiB",
    "8KiB",
    "16KiB",
    "off",
    "own",
    "block",
    "drop-new",
    "true",
    "false",
    "on",
    "verify",
    "skb",
    "json",
    "warn",
    "none",
    "dpdk",
    "auto",
    "0600",
    "eth0",
    "-m 1",
    "127.0.0.1:1",
    "10.0.0.1/8",
    "10.0.0.1",
    "https://a.example",
    "require",
    "forwarded",
    "TLS_AES_128_GCM_SHA256",
    "X25519",
    "1.3",
    "refuse",
    "optional",
    "1h",
    "dev",
];

#[test]
fn a_setting_that_is_not_fixed_at_start_is_a_tunable_and_no_other_is() {
    let set = |section: &str, key: &str, value: &str| {
        file::parse(&format!("[{section}]\n{key} = \"{value}\"\n")).ok()
    };
    let start = tunables(&Settings::default());
    for (section, setting) in settings() {
        let key = setting.key;
        let default = set(section, key, setting.default);
        let mut others = VALUES.iter().filter_map(|value| set(section, key, value));
        let other = others.find(|other| Some(other) != default.as_ref());
        let other = other.unwrap_or_else(|| panic!("VALUES has none for {key}"));
        let changes = tunables(&other) != start;
        assert_eq!(changes, setting.change != Change::Start, "{section}.{key}");
    }
}
