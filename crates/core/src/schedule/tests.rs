//! What schedules say and refuse, and the times that they name.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap()
}

/// The next times after one, in ISO.
fn times(expression: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(expression).unwrap();
    let mut last = at(after);
    let mut times = Vec::new();
    while times.len() < count
        && let Some(next) = schedule.next_after(last, at(after))
    {
        times.push(next.iso());
        last = next;
    }
    times
}

#[test]
fn expressions_name_the_times_that_the_user_guide_says() {
    let cases = [
        ("rate(1 minute)", "2026-11-21T10:00:30Z", "2026-11-21T10:01:30Z 2026-11-21T10:02:30Z"),
        ("rate(7 days)", "2026-11-21T10:00:00Z", "2026-11-28T10:00:00Z"),
        ("cron(0 10 * * ? *)", "2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z 2026-11-23T10:00:00Z"),
        ("cron(15 12 * * ? *)", "2026-11-21T10:00:00Z", "2026-11-21T12:15:00Z"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-20T18:00:00Z", "2026-11-23T18:00:00Z"),
        ("cron(0 8 1 * ? *)", "2026-11-21T10:00:00Z", "2026-12-01T08:00:00Z 2027-01-01T08:00:00Z"),
        ("cron(0/15 * * * ? *)", "2026-11-21T10:31:00Z", "2026-11-21T10:45:00Z 2026-11-21T11:00:00Z"),
        ("cron(0/10 * ? * MON-FRI *)", "2026-11-20T23:55:00Z", "2026-11-23T00:00:00Z 2026-11-23T00:10:00Z"),
        ("cron(0/5 8-17 ? * mon-fri *)", "2026-11-20T17:56:00Z", "2026-11-23T08:00:00Z"),
        ("cron(0 9 ? * 2#1 *)", "2026-11-21T10:00:00Z", "2026-12-07T09:00:00Z"),
        ("cron(0 9 ? * 6L *)", "2026-11-21T10:00:00Z", "2026-11-27T09:00:00Z 2026-12-25T09:00:00Z"),
        (
            "cron(0 9 ? * FRI-MON *)",
            "2026-11-21T10:00:00Z",
            "2026-11-22T09:00:00Z 2026-11-23T09:00:00Z 2026-11-27T09:00:00Z",
        ),
        ("cron(0 9 L * ? *)", "2028-02-01T00:00:00Z", "2028-02-29T09:00:00Z 2028-03-31T09:00:00Z"),
        ("cron(0 9 L-2 * ? *)", "2027-02-01T00:00:00Z", "2027-02-26T09:00:00Z"),
        ("cron(0 9 15W * ? *)", "2026-11-01T00:00:00Z", "2026-11-16T09:00:00Z"),
        ("cron(0 9 1W 8 ? 2026)", "2026-01-01T00:00:00Z", "2026-08-03T09:00:00Z"),
        ("cron(0 9 LW * ? *)", "2027-01-01T00:00:00Z", "2027-01-29T09:00:00Z"),
        ("cron(0 0 31 * ? *)", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("cron(0 0 29 FEB ? *)", "2026-01-31T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"),
        ("cron(30 10 ? * 6#5 2024-2026)", "2026-10-31T00:00:00Z", ""),
        (
            "cron(5,10 1/12 * JAN,dec ? 2030)",
            "2026-01-01T00:00:00Z",
            "2030-01-01T01:05:00Z 2030-01-01T01:10:00Z 2030-01-01T13:05:00Z",
        ),
    ];
    for (expression, after, expected) in cases {
        let expected: Vec<_> = expected.split_ascii_whitespace().collect();
        assert_eq!(times(expression, after, expected.len().max(1)), expected, "{expression}");
    }
}

#[test]
fn what_states_no_schedule_is_refused() {
    use ScheduleError::{Days, Field, FieldCount, Form, Rate};
    let cases = [
        ("", Form),
        ("at(2026-11-21T10:00:00)", Form),
        ("Rate(1 minute)", Form),
        ("rate(1 minutes)", Rate),
        ("rate(5 minute)", Rate),
        ("rate(0 minutes)", Rate),
        ("rate(-5 minutes)", Rate),
        ("rate(+5 minutes)", Rate),
        ("rate(1.5 hours)", Rate),
        ("rate(5 seconds)", Rate),
        ("rate(5minutes)", Rate),
        ("cron(0 10 * * ?)", FieldCount),
        ("cron(0 10 * * * *)", Days),
        ("cron(0 10 ? * ? *)", Days),
        ("cron(60 10 * * ? *)", Field(1)),
        ("cron(0 24 * * ? *)", Field(2)),
        ("cron(0 10 32 * ? *)", Field(3)),
        ("cron(0 10 0 * ? *)", Field(3)),
        ("cron(0 10 * 13 ? *)", Field(4)),
        ("cron(0 10 ? * 8 *)", Field(5)),
        ("cron(0 10 ? * MON#6 *)", Field(5)),
        ("cron(0 10 * * ? 1969)", Field(6)),
        ("cron(0/0 10 * * ? *)", Field(1)),
        ("cron(, 10 * * ? *)", Field(1)),
        ("cron(a 10 * * ? *)", Field(1)),
    ];
    for (expression, expected) in cases {
        assert_eq!(Schedule::parse(expression), Err(expected), "{expression}");
    }
}

proptest! {
    #[test]
    fn the_next_time_is_later_and_of_a_field_that_was_named(
        minute in 0_u32..60, hour in 0_u32..24, day in 1_u32..29, after in 0_i64..6_000_000_000_000,
    ) {
        let schedule = Schedule::parse(&format!("cron({minute} {hour} {day} * ? *)")).unwrap();
        let after = Timestamp::from_millis(after);
        let next = schedule.next_after(after, after).unwrap();
        prop_assert!(next > after && next.since(after) <= Duration::from_secs(31 * 24 * 3600));
        prop_assert_eq!(next.iso()[8..16].to_owned(), format!("{day:02}T{hour:02}:{minute:02}"));
    }

    #[test]
    fn nothing_makes_it_panic(fields in "[0-9LW#?*/,a-zA-Z -]{0,40}", after in any::<i32>()) {
        for text in [format!("cron({fields})"), format!("cron(0 0 {fields} * ? *)"), format!("cron(0 0 ? * {fields} *)"), format!("rate({fields})")] {
            if let Ok(schedule) = Schedule::parse(&text) {
                let after = Timestamp::from_seconds(i64::from(after));
                prop_assert!(schedule.next_after(after, after).is_none_or(|next| next > after));
            }
        }
    }
}
