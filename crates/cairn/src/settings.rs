//! Settings: flags, then environment variables, then the settings file, then defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_core::{AccountId, Region};
use clap::Args;
use serde::Deserialize;

use crate::door::TlsSettings;

/// Where Cairn listens by default: loopback only.
const LISTEN_DEFAULT: &str = "127.0.0.1:4580";
/// The shortest interval between deliveries.
const DELIVERY_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The shortest interval between digests, whose names and times count in seconds; and of everything else.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The smallest and the largest files of the event log.
const LOG_SEGMENT_BYTES_MIN: u64 = 64 << 10;
const LOG_SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// How often AWS delivers.
const DELIVERY_INTERVAL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// How often AWS makes digests.
const DIGEST_INTERVAL_DEFAULT: Duration = Duration::from_secs(3600);
/// How long AWS keeps events in the event history.
const HISTORY_RETENTION_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
/// About how often AWS replaces a region's signing key.
const KEY_ROTATION_DEFAULT: Duration = Duration::from_secs(20 * 24 * 3600);
/// How long Lambda waits before it tries an event again.
const LAMBDA_RETRY_DELAY_DEFAULT: Duration = Duration::from_secs(60);
/// How many functions run at a time.
const LAMBDA_ENVIRONMENTS_DEFAULT: usize = 16;
/// How long a day is.
const LIFECYCLE_DAY_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// The settings of `cairn serve` as they are given: every one may be a flag, an environment variable or a line of
/// the settings file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Given {
    /// The data folder; made on first start.
    #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// The address and port to listen on [default: 127.0.0.1:4580]; port 0 takes a free one.
    #[arg(long, env = "CAIRN_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// How often log files are delivered [default: 5m].
    #[arg(long, env = "CAIRN_DELIVERY_INTERVAL", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    delivery_interval: Option<Duration>,

    /// How often digest files are made [default: 1h].
    #[arg(long, env = "CAIRN_DIGEST_INTERVAL", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    digest_interval: Option<Duration>,

    /// How long the event history keeps events [default: 90days].
    #[arg(long, env = "CAIRN_HISTORY_RETENTION", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    history_retention: Option<Duration>,

    /// How often a region's digest signing key is replaced; it stays valid half as long again [default: 20days].
    #[arg(long, env = "CAIRN_KEY_ROTATION_INTERVAL", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    key_rotation_interval: Option<Duration>,

    /// How long the days of lifecycle rules are, and how often these are executed; shorter ones are for tests [default:
    /// 1day].
    #[arg(long, env = "CAIRN_LIFECYCLE_DAY", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    lifecycle_day: Option<Duration>,

    /// Whether what a call is about to change is logged before it runs, so that a crash leaves no call without an
    /// event: `strict` or `best-effort` [default: strict].
    #[arg(long, env = "CAIRN_RECORDING", value_name = "MODE", value_enum)]
    recording: Option<Recording>,

    /// Free bytes below which a warning is logged, such as 1GiB [default: 1GiB, on small disks a quarter].
    #[arg(long, env = "CAIRN_DISK_WARN", value_name = "SIZE", value_parser = parse_size)]
    #[serde(default, deserialize_with = "size")]
    disk_warn: Option<u64>,

    /// Free bytes below which calls are refused, at least two segments of the log [default: 256MiB, on small disks an
    /// eighth].
    #[arg(long, env = "CAIRN_DISK_RESERVE", value_name = "SIZE", value_parser = parse_size)]
    #[serde(default, deserialize_with = "size")]
    disk_reserve: Option<u64>,

    /// The size of the event log's files, at least 64KiB [default: 64MiB, on small disks a sixteenth]. Small ones are let
    /// go sooner, and make for more of them.
    #[arg(long, env = "CAIRN_LOG_SEGMENT_SIZE", value_name = "SIZE", value_parser = parse_size)]
    #[serde(default, deserialize_with = "size")]
    log_segment_size: Option<u64>,

    /// The ids of accounts that there are to be, 12 digits each, the first account first; repeat or separate by commas
    /// [default: one, chosen at random on first start].
    #[arg(long, env = "CAIRN_ACCOUNT", value_name = "ID", value_delimiter = ',')]
    #[serde(default, deserialize_with = "one_or_more")]
    account: Option<Vec<AccountId>>,

    /// The region that `cairn env` names [default: us-east-1].
    #[arg(long, env = "CAIRN_REGION", value_name = "NAME")]
    region: Option<Region>,

    /// Host names under which `BUCKET.NAME` addresses a bucket; repeat or separate by commas [default: localhost].
    #[arg(long, env = "CAIRN_S3_HOSTS", value_name = "NAME", value_delimiter = ',')]
    s3_hosts: Option<Vec<String>>,

    /// How others reach the server, such as https://cairn.example.com: the links in the messages of topics lead there
    /// [default: the address that it listens on].
    #[arg(long, env = "CAIRN_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// The relay that takes the e-mails of topics, smtp://HOST:PORT or smtps://HOST:PORT; CAIRN_SMTP_USER and
    /// CAIRN_SMTP_PASSWORD are shown to it, where they are set [default: none, e-mails wait].
    #[arg(long, env = "CAIRN_SMTP_RELAY", value_name = "URL")]
    smtp_relay: Option<String>,

    /// The address that the e-mails of topics come from.
    #[arg(long, env = "CAIRN_SMTP_SENDER", value_name = "ADDRESS")]
    smtp_sender: Option<String>,

    /// Execute functions of Lambda, as processes of the server's user: whoever may make functions may run code here.
    #[arg(long, env = "CAIRN_ENABLE_LAMBDA", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    enable_lambda: Option<bool>,

    /// The Python that functions of python3.* run in, which has the package awslambdaric [default: none].
    #[arg(long, env = "CAIRN_LAMBDA_PYTHON", value_name = "FILE")]
    lambda_python: Option<PathBuf>,

    /// How many functions run at a time, each a process [default: 16].
    #[arg(long, env = "CAIRN_LAMBDA_ENVIRONMENTS", value_name = "NUMBER")]
    lambda_environments: Option<usize>,

    /// The pause before an asynchronous invocation is tried again, twice as long the second time; shorter ones are for
    /// tests [default: 1m].
    #[arg(long, env = "CAIRN_LAMBDA_RETRY_DELAY", value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(default, deserialize_with = "duration")]
    lambda_retry_delay: Option<Duration>,

    /// A Lambda elsewhere that has the functions which are not here, http://HOST:PORT or https://HOST:PORT; calls are
    /// signed with CAIRN_LAMBDA_ACCESS_KEY_ID and CAIRN_LAMBDA_SECRET_ACCESS_KEY [default: none].
    #[arg(long, env = "CAIRN_LAMBDA_ENDPOINT", value_name = "URL")]
    lambda_endpoint: Option<String>,

    /// A certificate chain in PEM form: with it and --tls-key, Cairn serves HTTPS.
    #[arg(long, env = "CAIRN_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM form.
    #[arg(long, env = "CAIRN_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// The file of the root key, which all secrets are sealed under [default: root.key in the data folder]; with
    /// CAIRN_ROOT_PASSPHRASE, a passphrase takes its place.
    #[arg(long, env = "CAIRN_ROOT_KEY_FILE", value_name = "FILE")]
    root_key_file: Option<PathBuf>,
}

/// How surely calls that change something are recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Recording {
    /// An intent is durable before the call runs: should the server crash, an event says that it may have.
    #[default]
    Strict,
    /// The event is durable before the reply leaves: a call that a crash cuts short may have happened without one.
    BestEffort,
}

/// The settings with everything filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// How often log files are delivered.
    pub delivery_interval: Duration,
    /// How often digests are made.
    pub digest_interval: Duration,
    /// How long the event history goes back.
    pub history_retention: Duration,
    /// How often signing keys are replaced.
    pub key_rotation_interval: Duration,
    /// How long the days of lifecycle rules are.
    pub lifecycle_day: Duration,
    /// How surely calls that change something are recorded.
    pub recording: Recording,
    /// Free bytes below which a warning is logged, where that was set.
    pub disk_warn_bytes: Option<u64>,
    /// Free bytes below which calls are refused, where that was set.
    pub disk_reserve_bytes: Option<u64>,
    /// The size of the event log's files, where that was set.
    pub log_segment_size_bytes: Option<u64>,
    /// The ids of accounts that there are to be; none for one with a random id.
    pub accounts: Vec<AccountId>,
    /// The region that `cairn env` names.
    pub region: Region,
    /// Host names for virtual-host style requests.
    pub s3_hosts: Vec<String>,
    /// How others reach the server, where that was said.
    pub public_url: Option<String>,
    /// Who takes e-mails.
    pub smtp: Option<SmtpSettings>,
    /// Functions.
    pub lambda: LambdaSettings,
    /// Certificate chain and key, where HTTPS is served.
    pub tls: Option<TlsSettings>,
    /// The file of the root key, where one was named.
    pub root_key_file: Option<PathBuf>,
}

/// A relay for e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpSettings {
    /// Its URL.
    pub relay: String,
    /// The address that e-mails come from.
    pub sender: String,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The settings file is not understood.
    #[error("the settings file {path} is not understood")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// No data folder was named.
    #[error("name the data folder: --data DIR, CAIRN_DATA or `data` in the settings file")]
    NoData,
    /// An interval is too short.
    #[error("{name} is {given:?}, the shortest is {shortest:?}")]
    Interval {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: Duration,
        /// The least.
        shortest: Duration,
    },
    /// A size is out of its range.
    #[error("{name} is {given_bytes} bytes, it must be {least_bytes} to {most_bytes}")]
    Size {
        /// The setting.
        name: &'static str,
        /// What was given.
        given_bytes: u64,
        /// The least.
        least_bytes: u64,
        /// The most.
        most_bytes: u64,
    },
    /// Half of the TLS settings.
    #[error("--tls-cert and --tls-key go together")]
    HalfTls,
    /// Half of the relay's settings.
    #[error("--smtp-relay and --smtp-sender go together")]
    HalfSmtp,
    /// The public URL is none, or has more than a host.
    #[error("the public URL is written http://HOST:PORT or https://HOST:PORT, without a path")]
    PublicUrl,
}

/// How functions are executed.
#[derive(Clone, Debug)]
pub struct LambdaSettings {
    /// Whether functions are executed here.
    pub is_enabled: bool,
    /// What executes functions of python3.*.
    pub python: Option<PathBuf>,
    /// How many functions run at a time.
    pub environments_max: usize,
    /// The pause before an asynchronous invocation is tried again.
    pub retry_delay: Duration,
    /// A Lambda elsewhere.
    pub endpoint: Option<String>,
}

impl Given {
    /// Fills in what was not given from the settings file, if there is one, and from the defaults.
    pub fn resolve(self, file: Option<&Path>) -> Result<Settings, SettingsError> {
        let file = file.map_or_else(|| Ok(Self::default()), Self::read)?;
        let lambda = self.lambda(&file);
        let tls = match (self.tls_cert.or(file.tls_cert), self.tls_key.or(file.tls_key)) {
            (Some(cert), Some(key)) => Some(TlsSettings { cert, key }),
            (None, None) => None,
            _ => return Err(SettingsError::HalfTls),
        };
        let smtp = match (self.smtp_relay.or(file.smtp_relay), self.smtp_sender.or(file.smtp_sender)) {
            (Some(relay), Some(sender)) => Some(SmtpSettings { relay, sender }),
            (None, None) => None,
            _ => return Err(SettingsError::HalfSmtp),
        };
        Ok(Settings {
            data: self.data.or(file.data).ok_or(SettingsError::NoData)?,
            listen: self
                .listen
                .or(file.listen)
                .unwrap_or_else(|| LISTEN_DEFAULT.parse().expect("the default is an address")),
            delivery_interval: at_least(
                DELIVERY_INTERVAL_MIN,
                "delivery-interval",
                self.delivery_interval.or(file.delivery_interval).unwrap_or(DELIVERY_INTERVAL_DEFAULT),
            )?,
            digest_interval: at_least(
                INTERVAL_MIN,
                "digest-interval",
                self.digest_interval.or(file.digest_interval).unwrap_or(DIGEST_INTERVAL_DEFAULT),
            )?,
            history_retention: at_least(
                INTERVAL_MIN,
                "history-retention",
                self.history_retention.or(file.history_retention).unwrap_or(HISTORY_RETENTION_DEFAULT),
            )?,
            key_rotation_interval: at_least(
                INTERVAL_MIN,
                "key-rotation-interval",
                self.key_rotation_interval.or(file.key_rotation_interval).unwrap_or(KEY_ROTATION_DEFAULT),
            )?,
            lifecycle_day: at_least(
                INTERVAL_MIN,
                "lifecycle-day",
                self.lifecycle_day.or(file.lifecycle_day).unwrap_or(LIFECYCLE_DAY_DEFAULT),
            )?,
            recording: self.recording.or(file.recording).unwrap_or_default(),
            disk_warn_bytes: self.disk_warn.or(file.disk_warn),
            disk_reserve_bytes: self.disk_reserve.or(file.disk_reserve),
            log_segment_size_bytes: self
                .log_segment_size
                .or(file.log_segment_size)
                .map(segment_size)
                .transpose()?,
            accounts: self.account.or(file.account).unwrap_or_default(),
            region: self
                .region
                .or(file.region)
                .unwrap_or_else(|| "us-east-1".parse().expect("the default is a region")),
            s3_hosts: self.s3_hosts.or(file.s3_hosts).unwrap_or_else(|| vec!["localhost".to_owned()]),
            public_url: self.public_url.or(file.public_url).map(public_url).transpose()?,
            smtp,
            lambda,
            tls,
            root_key_file: self.root_key_file.or(file.root_key_file),
        })
    }

    fn lambda(&self, file: &Self) -> LambdaSettings {
        LambdaSettings {
            is_enabled: self.enable_lambda.or(file.enable_lambda).unwrap_or(false),
            python: self.lambda_python.clone().or_else(|| file.lambda_python.clone()),
            environments_max: self
                .lambda_environments
                .or(file.lambda_environments)
                .unwrap_or(LAMBDA_ENVIRONMENTS_DEFAULT)
                .max(1),
            retry_delay: self
                .lambda_retry_delay
                .or(file.lambda_retry_delay)
                .unwrap_or(LAMBDA_RETRY_DELAY_DEFAULT),
            endpoint: self.lambda_endpoint.clone().or_else(|| file.lambda_endpoint.clone()),
        }
    }

    fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| SettingsError::Parse { path: path.to_owned(), source: Box::new(source) })
    }
}

fn at_least(shortest: Duration, name: &'static str, given: Duration) -> Result<Duration, SettingsError> {
    if given < shortest { Err(SettingsError::Interval { name, given, shortest }) } else { Ok(given) }
}

/// Holds the size of log segments to its range.
fn segment_size(given_bytes: u64) -> Result<u64, SettingsError> {
    let (least_bytes, most_bytes) = (LOG_SEGMENT_BYTES_MIN, LOG_SEGMENT_BYTES_MAX);
    if (least_bytes..=most_bytes).contains(&given_bytes) {
        return Ok(given_bytes);
    }
    Err(SettingsError::Size { name: "log-segment-size", given_bytes, least_bytes, most_bytes })
}

/// Holds a public URL to scheme, host and port.
fn public_url(given: String) -> Result<String, SettingsError> {
    let bare = given.trim_end_matches('/');
    let host = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://"));
    let is_host =
        |host: &&str| host.parse::<http::uri::Authority>().is_ok_and(|host| !host.as_str().contains('@'));
    host.filter(is_host).map(|_| bare.to_owned()).ok_or(SettingsError::PublicUrl)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// The units of sizes, the longest ending first.
const SIZE_UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];

/// Reads a size: `4096`, `256MiB`, `1 GiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let unit = SIZE_UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number = digits.trim_end().parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text:?} is no size: write bytes as 4096, or with a unit as 256MiB or 1GiB"))
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_size(&text).map(Some).map_err(serde::de::Error::custom)
}

/// One account, or a list of them.
fn one_or_more<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<AccountId>>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Accounts {
        One(AccountId),
        More(Vec<AccountId>),
    }
    Ok(Some(match Accounts::deserialize(deserializer)? {
        Accounts::One(account) => vec![account],
        Accounts::More(accounts) => accounts,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(given: Given, file: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cairn.toml");
        std::fs::write(&path, file).unwrap();
        given.resolve(Some(&path))
    }

    #[test]
    fn what_is_given_wins_over_the_file_and_the_file_over_defaults() {
        let given = Given { data: Some("/given".into()), ..Given::default() };
        let file = "data = '/file'\ndelivery-interval = '20s'\nrecording = 'best-effort'";
        let settings = resolve(given, file).unwrap();
        assert_eq!(settings.recording, Recording::BestEffort);
        assert_eq!(settings.data, Path::new("/given"));
        assert_eq!(settings.delivery_interval, Duration::from_secs(20));
        assert_eq!(settings.digest_interval, Duration::from_secs(3600));
        assert!(settings.listen.ip().is_loopback());
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1 GiB"), Ok(1 << 30));
        assert_eq!(parse_size("7B"), Ok(7));
        for wrong in ["", "MiB", "1MB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        let settings = resolve(Given::default(), "data = '/d'\ndisk-reserve = '512MiB'").unwrap();
        assert_eq!((settings.disk_warn_bytes, settings.disk_reserve_bytes), (None, Some(512 << 20)));
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_reason() {
        let refused = |file: &str| resolve(Given::default(), file).unwrap_err().to_string();
        assert_eq!(
            refused(""),
            "name the data folder: --data DIR, CAIRN_DATA or `data` in the settings file"
        );
        assert_eq!(
            refused("data = '/d'\ndigest-interval = '10ms'"),
            "digest-interval is 10ms, the shortest is 1s"
        );
        assert_eq!(
            refused("data = '/d'\nlog-segment-size = '1KiB'"),
            "log-segment-size is 1024 bytes, it must be 65536 to 1073741824"
        );
        assert_eq!(refused("data = '/d'\ntls-cert = 'c.pem'"), "--tls-cert and --tls-key go together");
        assert_eq!(
            refused("data = '/d'\nsmtp-relay = 'smtp://h'"),
            "--smtp-relay and --smtp-sender go together"
        );
        for wrong in ["cairn.example.com", "https://", "https://h/path", "https://u:p@h"] {
            assert!(
                refused(&format!("data = '/d'\npublic-url = '{wrong}'"))
                    .starts_with("the public URL is written")
            );
        }
        let settings = resolve(Given::default(), "data = '/d'\npublic-url = 'https://h:1/'").unwrap();
        assert_eq!(settings.public_url.as_deref(), Some("https://h:1"));
        assert!(refused("dta = '/d'").ends_with("is not understood"));
    }
}
