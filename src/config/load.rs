//! Reading the configuration: the file, then the environment, then the command line.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::Config;
use crate::{Error, Result};

/// What environment variables of ours begin with.
const PREFIX: &str = "SIGILO__";

/// What the command line may say. Never a secret: other users of the machine see command lines.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<String>,
}

/// Loads the configuration. `file`: the file named by the caller, which must then exist; otherwise
/// `sigilo.toml` of the working folder is read if there is one.
///
/// # Errors
/// With the key, where it stands, the nearest known name, and what is acceptable.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    overrides: Overrides,
) -> Result<Config> {
    let mut table = match file {
        Some(file) => read(file)?,
        None if Path::new("sigilo.toml").exists() => read(Path::new("sigilo.toml"))?,
        None => Table::new(),
    };
    refuse_passwords(&table)?;
    for (name, value) in environment {
        if let Some(path) = name.strip_prefix(PREFIX) {
            overlay(&mut table, &name, path, &value)?;
        }
    }
    let mut config: Config =
        serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| explain(&error))?;
    if let Some(listen) = overrides.listen {
        config.server.listen = listen;
    }
    if let Some(data) = overrides.data {
        config.storage.data = data;
    }
    if let Some(url) = overrides.database_url {
        if has_password(&url) {
            return Err(Error::internal(
                "--database-url holds a password, which other users of this machine can see: use \
                 SIGILO__STORAGE__DATABASE_URL or storage.database_url_file",
            ));
        }
        config.storage.database_url = Some(url);
        config.storage.database_url_file = None;
    }
    config.check()?;
    Ok(config)
}

fn read(file: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::internal(format!("cannot read {}: {error}", file.display())))?;
    text.parse().map_err(|error| Error::internal(format!("{}: {error}", file.display())))
}

fn refuse_passwords(table: &Table) -> Result<()> {
    let storage = table.get("storage").and_then(Value::as_table);
    for key in ["database_url", "keystore_url"] {
        let url = storage.and_then(|storage| storage.get(key)).and_then(Value::as_str);
        if url.is_some_and(has_password) {
            return Err(Error::internal(format!(
                "storage.{key} holds a password: put the address into a file of its own and name it as \
                 storage.{key}_file, or set SIGILO__STORAGE__{}",
                key.to_uppercase()
            )));
        }
    }
    Ok(())
}

/// Whether an address has a password: `scheme://user:password@host` or `?password=`.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    authority
        .split('/')
        .next()
        .and_then(|host| host.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
        || query.split('&').any(|pair| pair.starts_with("password="))
}

/// Sets `SECTION__KEY`. Text that reads as a TOML boolean, number or list is one, anything else a string.
fn overlay(table: &mut Table, name: &str, path: &str, text: &str) -> Result<()> {
    let lower = path.to_lowercase();
    let (section, key) = lower
        .split_once("__")
        .ok_or_else(|| Error::internal(format!("{name} is not of the form SIGILO__SECTION__KEY")))?;
    let value = match format!("value = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("value")) {
        Some(value @ (Value::Boolean(_) | Value::Integer(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    };
    table
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| Error::internal(format!("{section} is a section, not a value")))?
        .insert(key.to_owned(), value);
    Ok(())
}

/// Says what is wrong where, with the nearest known name for an unknown one.
fn explain(error: &serde_path_to_error::Error<toml::de::Error>) -> Error {
    let message = error.inner().message();
    let path = error.path().to_string();
    let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
    else {
        return Error::internal(format!("configuration: {path}: {message}"));
    };
    // The path of an unknown key ends in the key itself.
    let section = path.strip_suffix(unknown).unwrap_or(&path).trim_end_matches('.');
    let place = if section.is_empty() || section == "?" {
        "at the top".to_owned()
    } else {
        format!("in [{section}]")
    };
    // The rest of serde's message names the known keys, each in backticks.
    let nearest = message
        .split('`')
        .skip(3)
        .step_by(2)
        .min_by_key(|known| distance(known, unknown))
        .map(|known| format!("; did you mean `{known}`?"));
    Error::internal(format!("configuration: unknown key `{unknown}` {place}{}", nearest.unwrap_or_default()))
}

/// How many insertions, deletions and substitutions lie between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let [diagonal, above] = pair else { continue };
            let before = next.get(left).copied().unwrap_or(usize::MAX - 1);
            next.push((above + 1).min(before + 1).min(diagonal + usize::from(x != *y)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str, environment: &[(&str, &str)]) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sigilo.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        load(Some(&file), environment, Overrides::default())
    }

    fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
        from(text, environment).unwrap_err().to_string()
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = from(
            "[server]\nlisten = '127.0.0.1:1'\nbehind_proxy = false\n[relay]\nin_flight = 3",
            &[
                ("SIGILO__SERVER__LISTEN", "127.0.0.1:2"),
                ("SIGILO__SERVER__BEHIND_PROXY", "true"),
                ("SIGILO__SERVER__ALLOWED_ORIGINS", "['https://app.example']"),
                ("SIGILO__STORAGE__DATABASE_URL", "postgres://app:secret@db/app"),
                ("OTHER", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert!(config.server.behind_proxy);
        assert_eq!(config.server.allowed_origins, ["https://app.example"]);
        assert_eq!(config.relay.in_flight, 3);
        assert_eq!(config.database_url().unwrap(), "postgres://app:secret@db/app");
    }

    #[test]
    fn unknown_keys_stop_the_start_with_the_nearest_known_name() {
        assert_eq!(
            refusal("[server]\nlistn = 1", &[]),
            "internal: configuration: unknown key `listn` in [server]; did you mean `listen`?"
        );
        assert_eq!(
            refusal("[servr]\n", &[]),
            "internal: configuration: unknown key `servr` at the top; did you mean `server`?"
        );
        assert_eq!(
            refusal("", &[("SIGILO__RELAY__IN_FLIHGT", "7")]),
            "internal: configuration: unknown key `in_flihgt` in [relay]; did you mean `in_flight`?"
        );
        assert!(refusal("", &[("SIGILO__LISTEN", "7")]).contains("SIGILO__SECTION__KEY"));
        assert!(refusal("[relay]\nin_flight = 'many'", &[]).contains("relay.in_flight"));
    }

    #[test]
    fn listening_beyond_loopback_needs_tls_or_a_proxy() {
        let open = "[server]\nlisten = '0.0.0.0:8000'\n";
        assert!(refusal(open, &[]).contains("without TLS"));
        assert!(from(&format!("{open}behind_proxy = true"), &[]).is_ok());
        let tls = "[tls]\ncertificate_file = 'a.pem'\n";
        assert!(refusal(&format!("{open}{tls}"), &[]).contains("needs both"));
        assert!(from(&format!("{open}{tls}private_key_file = 'b.pem'"), &[]).is_ok());
    }

    #[test]
    fn passwords_come_from_the_environment_or_a_file_of_their_own() {
        let text = "[storage]\ndatabase_url = 'postgres://app:secret@db/app'";
        assert!(refusal(text, &[]).contains("database_url_file"));
        assert!(from("[storage]\ndatabase_url = 'postgres://app@db/app?host=/run'", &[]).is_ok());
        let overrides = Overrides {
            database_url: Some("postgres:///app?password=secret".to_owned()),
            ..Overrides::default()
        };
        let refused = load(Some(Path::new("/dev/null")), std::iter::empty(), overrides).unwrap_err();
        assert!(refused.to_string().contains("--database-url"));
    }

    #[test]
    fn the_operations_manual_names_every_key() {
        let manual = include_str!("../../docs/OPERATIONS.md");
        let mut missing = Vec::new();
        for section in ["storage", "server", "tls", "limits", "relay", "vault", "log"] {
            // Serde's refusal names every known key.
            let wrong = format!("[{section}]\n'?' = 1").parse().unwrap();
            let refused = serde_path_to_error::deserialize::<_, Config>(Value::Table(wrong)).unwrap_err();
            let message = refused.inner().message().to_owned();
            let keys: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
            assert!(keys.len() > 1, "{message}");
            missing.extend(
                keys.into_iter().filter(|key| !manual.contains(&format!("| `{key}` |"))).map(str::to_owned),
            );
        }
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn distances_are_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
