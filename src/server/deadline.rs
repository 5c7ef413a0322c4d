//! How long a caller waits: the API server's `?timeout=`, and how much of it is left.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;

/// The maximum time that is reserved for sending the answer.
///
/// Encoding, TLS and the network take a few milliseconds, and more on a busy node. An answer that arrives too late is
/// useless: the API server reports a failed call instead of our reason. A tenth of the caller's time, and half a second
/// at most, is far more than the answer needs and costs lookups little.
const LONGEST_MARGIN: Duration = Duration::from_millis(500);
const MARGIN_DIVISOR: u32 = 10;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// How long the caller of a request waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    arrival: Instant,
    timeout: Duration,
}

impl Deadline {
    /// Starts the deadline. `query` is the query of the request's URL.
    pub(super) fn start(query: Option<&str>, limits: &Limits) -> Self {
        Self { arrival: Instant::now(), timeout: timeout(query, limits) }
    }

    /// When the caller stops waiting.
    pub(super) fn end(&self) -> Instant {
        self.arrival + self.timeout
    }

    /// The timeout of the caller.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The time left for the review, without the time for sending the answer; `None` if there is none.
    pub(super) fn left(&self) -> Option<Duration> {
        let margin = (self.timeout / MARGIN_DIVISOR).min(LONGEST_MARGIN);
        let left = (self.timeout - margin).saturating_sub(self.arrival.elapsed());
        (!left.is_zero()).then_some(left)
    }
}

/// The caller's timeout within our limits. An invalid one counts as missing, because the caller waits anyway.
fn timeout(query: Option<&str>, limits: &Limits) -> Duration {
    query
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("timeout=")))
        .and_then(parse_duration)
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(limits.default_timeout)
        .min(limits.longest_timeout)
}

/// Parses a duration like Go's `time.ParseDuration`: numbers with a unit, such as `1m30s` or `1.5s`. Negative ones are
/// invalid here.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_duration_part(rest)?;
        total = total.checked_add(nanoseconds)?;
        rest = after;
    }
    // Go's durations are signed 64-bit numbers of nanoseconds.
    let total = u64::try_from(total).ok().filter(|total| *total <= i64::MAX.unsigned_abs())?;
    Some(Duration::from_nanos(total))
}

/// Parses one number with its unit. Returns nanoseconds and the rest of the string.
fn parse_duration_part(text: &str) -> Option<(u128, &str)> {
    let (whole, after) = digits(text);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, after) = go_unit(after)?;
    // 18 digits fit and are more than the smallest unit needs.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let nanoseconds = number(whole)?.checked_mul(unit)?.checked_add(number(fraction)? * unit / scale)?;
    Some((nanoseconds, after))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// No digits mean zero. More digits than any duration has are invalid.
fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) }
}

/// The unit at the start of a string in nanoseconds, and the rest of the string.
fn go_unit(text: &str) -> Option<(u128, &str)> {
    // `ms` and `ns` come before `m`. The two micro signs look the same but are different characters.
    const UNITS: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("\u{b5}s", 1_000),
        ("\u{3bc}s", 1_000),
        ("ms", 1_000_000),
        ("s", NANOSECONDS_PER_SECOND),
        ("m", 60 * NANOSECONDS_PER_SECOND),
        ("h", 3600 * NANOSECONDS_PER_SECOND),
    ];
    UNITS.iter().find_map(|(name, unit)| Some((*unit, text.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::seconds("10s", 10_000)]
    #[case::minutes_and_seconds("1m30s", 90_000)]
    #[case::milliseconds("500ms", 500)]
    #[case::fraction("1.5s", 1_500)]
    #[case::fraction_alone(".5s", 500)]
    #[case::point_without_fraction("2.s", 2_000)]
    #[case::plus("+3s", 3_000)]
    #[case::hours("1h", 3_600_000)]
    #[case::microseconds("2000us", 2)]
    #[case::micro_sign("2000\u{b5}s", 2)]
    #[case::greek_mu("2000\u{3bc}s", 2)]
    #[case::nanoseconds("3000000ns", 3)]
    #[case::zero("0", 0)]
    #[case::long_fraction("0.25000000000000000000000000000000001s", 250)]
    fn go_durations_are_read(#[case] text: &str, #[case] milliseconds: u64) {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_unit("10")]
    #[case::unit_alone("s")]
    #[case::point_alone(".s")]
    #[case::negative("-5s")]
    #[case::two_signs("+-5s")]
    #[case::unknown_unit("5d")]
    #[case::upper_case("5S")]
    #[case::space("5 s")]
    #[case::words("soon")]
    #[case::exponent("1e3s")]
    #[case::beyond_64_bits("99999999999999999999s")]
    #[case::beyond_go("9223372037s")]
    #[case::sum_beyond_go("9223372036s9223372036s")]
    fn durations_that_go_rejects_are_invalid(#[case] text: &str) {
        assert_eq!(parse_duration(text), None);
    }

    #[rstest]
    #[case::missing(None, 10)]
    #[case::another_parameter(Some("dryRun=All"), 10)]
    #[case::given(Some("timeout=5s"), 5)]
    #[case::among_others(Some("a=b&timeout=5s&c"), 5)]
    #[case::another_name(Some("xtimeout=5s"), 10)]
    #[case::the_first_counts(Some("timeout=5s&timeout=7s"), 5)]
    #[case::not_a_duration(Some("timeout=%00"), 10)]
    #[case::zero(Some("timeout=0s"), 10)]
    #[case::negative(Some("timeout=-1s"), 10)]
    #[case::over_the_cap(Some("timeout=1h"), 30)]
    fn the_timeout_of_the_caller_is_used_within_limits(#[case] query: Option<&str>, #[case] seconds: u64) {
        assert_eq!(timeout(query, &Limits::default()), Duration::from_secs(seconds));
    }

    #[rstest]
    #[case::a_tenth("timeout=1s", 900)]
    #[case::half_a_second_at_most("timeout=30s", 29_500)]
    #[tokio::test(start_paused = true)]
    async fn time_for_sending_the_answer_is_reserved(#[case] query: &str, #[case] milliseconds: u64) {
        let deadline = Deadline::start(Some(query), &Limits::default());
        assert_eq!(deadline.left(), Some(Duration::from_millis(milliseconds)));
    }

    #[tokio::test(start_paused = true)]
    async fn elapsed_time_is_subtracted() {
        let deadline = Deadline::start(Some("timeout=1s"), &Limits::default());
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(deadline.left(), Some(Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(deadline.left(), None);
    }

    proptest! {
        #[test]
        fn any_query_gives_a_timeout_within_limits(query in ".*") {
            let given = timeout(Some(&format!("timeout={query}")), &Limits::default());
            prop_assert!(!given.is_zero() && given <= Limits::default().longest_timeout);
        }

        #[test]
        fn any_sequence_of_numbers_and_units_is_read_without_overflow(text in "([0-9.]{0,30}(ns|us|ms|s|m|h)){1,4}") {
            parse_duration(&text);
        }
    }
}
