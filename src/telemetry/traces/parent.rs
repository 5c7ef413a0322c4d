//! Reads the header `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/), which names the span of
//! the caller.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The length of the fields that all versions have.
const LENGTH: usize = 55;
/// The lengths of the fields in characters: version, trace, span, flags.
const WIDTHS: [usize; 4] = [2, 32, 16, 2];
const SAMPLED: u8 = 1;

/// The span of the caller; `None` if the header is malformed.
///
/// The parser of opentelemetry_sdk accepts fields of any length, so a malformed header would give spans a parent that
/// does not exist. `tracestate` is not read: nothing here needs it, and it may contain any text of the caller.
pub(super) fn parent(header: &[u8]) -> Option<SpanContext> {
    let (fields, rest) = header.split_at_checked(LENGTH)?;
    let [version, trace, span, flags] = fields_of(fields)?;
    match version {
        "ff" => return None,
        "00" if !rest.is_empty() => return None,
        // A later version may add fields.
        _ if !rest.is_empty() && rest[0] != b'-' => return None,
        _ => {}
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::default().with_sampled(sampled),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn fields_of(header: &[u8]) -> Option<[&str; 4]> {
    let fields: Vec<&str> = std::str::from_utf8(header).ok()?.split('-').collect();
    let fields: [&str; 4] = fields.try_into().ok()?;
    let hexadecimal = |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let whole = fields.iter().zip(WIDTHS).all(|(field, width)| field.len() == width && hexadecimal(field));
    whole.then_some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[rstest]
    #[case::sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true)]
    #[case::not_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false)]
    #[case::other_flags("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", false)]
    #[case::a_later_version("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true)]
    #[case::with_more_fields("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", true)]
    fn the_span_of_the_caller_is_read(#[case] header: &str, #[case] sampled: bool) {
        let parent = parent(header.as_bytes()).unwrap();
        assert_eq!(parent.trace_id().to_string(), TRACE);
        assert_eq!(parent.span_id().to_string(), SPAN);
        assert_eq!(parent.is_sampled(), sampled);
        assert!(parent.is_remote());
    }

    #[rstest]
    #[case::empty("")]
    #[case::words("not a trace")]
    #[case::version_ff("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    #[case::version_0_with_more("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what")]
    #[case::later_version_without_dash("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what")]
    #[case::upper_case("00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01")]
    #[case::short_trace("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331a-01")]
    #[case::zero_trace("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
    #[case::zero_span("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")]
    #[case::a_sign("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    #[case::no_flags("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-")]
    #[case::not_hexadecimal("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g")]
    #[case::a_space_in_front(" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    fn a_malformed_header_names_no_span(#[case] header: &str) {
        assert_eq!(parent(header.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(header in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parent(&header);
        }

        #[test]
        fn what_is_read_is_what_was_written(trace in 1u128.., span in 1u64.., sampled: bool) {
            let header = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
            let parent = parent(header.as_bytes()).unwrap();
            prop_assert_eq!(parent.trace_id(), TraceId::from(trace));
            prop_assert_eq!(parent.span_id(), SpanId::from(span));
            prop_assert_eq!(parent.is_sampled(), sampled);
        }
    }
}
