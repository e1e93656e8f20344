//! Lambda: its code, who executes it, and what is done behind calls.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cairn_services::kms::Kms;
use cairn_services::lambda::{Deps, Lambda, Packages, Remote, Runner};
use cairn_store::Blobs;
use cairn_store::blobs::FileBlobs;
use prometheus::Registry;

use crate::data_folder::DataFolder;
use crate::functions::{Limits, LocalFunctions, RemoteLambda};
use crate::serve::Ground;
use crate::settings::Settings;
use crate::stages::Stages;

/// How often environments that nobody uses are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(15);

/// What runs.
pub(crate) struct Functions {
    pub(crate) lambda: Arc<Lambda>,
    local: Option<Arc<LocalFunctions>>,
}

/// Opens the service and plugs it in.
pub(crate) async fn open(
    settings: &Settings,
    folder: &DataFolder,
    ground: &Ground,
    kms: &Arc<Kms>,
) -> Result<Functions, Box<dyn Error>> {
    // What an earlier server unpacked is unpacked anew; its processes ended with it.
    // Functions run in folders of their own, to which the data folder's name may be a relative one.
    let run = folder.empty_subfolder("functions-run")?.canonicalize()?;
    let (code, tmp) = (run.join("code"), run.join("tmp"));
    std::fs::create_dir(&code)?;
    std::fs::create_dir(&tmp)?;
    // Blobs count what they do, and those of objects do it on the server's own registry.
    let blobs = FileBlobs::open(&folder.join("functions"), Arc::clone(&ground.entropy), &Registry::new())?;
    let packages = Packages::new(Arc::new(blobs.clone()), ground.sealer.clone());
    let limits =
        Limits { environments_max: settings.lambda.environments_max, python: settings.lambda.python.clone() };
    let local = settings
        .lambda
        .is_enabled
        .then(|| {
            let time_and_chance = (Arc::clone(&ground.clock), Arc::clone(&ground.entropy));
            let switchboard = ground.switchboard.clone();
            LocalFunctions::new(
                limits,
                packages.clone(),
                (code, tmp),
                time_and_chance,
                switchboard,
                &ground.registry,
            )
        })
        .transpose()?
        .map(Arc::new);
    let remote = settings
        .lambda
        .endpoint
        .as_ref()
        .map(|endpoint| RemoteLambda::new(endpoint, Arc::clone(&ground.clock)))
        .transpose()?;
    let deps = Deps {
        catalog: ground.catalog.clone(),
        queues: Arc::clone(&ground.queues) as _,
        packages,
        sealer: ground.sealer.clone(),
        data_keys: Arc::clone(kms) as _,
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        switchboard: ground.switchboard.clone(),
        runner: local.clone().map(|local| local as Arc<dyn Runner>),
        remote: remote.map(|remote| Arc::new(remote) as Arc<dyn Remote>),
        concurrency_max: settings.lambda.environments_max,
        retry_delay: settings.lambda.retry_delay,
    };
    let lambda = Arc::new(Lambda::open(deps, &ground.registry).await?);
    remove_orphans(&lambda, &blobs).await?;
    ground.switchboard.plug_functions(Arc::clone(&lambda) as _);
    Ok(Functions { lambda, local })
}

/// Removes packages that a crash left without a function. Before calls are taken: nothing is made meanwhile.
async fn remove_orphans(lambda: &Lambda, blobs: &FileBlobs) -> Result<(), Box<dyn Error>> {
    let named = lambda.blobs().await?;
    let listed = blobs.clone();
    let stored = tokio::task::spawn_blocking(move || listed.ids().collect::<Result<Vec<_>, _>>()).await??;
    for orphan in stored.iter().filter(|blob| !named.contains(blob)) {
        tracing::info!(blob = %orphan, "a package without a function is removed");
        blobs.delete(orphan).await?;
    }
    Ok(())
}

impl Functions {
    /// Says where the server is reached: by functions, which run beside it, and by whoever fetches code.
    pub(crate) fn reached_at(&self, endpoint: &str, public_url: &str) {
        self.lambda.reached_at(public_url);
        if let Some(local) = &self.local {
            local.reached_at(endpoint);
        }
    }

    /// Starts what the service does by itself.
    pub(crate) fn start_stages(&self, running: &mut Stages, ground: &Ground) {
        running.start_functions(Arc::clone(&self.lambda));
        let Some(local) = self.local.clone() else { return };
        let clock = Arc::clone(&ground.clock);
        running.start_timed("function environments", move || {
            let (local, clock) = (Arc::clone(&local), Arc::clone(&clock));
            async move {
                local.tidy();
                Ok(clock.now().plus(TIDY_INTERVAL))
            }
        });
    }

    /// Ends all functions that have nothing to do; others end with the server.
    pub(crate) fn end(&self) {
        if let Some(local) = &self.local {
            local.end_all();
        }
    }
}
