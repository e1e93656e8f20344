//! What a key says that an object is.
//!
//! Source: the pattern of the Java CloudTrail Processing Library, `.+_CloudTrail_[\w\-]+_\d{8}T\d{4}Z_[\w]+\.json\.gz`, and the
//! AWS user guide's page on log file names for the other folders.

/// What an object is, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Management and data events.
    Log,
    /// Insights events.
    Insight,
    /// Network activity events.
    NetworkActivity,
    /// Aggregated events.
    Aggregated,
    /// A digest: the signed list of the log files of an hour.
    Digest,
    /// The empty object that CloudTrail puts to see whether it may: `AWSLogs/111122223333/CloudTrail/`.
    Marker,
    /// Nothing of CloudTrail's.
    Other,
}

const FOLDERS: [(&str, FileKind); 4] = [
    ("_CloudTrail_", FileKind::Log),
    ("_CloudTrail-Insight_", FileKind::Insight),
    ("_CloudTrail-NetworkActivity_", FileKind::NetworkActivity),
    ("_CloudTrail-Aggregated_", FileKind::Aggregated),
];
const DIGEST: &str = "_CloudTrail-Digest_";
const ENDING: &str = ".json.gz";
/// How a time in a log file's name looks: `d` is a digit.
const STAMP: &[u8] = b"_ddddddddTddddZ_";

impl FileKind {
    /// What an object of this key is.
    ///
    /// ```
    /// use cairn_processing::FileKind;
    ///
    /// assert_eq!(FileKind::of("x/1_CloudTrail_us-east-1_20261120T1720Z_aB3.json.gz"), FileKind::Log);
    /// assert_eq!(FileKind::of("x/1_CloudTrail-Digest_us-east-1_t_us-east-1_20261120T172000Z.json.gz"), FileKind::Digest);
    /// assert_eq!(FileKind::of("notes.txt"), FileKind::Other);
    /// ```
    #[must_use]
    pub fn of(key: &str) -> Self {
        if key.ends_with('/') {
            return if key.contains("AWSLogs/") { Self::Marker } else { Self::Other };
        }
        let Some(stem) = key.strip_suffix(ENDING) else { return Self::Other };
        let kind = FOLDERS.into_iter().find(|(folder, _)| {
            stem.match_indices(folder)
                .any(|(at, _)| at > 0 && is_region_stamp_unique(&stem[at + folder.len()..]))
        });
        match kind {
            Some((_, kind)) => kind,
            None if stem.contains(DIGEST) => Self::Digest,
            None => Self::Other,
        }
    }
}

fn is_region_stamp_unique(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let is_stamp = |window: &[u8]| {
        window.iter().zip(STAMP).all(|(byte, like)| match like {
            b'd' => byte.is_ascii_digit(),
            like => byte == like,
        })
    };
    let bytes = text.as_bytes();
    let stamps = bytes.windows(STAMP.len()).enumerate().filter(|(_, window)| is_stamp(window));
    stamps.into_iter().any(|(at, _)| {
        let (region, unique) = (&bytes[..at], &bytes[at + STAMP.len()..]);
        !region.is_empty()
            && !unique.is_empty()
            && region.iter().all(|byte| is_word(byte) || *byte == b'-')
            && unique.iter().all(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_the_object_is() {
        let name = "218007301253_CloudTrail_us-east-1_20230710T1145Z_s7dpHbl38neqZbm2.json.gz";
        let in_folder = format!("p q/AWSLogs/o-x/218007301253/CloudTrail/us-east-1/2023/07/10/{name}");
        for (key, kind) in [
            (name, FileKind::Log),
            (in_folder.as_str(), FileKind::Log),
            ("1_CloudTrail_apiso-northsouth-3r_20230710T1145Z_a_b.json.gz", FileKind::Log),
            ("1_CloudTrail_r_20230710T1145Z_b_20230710T1146Z_c.json.gz", FileKind::Log),
            ("_CloudTrail_r_20230710T1145Z_b.json.gz", FileKind::Other),
            ("1_CloudTrail__20230710T1145Z_b.json.gz", FileKind::Other),
            ("1_CloudTrail_r_20230710T1145Z_.json.gz", FileKind::Other),
            ("1_CloudTrail_r_20230710T114Z_b.json.gz", FileKind::Other),
            ("1_CloudTrail_r_20230710T1145Z_b-c.json.gz", FileKind::Other),
            ("1_CloudTrail_r/s_20230710T1145Z_b.json.gz", FileKind::Other),
            ("1_CloudTrail_r_20230710T1145Z_b.json", FileKind::Other),
            ("1_CloudTrail_r_20230710T1145Z_b.json.gz.tmp", FileKind::Other),
            ("1_CloudTrail-Insight_us-east-1_20230710T1145Z_b.json.gz", FileKind::Insight),
            ("1_CloudTrail-NetworkActivity_us-east-1_20230710T1145Z_b.json.gz", FileKind::NetworkActivity),
            ("1_CloudTrail-Aggregated_us-east-1_20230710T1145Z_b.json.gz", FileKind::Aggregated),
            ("1_CloudTrail-Digest_us-east-1_t_us-east-1_20230710T114500Z.json.gz", FileKind::Digest),
            ("1_CloudTrail-Digest_us-east-1_t_us-east-1_20230710T114500Z_backfill.json.gz", FileKind::Digest),
            ("AWSLogs/1/CloudTrail/", FileKind::Marker),
            ("folder/", FileKind::Other),
            ("", FileKind::Other),
            ("é_CloudTrail_é", FileKind::Other),
        ] {
            assert_eq!(FileKind::of(key), kind, "{key}");
        }
    }

    #[test]
    fn the_real_names_are_all_log_files() {
        let Some(folder) = cairn_testkit::fixtures("events/invictus") else { return };
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert_eq!(FileKind::of(&name), FileKind::Log, "{name}");
        }
    }
}
