//! `cairn serve`: opens the stores, wires services and stages to them, and runs until it is told to stop.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_core::{AccountId, Clock, Entropy};
use cairn_services::Service;
use cairn_services::cloudtrail::{self, CloudTrail};
use cairn_services::cloudtrail_data::CloudTrailData;
use cairn_services::iam::{Iam, RootCredentials};
use cairn_services::kms::Kms;
use cairn_services::organizations::Organizations;
use cairn_services::s3::{LifecycleStage, ObjectKeys, S3, S3Control, Sinks};
use cairn_services::sinks::Switchboard;
use cairn_services::sts::{ServiceRoles, Sts};
use cairn_store::blobs::FileBlobs;
use cairn_store::catalog::sqlite::SqliteCatalog;
use cairn_store::history::{SegmentHistory, SegmentSettings};
use cairn_store::lines::{LinesGround, LinesSettings, SegmentLines};
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::queues::{JournalQueues, QueueError, QueueSettings};
use cairn_store::seal;
use cairn_store::space::{Space, SpaceWatch, Watermarks};
use cairn_store::streams::{FolderStreams, StreamError, StreamSettings};
use cairn_store::{Catalog, EventLog, History, Sealer, Streams};
use cairn_trail::delivery::{DeliverySettings, DeliveryStage};
use cairn_trail::digest::{DigestSettings, DigestStage};
use cairn_trail::history::HistoryStage;
use cairn_trail::intents::{self, IntentMark};
use cairn_trail::keys::{KeySettings, SigningKeys};
use cairn_trail::{Ingest, LogGroups, NotificationStage, Recorder, StreamStage, Topic, UndecodableReports};
use cairn_wire::front::{Front, FrontSettings};
use prometheus::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::data_folder::{DataFolder, RootKeys, ServerFile};
use crate::door::{BUFFERED_BODY_BYTES_MAX, Door, DoorParts, Server};
use crate::env::{key_lines, place_lines};
use crate::failpoint;
use crate::fetch::NetFetch;
use crate::messaging::{self, Messaging};
use crate::root_key;
use crate::settings::Settings;
use crate::stages::{Behind, Stages};
use crate::system::{SystemClock, SystemEntropy};
use crate::watching::lambda::{self, Functions};
use crate::watching::{self, Surroundings, Watching};

/// How often the disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// The most threads that wait for files. Each keeps memory of its own, and a disk is not faster with more.
const BLOCKING_THREADS_MAX: usize = 8;
/// How often the last use of access keys is written down.
const KEY_USE_INTERVAL: Duration = Duration::from_secs(60);
/// How often KMS keys are rotated and destroyed that are due.
const KMS_INTERVAL: Duration = Duration::from_secs(60);
/// How often blobs without an object are looked for.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// The journals of queues and log lines have segments of this part of the event log's, within limits.
const JOURNAL_SEGMENTS_IN_LOG_SEGMENT: u64 = 4;
const JOURNAL_SEGMENT_SIZE_BYTES_MIN: u64 = 64 << 10;
const JOURNAL_SEGMENT_SIZE_BYTES_MAX: u64 = 16 << 20;
/// About how many segments of the log are kept for what the history has only in memory.
const SEGMENTS_KEPT_FOR_HISTORY: usize = 4;

/// Files and connections that may be open at a time.
const OPEN_FILES_WANTED: u64 = 8192;

/// Runs the server until Ctrl-C or SIGTERM.
pub fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    // The folder may be an old one that others may look into; what is made in it holds secrets.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    allow_open_files();
    let folder = DataFolder::open(&settings.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()?;
    runtime.block_on(serve(&settings, &folder))
}

/// Raises the soft limit on open files, which many shells leave at 1024: connections alone may be as many, and
/// one more could keep the log or an object from being opened.
fn allow_open_files() {
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.map_or(OPEN_FILES_WANTED, |most| most.min(OPEN_FILES_WANTED));
    if limits.current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limits }) {
        tracing::warn!(%error, current = limits.current, "cannot raise the limit on open files");
    }
}

/// What everything works with.
pub(crate) struct Ground {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) registry: Registry,
    pub(crate) catalog: Catalog,
    /// Seals all secrets.
    pub(crate) sealer: Sealer,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) queues: Arc<JournalQueues>,
    /// What log groups hold.
    pub(crate) lines: Arc<SegmentLines>,
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) recorder: Recorder,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) space: Arc<SpaceWatch>,
    /// Wakes the stages.
    pub(crate) wake: Arc<Notify>,
    /// Where services send to one another.
    pub(crate) switchboard: Switchboard,
}

/// The services that others than the door use.
struct Services {
    iam: Arc<Iam>,
    kms: Arc<Kms>,
    s3: Arc<S3>,
    blobs: FileBlobs,
    messaging: Messaging,
    watching: Watching,
    functions: Functions,
    /// Where trails announce.
    topic: Arc<dyn Topic>,
    /// Where trails send events.
    log_groups: Arc<dyn LogGroups>,
    keys: SigningKeys,
}

async fn serve(settings: &Settings, folder: &DataFolder) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::listen()?;
    let ground = open_ground(settings, folder).await?;
    let (stop, stopped) = watch::channel(false);
    let services = open_services(settings, folder, &ground, stopped.clone()).await?;
    seal_clear_secrets(folder, &ground, &services).await?;
    recover(&ground).await?;
    let root = services.iam.ensure_first_account(settings.accounts.first()).await?;
    for further in settings.accounts.iter().skip(1) {
        services.iam.ensure_first_account(Some(further)).await?;
    }
    let spool = folder.empty_subfolder("spool")?;
    let door = Arc::new(open_door(settings, &ground, &services, root.account.clone(), spool)?);

    let server = Server::bind(settings.listen, settings.tls.as_ref()).await?;
    let endpoint = server.endpoint();
    let public_url = settings.public_url.as_deref().unwrap_or(&endpoint);
    services.messaging.links.reached_at(public_url);
    services.functions.reached_at(&endpoint, public_url);
    let stages = start_stages(settings, &ground, &services, root.account.clone(), stopped.clone()).await?;
    let place = folder.write_server(&server.endpoint(), &settings.region)?;
    folder.write_credentials(&all_root_keys(&services.iam).await?, &ground.sealer)?;
    announce(settings, &place, &root);

    let serving = tokio::spawn(server.run(Arc::clone(&door), stopped));
    signals.wait().await;
    tracing::info!("stopping: requests under way may end");
    stop.send_replace(true);
    serving.await?;
    stages.join().await;
    services.functions.end();
    services.iam.flush_last_used().await?;
    ground.queues.close().await;
    ground.lines.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Records the calls that a crash cut short. Before calls are taken: nothing else may settle their intents meanwhile.
async fn recover(ground: &Ground) -> Result<(), Box<dyn Error>> {
    let unsettled = intents::unsettled(&*ground.log, &ground.catalog).await?;
    failpoint::reach(failpoint::DURING_RECOVERY);
    intents::settle(&*ground.log, &*ground.clock, unsettled).await?;
    failpoint::reach(failpoint::AFTER_RECOVERY);
    Ok(())
}

/// Seals the secrets that an earlier version kept in clear, and wipes what it left of them. The folder's own file of
/// secrets is replaced later, so a start that is cut short in between is made up for by the next.
async fn seal_clear_secrets(
    folder: &DataFolder,
    ground: &Ground,
    services: &Services,
) -> Result<(), Box<dyn Error>> {
    let access_keys = services.iam.seal_clear_secrets().await?;
    let signing_keys = services.keys.seal_clear_keys().await?;
    if access_keys || signing_keys || folder.has_clear_credentials()? {
        ground.catalog.scrub().await?;
        tracing::info!("the secrets that an earlier version kept in clear are sealed");
    }
    Ok(())
}

async fn open_ground(settings: &Settings, folder: &DataFolder) -> Result<Ground, Box<dyn Error>> {
    let registry = Registry::new();
    let root_key_file = settings.root_key_file.clone();
    let root = root_key::source(&settings.data, root_key_file, root_key::passphrase(root_key::PASSPHRASE))?;
    let sealer = seal::root::open(&folder.seal_path(), &root)?;
    let (space, log_settings) = open_space(settings, &registry)?;
    let space = Arc::new(space);
    let catalog = failpoint::catalog(SqliteCatalog::open(&folder.join("catalog.sqlite"), &registry)?);
    let log_folder = folder.join("log");
    let segment_size_bytes = usize::try_from(log_settings.segment_size_bytes)?;
    let log = SegmentLog::open_on_disk(&failpoint::disk(), &log_folder, log_settings, &registry)?;
    let log: Arc<dyn EventLog> = Arc::new(log.watched_by(Arc::clone(&space)));
    let journal_size = journal_segment_size_bytes(segment_size_bytes as u64);
    let queues = open_queues(folder, journal_size, &space, &registry).await?;
    let lines = LinesGround {
        disk: failpoint::lines_disk(),
        folder: folder.join("lines"),
        catalog: catalog.clone(),
        key: sealer.derived_key("lines"),
        settings: LinesSettings::with_segments_of(journal_size),
        space: Some(Arc::clone(&space)),
        registry: registry.clone(),
    };
    let lines = SegmentLines::open(lines).await?;
    let streams = open_streams(folder, journal_size, &space, &registry)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let history_settings = history_settings(settings.history_retention, segment_size_bytes);
    let history =
        SegmentHistory::open(&folder.join("history"), catalog.clone(), Arc::clone(&clock), history_settings)
            .await?;
    history.register(&registry)?;
    let ingest = Ingest::open(Arc::clone(&log), Arc::clone(&clock)).await?;
    ingest.register(&registry)?;
    Ok(Ground {
        recorder: Recorder::new(Arc::clone(&log), Arc::clone(&clock)),
        space,
        clock,
        entropy: Arc::new(SystemEntropy::new()),
        registry,
        catalog,
        sealer,
        log,
        queues: Arc::new(queues),
        lines: Arc::new(lines),
        streams: Arc::new(streams),
        history: Arc::new(history),
        ingest: Arc::new(ingest),
        wake: Arc::default(),
        switchboard: Switchboard::default(),
    })
}

/// The journals of queues and of log lines have smaller segments than the event log.
fn journal_segment_size_bytes(log_segment_size_bytes: u64) -> u64 {
    let fitted =
        (log_segment_size_bytes / JOURNAL_SEGMENTS_IN_LOG_SEGMENT).max(JOURNAL_SEGMENT_SIZE_BYTES_MIN);
    fitted.min(JOURNAL_SEGMENT_SIZE_BYTES_MAX)
}

/// The queues of all services.
async fn open_queues(
    folder: &DataFolder,
    segment_size_bytes: u64,
    space: &Arc<SpaceWatch>,
    registry: &Registry,
) -> Result<JournalQueues, QueueError> {
    let settings = QueueSettings { segment_size_bytes, ..QueueSettings::default() };
    let space = Some(Arc::clone(space));
    JournalQueues::open(&failpoint::queues_disk(), &folder.join("queues"), settings, space, registry).await
}

/// The streams of records, each of which has segments of its own.
fn open_streams(
    folder: &DataFolder,
    segment_size_bytes_max: u64,
    space: &Arc<SpaceWatch>,
    registry: &Registry,
) -> Result<FolderStreams, StreamError> {
    let defaults = StreamSettings::default();
    let segment_size_bytes = defaults.segment_size_bytes.min(segment_size_bytes_max);
    let settings = StreamSettings { segment_size_bytes, ..defaults };
    let space = Some(Arc::clone(space));
    FolderStreams::open(&failpoint::streams_disk(), &folder.join("streams"), settings, space, registry)
}

/// What the history has in memory keeps segments of the log: of small ones it keeps few.
fn history_settings(retention: Duration, segment_size_bytes: usize) -> SegmentSettings {
    let defaults = SegmentSettings::default();
    let tail_size_bytes_max =
        defaults.tail_size_bytes_max.min(segment_size_bytes.saturating_mul(SEGMENTS_KEPT_FOR_HISTORY));
    SegmentSettings { retention, tail_size_bytes_max, ..defaults }
}

/// Watches the disk, and fits the log's segments to it.
fn open_space(settings: &Settings, registry: &Registry) -> Result<(SpaceWatch, LogSettings), Box<dyn Error>> {
    let disk = Space::of(&settings.data)?;
    let segment_size_bytes = settings.log_segment_size_bytes.unwrap_or(disk.segment_size_bytes());
    let (warn_bytes, reserve_bytes) = (settings.disk_warn_bytes, settings.disk_reserve_bytes);
    let marks = Watermarks::new(warn_bytes, reserve_bytes, disk, segment_size_bytes);
    if settings.disk_reserve_bytes.is_some_and(|set| set < marks.reserve_bytes) {
        tracing::warn!(
            reserve_bytes = marks.reserve_bytes,
            "the reserve is raised to two segments of the log"
        );
    }
    let data = settings.data.clone();
    let watch = SpaceWatch::new(move || Space::of(&data), marks, registry)?;
    Ok((watch, LogSettings { segment_size_bytes, ..LogSettings::default() }))
}

async fn open_services(
    settings: &Settings,
    folder: &DataFolder,
    ground: &Ground,
    stopped: watch::Receiver<bool>,
) -> Result<Services, Box<dyn Error>> {
    let (clock, entropy) = (&ground.clock, &ground.entropy);
    let blobs = FileBlobs::open(&folder.join("blobs"), Arc::clone(entropy), &ground.registry)?;
    let rotate_after = settings.key_rotation_interval;
    let key_settings = KeySettings { rotate_after, validity: rotate_after + rotate_after / 2 };
    let kms = Arc::new(Kms::new(
        ground.catalog.clone(),
        Arc::clone(clock),
        Arc::clone(entropy),
        ground.sealer.clone(),
        ground.recorder.clone(),
    ));
    let keys =
        ObjectKeys { server_key: ground.sealer.derived_key("s3.objects"), data_keys: Arc::clone(&kms) as _ };
    let messaging = messaging::open(ground, &kms, settings.smtp.as_ref(), stopped.clone()).await?;
    let sinks = Sinks {
        queues: Some(Arc::clone(&messaging.sqs) as _),
        topics: Some(Arc::clone(&messaging.sns) as _),
        switchboard: Some(ground.switchboard.clone()),
    };
    let iam = Arc::new(Iam::new(
        ground.catalog.clone(),
        Arc::clone(clock),
        Arc::clone(entropy),
        ground.sealer.clone(),
    ));
    let (time, chance) = (Arc::clone(clock), Arc::clone(entropy));
    let s3 = S3::new(
        ground.catalog.clone(),
        Arc::new(blobs.clone()),
        Arc::clone(&time),
        Arc::clone(&chance),
        keys,
    )
    .with_lifecycle_day(settings.lifecycle_day)
    .notifying(sinks);
    let roles = ServiceRoles::new(Arc::clone(&iam), ground.sealer.clone(), time, chance);
    let s3 = Arc::new(s3);
    ground.switchboard.plug_objects(Arc::clone(&s3) as _);
    ground.switchboard.plug_roles(Arc::new(roles));
    ground.switchboard.plug_queues(Arc::clone(&messaging.sqs) as _);
    ground.switchboard.plug_topics(Arc::clone(&messaging.sns) as _);
    Ok(Services {
        iam,
        kms: Arc::clone(&kms),
        s3,
        watching: watching::open(ground, &Surroundings { kms: &kms, stopped: &stopped }).await?,
        functions: lambda::open(settings, folder, ground, &kms).await?,
        blobs,
        topic: Arc::new(cloudtrail::Topics::new(Arc::clone(&messaging.sns) as _)),
        log_groups: Arc::new(cloudtrail::LogGroups::new(ground.switchboard.clone())),
        messaging,
        keys: SigningKeys::new(
            ground.catalog.clone(),
            Arc::clone(clock),
            key_settings,
            ground.sealer.clone(),
        ),
    })
}

fn open_door(
    settings: &Settings,
    ground: &Ground,
    services: &Services,
    first_account: AccountId,
    spool: PathBuf,
) -> Result<Door, Box<dyn Error>> {
    let wake = Arc::clone(&ground.wake);
    let cloudtrail = CloudTrail::new(cloudtrail::Deps {
        catalog: ground.catalog.clone(),
        log: Arc::clone(&ground.log),
        history: Arc::clone(&ground.history),
        bucket: Arc::clone(&services.s3) as _,
        topic: Arc::clone(&services.topic),
        log_groups: Arc::clone(&services.log_groups),
        keys: services.keys.clone(),
        changed: Arc::new(move || wake.notify_waiters()),
        settings: cloudtrail::Settings::default(),
    });
    let sts = Arc::new(Sts::new(
        ground.sealer.clone(),
        Arc::clone(&services.iam) as _,
        Arc::new(NetFetch::new()),
        Arc::clone(&ground.clock),
        Arc::clone(&ground.entropy),
    ));
    let organizations = Organizations::new(
        ground.catalog.clone(),
        Arc::clone(&ground.clock),
        Arc::clone(&ground.entropy),
        Arc::clone(&services.iam),
    );
    let wake = Arc::clone(&ground.wake);
    let organizations = Arc::new(
        organizations.followed_by_trails(Arc::clone(&ground.log), Arc::new(move || wake.notify_waiters())),
    );
    services.iam.bind_by(Arc::clone(&organizations) as _);
    let mut embedded: Vec<Arc<dyn Service>> = vec![
        Arc::new(cloudtrail),
        Arc::new(CloudTrailData::new(ground.catalog.clone(), Arc::clone(&ground.ingest))),
        Arc::clone(&services.s3) as _,
        Arc::new(S3Control::new(Arc::clone(&services.s3))),
        Arc::clone(&services.iam) as _,
        Arc::clone(&services.kms) as _,
        organizations,
        Arc::clone(&services.messaging.sqs) as _,
        Arc::clone(&services.messaging.sns) as _,
        Arc::clone(&sts) as _,
    ];
    embedded.push(Arc::clone(&services.functions.lambda) as _);
    embedded.extend(services.watching.services.iter().cloned());
    let front = Front::new(FrontSettings {
        s3_hosts: settings.s3_hosts.clone(),
        buffered_body_bytes_max: BUFFERED_BODY_BYTES_MAX,
    });
    Ok(Door::new(DoorParts {
        front,
        services: embedded,
        iam: Arc::clone(&services.iam),
        sessions: sts.sessions(),
        recorder: ground.recorder.clone(),
        recording: settings.recording,
        ingest: Arc::clone(&ground.ingest),
        spool,
        signing: services.messaging.signing.clone(),
        lambda: Arc::clone(&services.functions.lambda),
        space: Arc::clone(&ground.space),
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        first_account,
        registry: ground.registry.clone(),
    })?)
}

async fn start_stages(
    settings: &Settings,
    ground: &Ground,
    services: &Services,
    first_account: AccountId,
    stopped: watch::Receiver<bool>,
) -> Result<Stages, Box<dyn Error>> {
    let (log, clock, registry) = (&ground.log, &ground.clock, &ground.registry);
    let history = HistoryStage::new(Arc::clone(log), Arc::clone(&ground.history), Arc::clone(clock))
        .setting_aside(ground.catalog.clone());
    history.register(registry)?;
    // Before the first call: what was only in memory when the last server stopped is to be found again.
    history.run_once().await?;
    let bucket = failpoint::bucket(Arc::clone(&services.s3) as _);
    let delivery = DeliveryStage::new(
        Arc::clone(log),
        ground.catalog.clone(),
        Arc::clone(&bucket),
        Arc::clone(clock),
        DeliverySettings { delivery_interval: settings.delivery_interval, ..DeliverySettings::default() },
        registry,
    )?;
    let digest = DigestStage::new(
        ground.catalog.clone(),
        Arc::clone(&bucket),
        services.keys.clone(),
        Arc::clone(clock),
        &DigestSettings { digest_interval: settings.digest_interval },
        registry,
    )?;
    let delivery = Arc::new(delivery);
    let mut running = Stages::new(Arc::clone(clock), Arc::clone(&ground.wake), stopped, registry)?;
    running.start_history(history, Arc::clone(log));
    running.start_delivery(Arc::clone(&delivery));
    running.start_digest(digest);
    let topic = Arc::clone(&services.topic);
    let notification = NotificationStage::new(ground.catalog.clone(), topic, Arc::clone(clock), registry)?;
    running.start_notification(notification, &delivery);
    let groups = Arc::clone(&services.log_groups);
    let streams =
        StreamStage::new(Arc::clone(log), ground.catalog.clone(), groups, Arc::clone(clock), registry)?;
    let streams = Arc::new(streams);
    running.start_streams(&streams, Arc::clone(log));
    running.start_events(services.s3.event_stage(registry)?);
    let lifecycle = Arc::new(LifecycleStage::new(Arc::clone(&services.s3), Arc::clone(log), registry)?);
    running.start_lifecycle(&lifecycle);
    let intents = IntentMark::new(ground.recorder.clone(), ground.catalog.clone());
    let reports = Arc::new(UndecodableReports::new(
        Arc::clone(log),
        ground.catalog.clone(),
        Arc::clone(clock),
        first_account,
        settings.region.clone(),
    ));
    running.start_reports(Arc::clone(&reports));
    let (history, ingest) = (Arc::clone(&ground.history), Arc::clone(&ground.ingest));
    let events = Arc::clone(&services.watching.events.cloudtrail);
    let behind = Behind { history, delivery, intents, ingest, reports, lifecycle, events, streams };
    running.start_trim(settings.delivery_interval, Arc::clone(log), behind);
    services.messaging.start_stages(&mut running, clock);
    services.watching.start_stages(&mut running, ground);
    services.functions.start_stages(&mut running, ground);
    start_housekeeping(&mut running, ground, services);
    Ok(running)
}

/// Looks at the room on the disk, writes down when access keys were used, rotates keys, and removes blobs that a crash left without an object.
fn start_housekeeping(running: &mut Stages, ground: &Ground, services: &Services) {
    let (space, clock) = (Arc::clone(&ground.space), Arc::clone(&ground.clock));
    running.start_timed("disk", move || {
        let (space, clock) = (Arc::clone(&space), Arc::clone(&clock));
        async move {
            space.look()?;
            Ok(clock.now().plus(DISK_INTERVAL))
        }
    });
    let (iam, clock) = (Arc::clone(&services.iam), Arc::clone(&ground.clock));
    running.start_timed("key use", move || {
        let (iam, clock) = (Arc::clone(&iam), Arc::clone(&clock));
        async move {
            iam.flush_last_used().await?;
            Ok(clock.now().plus(KEY_USE_INTERVAL))
        }
    });
    let (kms, clock) = (Arc::clone(&services.kms), Arc::clone(&ground.clock));
    running.start_timed("kms", move || {
        let (kms, clock) = (Arc::clone(&kms), Arc::clone(&clock));
        async move {
            kms.maintain().await?;
            Ok(clock.now().plus(KMS_INTERVAL))
        }
    });
    let (s3, clock, blobs) = (Arc::clone(&services.s3), Arc::clone(&ground.clock), services.blobs.clone());
    running.start_timed("garbage", move || {
        let (s3, clock, blobs) = (Arc::clone(&s3), Arc::clone(&clock), blobs.clone());
        async move {
            s3.collect_garbage().await?;
            let stored = tokio::task::spawn_blocking(move || blobs.ids().collect::<Result<Vec<_>, _>>());
            s3.collect_orphans(stored.await??).await?;
            Ok(clock.now().plus(GARBAGE_INTERVAL))
        }
    });
}

/// The root keys of all accounts, the oldest first; none of an account whose root has deleted them.
async fn all_root_keys(iam: &Iam) -> Result<Vec<RootKeys>, Box<dyn Error>> {
    let mut all = Vec::new();
    for account in iam.accounts().await? {
        all.extend(iam.root_credentials(&account).await?.as_ref().and_then(root_keys));
    }
    Ok(all)
}

fn root_keys(root: &RootCredentials) -> Option<RootKeys> {
    root.key.as_ref().map(|key| RootKeys {
        account: root.account.clone(),
        access_key_id: key.access_key_id.clone(),
        secret_access_key: key.secret.expose().to_owned(),
    })
}

/// Says where the server is; on first start also the root keys, which are written down for `cairn env`.
#[allow(clippy::print_stdout, reason = "the lines are for whoever started the server")]
fn announce(settings: &Settings, place: &ServerFile, root: &RootCredentials) {
    let data = settings.data.display();
    print!("{}", place_lines(place));
    match root_keys(root).filter(|_| root.is_new) {
        Some(keys) => println!(
            "{}# The root keys of account {} are shown this once; `cairn env --data {data}` prints them again.",
            key_lines(&keys),
            root.account
        ),
        None => println!("# Account {}; its keys: eval \"$(cairn env --data {data})\"", root.account),
    }
    tracing::info!(endpoint = place.endpoint, account = %root.account, data = %data, "cairn takes calls");
}

/// What tells the server to stop. Made before anybody is told that it runs, so that an early signal drains too.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
