//! Deliveries while servers are killed at random and endpoints fail at random: nothing that is owed is lost, nothing is
//! left over, and of each group no message overtakes another.
//!
//! `CAIRN_SEED=n cargo test -p cairn-services --lib sns::delivery::simulation` runs one seed again.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_testkit::Chance;

use super::super::state::{Protocol, Subscription};
use super::tests::Bench;

const SEEDS: u64 = 150;
const STEPS: usize = 120;
const DEAD_LETTERS: &str = "arn:aws:sqs:eu-west-1:111122223333:dead";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:q";
const GROUPS: [&str; 2] = ["g", "h"];
/// The first attempt and three retries.
const ATTEMPTS_MAX: usize = 4;

/// What was owed: to which endpoint, in which group, and the message.
type Debt = (String, Option<&'static str>, String);

async fn subscriptions(bench: &Bench) -> [Subscription; 3] {
    let redrive = |subscription: &mut Subscription| {
        subscription.redrive_policy = Some(format!(r#"{{"deadLetterTargetArn":"{DEAD_LETTERS}"}}"#));
    };
    [
        bench.subscribe("plain", Protocol::Http, |_| ()).await,
        bench.subscribe("redriven", Protocol::Https, redrive).await,
        bench.subscribe("ordered", Protocol::Sqs, |_| ()).await,
    ]
}

/// Runs one seed; gives what was owed, and everything that was answered.
async fn simulate(seed: u64) -> (Bench, Vec<Debt>, usize) {
    let mut bench = Bench::new();
    let mut chance = Chance(seed);
    *bench.world.chance.lock().unwrap() = Some(Chance(chance.next()));
    let all = subscriptions(&bench).await;
    let (mut debts, mut kills) = (Vec::new(), 0);
    for step in 0..STEPS {
        match chance.below(10) {
            0..4 => {
                let subscription = &all[chance.below(all.len())];
                let group = (subscription.protocol == Protocol::Sqs).then(|| chance.pick(&GROUPS));
                let message = format!("m{step}");
                bench.owe_in(subscription, &message, group).await;
                debts.push((subscription.endpoint.clone(), group, message));
            }
            4..8 => {
                bench.delivery.run_once().await.unwrap();
                for _ in 0..chance.below(40) {
                    tokio::task::yield_now().await;
                }
            }
            8 => bench.world.clock.advance(Duration::from_millis(chance.below(8000) as u64)),
            _ => {
                bench.kill();
                kills += 1;
            }
        }
    }
    bench.kill();
    let passed = bench.world.passed_s();
    bench.run(passed + 1800).await;
    (bench, debts, kills)
}

#[tokio::test]
async fn what_is_owed_arrives_whatever_fails_and_whoever_is_killed() {
    let seeds = match std::env::var("CAIRN_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    let (mut delivered, mut killed) = (0, 0);
    for seed in seeds {
        let (bench, debts, kills) = simulate(seed).await;
        assert_eq!(bench.owed().await, 0, "seed {seed}: something is left over");
        let answered = bench.world.answered.lock().unwrap();
        for (endpoint, _, message) in &debts {
            let own: Vec<Option<bool>> = answered
                .iter()
                .filter(|(to, body, _)| to == endpoint && body == message)
                .map(|one| one.2)
                .collect();
            let is_dead = answered.contains(&(DEAD_LETTERS.to_owned(), message.clone(), Some(true)));
            let is_given_up = own.contains(&None) || own.len() >= ATTEMPTS_MAX;
            let is_settled = match endpoint.as_str() {
                "http://plain/" => is_given_up,
                "http://redriven/" => is_given_up && is_dead,
                _ => false,
            };
            assert!(own.contains(&Some(true)) || is_settled, "seed {seed}: {message} is lost: {own:?}");
            delivered += usize::from(own.contains(&Some(true)));
        }
        let mut in_order: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (_, group, message) in &debts {
            group.iter().for_each(|group| in_order.entry(group).or_default().push(message));
        }
        for (group, expected) in in_order {
            let mut firsts: Vec<&String> = Vec::new();
            for (to, body, taken) in answered.iter() {
                if to == QUEUE && *taken == Some(true) && expected.contains(&body) && !firsts.contains(&body)
                {
                    firsts.push(body);
                }
            }
            assert_eq!(firsts, expected, "seed {seed}: the order of group {group}");
        }
        killed += kills;
    }
    assert!(delivered > 0 && (killed > 500 || std::env::var("CAIRN_SEED").is_ok()), "{delivered} {killed}");
}
