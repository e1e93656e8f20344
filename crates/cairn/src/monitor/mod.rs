//! `cairn monitor`: has what happens in an account watched, and tells a topic.
//!
//! A client like any other: it makes what is missing with calls that the server authorises and records. Invariants: what
//! is there as wanted is left alone, so that a second run changes nothing and says so; a step that fails leaves what was
//! done before it, and the next run goes on there. `terraform/monitor` makes the same.

mod client;
mod steps;
mod watches;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_wire::sigv4::{Credentials, Secret};
use clap::{Args, Subcommand};
use http::Uri;

use self::client::Client;
use self::steps::{Monitor, Said};
use crate::env;
use crate::system::SystemClock;

/// What to do.
#[derive(Subcommand)]
pub enum Action {
    /// Make the log group, its role, the metric filters, the alarms and the topic that are missing.
    Enable(Enable),
    /// Remove the metric filters and the alarms. The log group, the topic and the trail stay.
    Disable(Disable),
}

/// Where, and as whom. What is not given comes from the variables of AWS's clients, or from the data folder.
#[derive(Args)]
pub struct Place {
    /// The server's data folder: its endpoint, region and root keys are used.
    #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// The server's root key file [default: root.key in the data folder].
    #[arg(long, env = "CAIRN_ROOT_KEY_FILE", value_name = "FILE", requires = "data")]
    root_key_file: Option<PathBuf>,

    /// The server.
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL")]
    endpoint_url: Option<Uri>,

    /// The trail's home region.
    #[arg(long, env = "AWS_DEFAULT_REGION", value_name = "REGION")]
    region: Option<String>,
}

/// `cairn monitor enable`.
#[derive(Args)]
pub struct Enable {
    #[command(flatten)]
    place: Place,

    /// The trail to watch [default: the only one of this region].
    #[arg(long, value_name = "NAME")]
    trail: Option<String>,

    /// The topic to tell, by its name or ARN.
    #[arg(long, value_name = "TOPIC", default_value = "cairn-monitor")]
    topic: String,

    /// The log group, where the trail has none yet.
    #[arg(long, value_name = "NAME", default_value = "cairn-monitor")]
    log_group: String,

    /// The role that the trail writes to the log group with, where it has none yet.
    #[arg(long, value_name = "NAME", default_value = "cairn-monitor")]
    role: String,

    /// Over how many seconds events are counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = period)]
    period: u32,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// `cairn monitor disable`.
#[derive(Args)]
pub struct Disable {
    #[command(flatten)]
    place: Place,

    /// The trail [default: the only one of this region].
    #[arg(long, value_name = "NAME")]
    trail: Option<String>,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

fn period(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 && seconds % 60 == 0 => Ok(seconds),
        // Metric filters count by the minute.
        _ => Err("a multiple of 60".to_owned()),
    }
}

/// Does it, and prints each thing that was changed.
pub fn run(action: &Action) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (place, trail, dry_run) = match action {
            Action::Enable(enable) => (&enable.place, &enable.trail, enable.dry_run),
            Action::Disable(disable) => (&disable.place, &disable.trail, disable.dry_run),
        };
        let mut monitor = Monitor::new(place.client()?, dry_run);
        let trail = monitor.trail(trail.as_deref()).await?;
        match action {
            Action::Enable(enable) => monitor.enable(&trail, enable).await?,
            Action::Disable(_) => monitor.disable(&trail).await?,
        }
        print(&monitor.said, dry_run);
        Ok(())
    })
}

#[allow(clippy::print_stdout, reason = "the lines are the command's output")]
fn print(said: &Said, dry_run: bool) {
    for line in &said.changes {
        println!("{}{line}", if dry_run { "would have " } else { "" });
    }
    if said.changes.is_empty() {
        println!("nothing to change");
    }
    for line in &said.notes {
        println!("{line}");
    }
}

impl Place {
    fn client(&self) -> Result<Client, Box<dyn Error>> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let (mut endpoint, mut region) =
            (self.endpoint_url.clone(), self.region.clone().or_else(|| variable("AWS_REGION")));
        let credentials = if let Some(data) = &self.data {
            let (server, keys) = env::place_and_keys(data, None, self.root_key_file.clone())?;
            endpoint = endpoint.or(Some(server.endpoint.parse()?));
            region = region.or_else(|| Some(server.region.to_string()));
            Credentials {
                access_key_id: keys.access_key_id,
                secret: Secret::new(keys.secret_access_key),
                session_token: None,
            }
        } else {
            let wanted =
                |name: &str| variable(name).ok_or_else(|| format!("{name} is not set, nor --data given"));
            Credentials {
                access_key_id: wanted("AWS_ACCESS_KEY_ID")?,
                secret: Secret::new(wanted("AWS_SECRET_ACCESS_KEY")?),
                session_token: variable("AWS_SESSION_TOKEN"),
            }
        };
        Ok(Client {
            endpoint: endpoint.ok_or("AWS_ENDPOINT_URL is not set, nor --data or --endpoint-url given")?,
            region: region.ok_or("AWS_DEFAULT_REGION is not set, nor --data or --region given")?,
            credentials,
            clock: Arc::new(SystemClock),
        })
    }
}
